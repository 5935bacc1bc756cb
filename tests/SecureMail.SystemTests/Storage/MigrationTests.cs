using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SecureMail.Gateway;
using SecureMail.Gateway.Clock;
using SecureMail.Host.Schema;
using SecureMail.Storage;

namespace SecureMail.SystemTests.Storage;

public sealed class MigrationTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task Two_migrators_at_once_apply_each_file_once_and_again_nothing()
    {
        var owner = await postgres.CreateDatabaseAsync();
        var applied = await Task.WhenAll(
            HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None),
            HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None));
        applied
            .SelectMany(a => a)
            .Order(StringComparer.Ordinal)
            .ShouldBe(HostSchema.Migrator.Known.Select(m => m.Name).Order(StringComparer.Ordinal));
        applied.ShouldContain(a => a.Count == 0);
        (await HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None)).ShouldBeEmpty();
        await using var database = await OpenAsync(owner);
        var clock = new ClockRecord(database, TimeProvider.System, NullLogger.Instance);
        ((await clock.ReadDatabaseAsync(CancellationToken.None)).Shown - TimeProvider.System.GetUtcNow())
            .Duration()
            .ShouldBeLessThan(TimeSpan.FromSeconds(10));
    }

    [Fact]
    public async Task A_migration_that_was_changed_after_it_was_applied_is_refused()
    {
        var owner = await MigratedAsync();
        await ExecuteAsync(
            owner, "UPDATE gateway.schema_version SET sha256 = sha256('x') WHERE name = 'gateway/0001_gateway.sql'");
        (
            await Should.ThrowAsync<StorageUnavailableException>(() =>
                HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None))
        ).Message.ShouldContain("0001_gateway.sql");
        (await Should.ThrowAsync<StorageUnavailableException>(() => OpenAsync(owner))).Message.ShouldContain(
            "0001_gateway.sql");
    }

    [Fact]
    public async Task A_database_that_is_newer_than_this_build_is_refused()
    {
        var owner = await MigratedAsync();
        await ExecuteAsync(
            owner, "INSERT INTO gateway.schema_version (name, sha256) VALUES ('gateway/9999_future.sql', sha256('x'))");
        (
            await Should.ThrowAsync<StorageUnavailableException>(() =>
                HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None))
        ).Message.ShouldContain("9999_future.sql");
        await Should.ThrowAsync<StorageUnavailableException>(() => OpenAsync(owner));
    }

    [Fact]
    public async Task A_newer_database_whose_new_files_only_expand_it_is_taken()
    {
        var owner = await MigratedAsync();
        await ExecuteAsync(
            owner,
            "INSERT INTO gateway.schema_version (name, sha256, expands_only) VALUES "
                + "('gateway/9999_future.sql', sha256('x'), true)"
        );
        (await HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None)).ShouldBeEmpty();
        await using (await OpenAsync(owner)) { }

        // One that changes what stood there is refused as before, also beside it.
        await ExecuteAsync(
            owner, "INSERT INTO gateway.schema_version (name, sha256) VALUES ('gateway/10000_other.sql', sha256('x'))");
        (await Should.ThrowAsync<StorageUnavailableException>(() => OpenAsync(owner))).Message.ShouldContain(
            "10000_other.sql");
    }

    [Fact]
    public async Task A_database_that_is_not_migrated_is_refused_and_says_which_command_helps()
    {
        var owner = await postgres.CreateDatabaseAsync();
        (await Should.ThrowAsync<StorageUnavailableException>(() => OpenAsync(owner))).Message.ShouldContain(
            "securemail migrate");
        await HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None);
        await ExecuteAsync(owner, "DELETE FROM gateway.schema_version WHERE name LIKE 'hangfire%'");
        (await Should.ThrowAsync<StorageUnavailableException>(() => OpenAsync(owner))).Message.ShouldContain(
            "securemail migrate");
    }

    [Fact]
    public async Task A_role_that_may_change_the_ledger_is_refused()
    {
        var owner = await MigratedAsync();
        foreach (var role in new[] { "securemail_owner", "postgres" })
        {
            var strong = new NpgsqlConnectionStringBuilder(owner) { Username = role }.ConnectionString;
            (
                await Should.ThrowAsync<StorageUnavailableException>(() =>
                    GatewayDatabase.OpenAsync(
                        OptionsFor(strong).Database, HostSchema.Migrator, CancellationToken.None))
            ).Message.ShouldContain("securemail_gateway");
        }

        await ExecuteAsync(owner, "GRANT DELETE ON ledger.leaf TO securemail_gateway");
        await Should.ThrowAsync<StorageUnavailableException>(() => OpenAsync(owner));
    }

    [Fact]
    public async Task A_failed_migration_leaves_nothing_of_itself()
    {
        var owner = await postgres.CreateDatabaseAsync();
        // A table that stands in the way of the gateway's own first file.
        await ExecuteAsync(owner, "CREATE SCHEMA gateway; CREATE TABLE gateway.finding (x int)");
        await Should.ThrowAsync<PostgresException>(() =>
            HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None));
        await ExecuteAsync(owner, "DROP TABLE gateway.finding");
        (await HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None)).ShouldContain(
            "gateway/0001_gateway.sql");
        await using var database = await OpenAsync(owner);
    }

    [Fact]
    public async Task A_migration_gives_way_to_the_flow_that_it_would_lock_out()
    {
        var owner = await MigratedAsync();
        // The flow has one table and comes to want the other, which the migration has by then; the migration wants the
        // flow's.
        const string Migration = """
            ALTER TABLE gateway.work ADD COLUMN next_note text;
            DO $$ BEGIN
              WHILE NOT EXISTS (SELECT FROM pg_locks WHERE relation = 'gateway.work'::regclass AND NOT granted)
                AND NOT EXISTS (SELECT FROM gateway.work) LOOP
                PERFORM pg_sleep(0.01);
              END LOOP;
            END $$;
            ALTER TABLE gateway.transmission ADD COLUMN next_weight int NOT NULL DEFAULT 0;
            """;
        await using var flow = new NpgsqlConnection(owner);
        await flow.OpenAsync();
        await using var transaction = await flow.BeginTransactionAsync();
        await ExecuteAsync(flow, "LOCK TABLE gateway.transmission IN ROW EXCLUSIVE MODE");
        await using var migrator = new NpgsqlConnection(owner);
        await migrator.OpenAsync();
        var migrating = Migrator.ApplyAsync(migrator, "gateway/9999_next.sql", Migration, CancellationToken.None);
        await TwoGateways.EventuallyAsync(
            async () =>
                await ScalarAsync<bool>(
                    owner,
                    "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'gateway.work'::regclass AND mode = "
                        + "'AccessExclusiveLock' AND granted)"
                )
                    ? ""
                    : null,
            "the migration to have its first table");
        await ExecuteAsync(flow, "INSERT INTO gateway.work (kind, subject) VALUES ('seal', gen_random_uuid())");
        await transaction.CommitAsync();
        await migrating;
        (await ScalarAsync<long>(owner, "SELECT count(*) FROM gateway.work WHERE next_note IS NULL")).ShouldBe(1);
        (
            await ScalarAsync<long>(
                owner, "SELECT count(*) FROM gateway.schema_version WHERE name = 'gateway/9999_next.sql'")
        ).ShouldBe(1);
    }

    private static GatewaySetup OptionsFor(string connection) =>
        new()
        {
            Name = "gateway.test",
            DataFolder = Path.GetTempPath(),
            DatabaseConnection = connection,
        };

    private static Task<GatewayDatabase> OpenAsync(string owner) =>
        GatewayDatabase.OpenAsync(
            OptionsFor(PostgresFixture.AsGateway(owner)).Database, HostSchema.Migrator, CancellationToken.None);

    private async Task<string> MigratedAsync()
    {
        var owner = await postgres.CreateDatabaseAsync();
        await HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None);
        return owner;
    }

    private static async Task ExecuteAsync(string connectionString, string sql)
    {
        await using var connection = new NpgsqlConnection(connectionString);
        await connection.OpenAsync();
        await ExecuteAsync(connection, sql);
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }

    private static async Task<T> ScalarAsync<T>(string connectionString, string sql)
    {
        await using var connection = new NpgsqlConnection(connectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return (T)(await command.ExecuteScalarAsync())!;
    }
}
