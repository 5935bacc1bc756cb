using System.Reflection;
using SecureMail.Storage;

namespace SecureMail.LedgerStore;

/// <summary>
/// The SQL of schema <c>ledger</c>, in the order to run it. It names the schema itself and creates no role; rights go
/// to the role <c>securemail_gateway</c> when that exists beforehand.
/// </summary>
public static class LedgerSchema
{
    public static MigrationSet Migrations { get; } =
        MigrationSet.OfResources("ledger", Assembly.GetExecutingAssembly()) with
        {
            AppendOnlyTables = ["ledger.entry", "ledger.leaf", "ledger.checkpoint"],
        };
}
