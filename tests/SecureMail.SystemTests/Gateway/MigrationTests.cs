using Npgsql;
using SecureMail.Gateway;
using SecureMail.Gateway.Storage;

namespace SecureMail.SystemTests.Gateway;

[Collection("postgres")]
public sealed class MigrationTests(PostgresFixture postgres)
{
    [Fact]
    public async Task Two_migrators_at_once_apply_each_file_once_and_again_nothing()
    {
        var owner = await postgres.CreateDatabaseAsync();
        var applied = await Task.WhenAll(Migrator.MigrateAsync(owner, CancellationToken.None), Migrator.MigrateAsync(owner, CancellationToken.None));
        applied.SelectMany(a => a).Order(StringComparer.Ordinal).ShouldBe(Migrator.Known.Select(m => m.Name).Order(StringComparer.Ordinal));
        applied.ShouldContain(a => a.Count == 0);
        (await Migrator.MigrateAsync(owner, CancellationToken.None)).ShouldBeEmpty();
        await using var database = await OpenAsync(owner);
        ((await database.ClockAsync(CancellationToken.None)).Shown - TimeProvider.System.GetUtcNow()).Duration().ShouldBeLessThan(TimeSpan.FromSeconds(10));
    }

    [Fact]
    public async Task A_migration_that_was_changed_after_it_was_applied_is_refused()
    {
        var owner = await MigratedAsync();
        await ExecuteAsync(owner, "UPDATE gateway.schema_version SET sha256 = sha256('x') WHERE name = 'gateway/0001_gateway.sql'");
        (await Should.ThrowAsync<StorageUnavailableException>(() => Migrator.MigrateAsync(owner, CancellationToken.None))).Message.ShouldContain("0001_gateway.sql");
        (await Should.ThrowAsync<StorageUnavailableException>(() => OpenAsync(owner))).Message.ShouldContain("0001_gateway.sql");
    }

    [Fact]
    public async Task A_database_that_is_newer_than_this_build_is_refused()
    {
        var owner = await MigratedAsync();
        await ExecuteAsync(owner, "INSERT INTO gateway.schema_version (name, sha256) VALUES ('gateway/9999_future.sql', sha256('x'))");
        (await Should.ThrowAsync<StorageUnavailableException>(() => Migrator.MigrateAsync(owner, CancellationToken.None))).Message.ShouldContain("9999_future.sql");
        await Should.ThrowAsync<StorageUnavailableException>(() => OpenAsync(owner));
    }

    [Fact]
    public async Task A_newer_database_whose_new_files_only_expand_it_is_taken()
    {
        var owner = await MigratedAsync();
        await ExecuteAsync(owner, "INSERT INTO gateway.schema_version (name, sha256, expands_only) VALUES ('gateway/9999_future.sql', sha256('x'), true)");
        (await Migrator.MigrateAsync(owner, CancellationToken.None)).ShouldBeEmpty();
        await using (await OpenAsync(owner))
        {
        }

        // One that changes what stood there is refused as before, also beside it.
        await ExecuteAsync(owner, "INSERT INTO gateway.schema_version (name, sha256) VALUES ('gateway/10000_other.sql', sha256('x'))");
        (await Should.ThrowAsync<StorageUnavailableException>(() => OpenAsync(owner))).Message.ShouldContain("10000_other.sql");
    }

    [Fact]
    public async Task A_database_that_is_not_migrated_is_refused_and_says_which_command_helps()
    {
        var owner = await postgres.CreateDatabaseAsync();
        (await Should.ThrowAsync<StorageUnavailableException>(() => OpenAsync(owner))).Message.ShouldContain("securemail migrate");
        await Migrator.MigrateAsync(owner, CancellationToken.None);
        await ExecuteAsync(owner, "DELETE FROM gateway.schema_version WHERE name LIKE 'quartz%'");
        (await Should.ThrowAsync<StorageUnavailableException>(() => OpenAsync(owner))).Message.ShouldContain("securemail migrate");
    }

    [Fact]
    public async Task A_role_that_may_change_the_ledger_is_refused()
    {
        var owner = await MigratedAsync();
        foreach (var role in new[] { "securemail_owner", "postgres" })
        {
            var strong = new NpgsqlConnectionStringBuilder(owner) { Username = role }.ConnectionString;
            (await Should.ThrowAsync<StorageUnavailableException>(() => GatewayDatabase.OpenAsync(OptionsFor(strong), CancellationToken.None))).Message.ShouldContain("securemail_gateway");
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
        await Should.ThrowAsync<PostgresException>(() => Migrator.MigrateAsync(owner, CancellationToken.None));
        await ExecuteAsync(owner, "DROP TABLE gateway.finding");
        (await Migrator.MigrateAsync(owner, CancellationToken.None)).ShouldContain("gateway/0001_gateway.sql");
        await using var database = await OpenAsync(owner);
    }

    private static GatewayOptions OptionsFor(string connection) => new() { Name = "gateway.test", DataFolder = Path.GetTempPath(), DatabaseConnection = connection };

    private static Task<GatewayDatabase> OpenAsync(string owner) => GatewayDatabase.OpenAsync(OptionsFor(PostgresFixture.AsGateway(owner)), CancellationToken.None);

    private async Task<string> MigratedAsync()
    {
        var owner = await postgres.CreateDatabaseAsync();
        await Migrator.MigrateAsync(owner, CancellationToken.None);
        return owner;
    }

    private static async Task ExecuteAsync(string connectionString, string sql)
    {
        await using var connection = new NpgsqlConnection(connectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }
}
