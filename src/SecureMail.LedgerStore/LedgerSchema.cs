using System.Reflection;
using SecureMail.Storage;

namespace SecureMail.LedgerStore;

/// <summary>
/// The migrations of the schema <c>ledger</c>. The SQL names the schema itself and creates no role. Rights go to the
/// role <c>securemail_gateway</c> if that role exists.
/// </summary>
public static class LedgerSchema
{
    public static MigrationSet Migrations { get; } =
        MigrationSet.OfResources("ledger", Assembly.GetExecutingAssembly()) with
        {
            AppendOnlyTables = ["ledger.entry", "ledger.leaf", "ledger.checkpoint"],
        };
}
