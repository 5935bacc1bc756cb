using System.Text;
using Quartz;
using SecureMail.Gateway.Schema;
using SecureMail.Storage;

namespace SecureMail.Host.Schema;

/// <summary>The schemas of a node's database: the gateway's, then the scheduler's.</summary>
internal static class HostSchema
{
    /// <summary>Brings a database to the schema of this build.</summary>
    public static Migrator Migrator { get; } = new([.. GatewaySchema.Migrations, Quartz()]);

    /// <summary>The scheduler's own tables, from the script in its assembly, put into a schema of their own.</summary>
    private static MigrationSet Quartz()
    {
        using var script = new StreamReader(
            typeof(IJob).Assembly.GetManifestResourceStream("Quartz.Impl.AdoJobStore.Schema.create_postgres.sql")!,
            Encoding.UTF8);
        // The script's own placeholders: {0} the tables' prefix, {1} the same without the schema.
        var tables = script
            .ReadToEnd()
            .Replace("{0}", "quartz.qrtz_", StringComparison.Ordinal)
            .Replace("{1}", "qrtz_", StringComparison.Ordinal);
        return new MigrationSet(
            "quartz",
            [
                new Migration(
                    "4.7",
                    $"""
                    {tables}
                    DO $$ BEGIN
                      IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
                        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA quartz TO securemail_gateway;
                      END IF;
                    END $$;
                    """
                ),
            ]);
    }
}
