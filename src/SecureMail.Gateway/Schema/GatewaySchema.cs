using System.Reflection;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.Gateway.Schema;

/// <summary>The schemas of a gateway's database. The host adds those of what it runs beside the gateway.</summary>
public static class GatewaySchema
{
    /// <summary>The sets in the order in which they are migrated.</summary>
    public static IReadOnlyList<MigrationSet> Migrations { get; } =
        [LedgerSchema.Migrations, MigrationSet.OfResources("gateway", Assembly.GetExecutingAssembly())];
}
