using Hangfire.PostgreSql;
using SecureMail.Gateway.Schema;
using SecureMail.Storage;

namespace SecureMail.Host.Schema;

/// <summary>The schemas of a node's database: the gateway's, then Hangfire's.</summary>
internal static class HostSchema
{
    /// <summary>Brings a database to the schema of this build.</summary>
    public static Migrator Migrator { get; } = new([.. GatewaySchema.Migrations, Hangfire])
    {
        // The scheduler before Hangfire. Its tables stay for nodes of the build before; a later release drops them.
        Retired = ["quartz/4.7"],
    };

    /// <summary>Hangfire's own tables, installed by its package, and the gateway's right to use them. The installer
    /// reports no failure, so the file behind it looks whether the tables are those of this package.</summary>
    private static MigrationSet Hangfire =>
        new(
            "hangfire",
            [
                new Migration(
                    "1.21",
                    $"""
                    {Migrator.ExpandsOnly}
                    DO $$ BEGIN
                      IF (SELECT max(version) FROM hangfire.schema) IS DISTINCT FROM 23 THEN
                        RAISE EXCEPTION 'The tables of Hangfire were not installed.';
                      END IF;
                      IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
                        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA hangfire TO securemail_gateway;
                        GRANT USAGE ON ALL SEQUENCES IN SCHEMA hangfire TO securemail_gateway;
                      END IF;
                    END $$;
                    """
                )
                {
                    Install = static connection => PostgreSqlObjectsInstaller.Install(connection, "hangfire"),
                },
            ]);
}
