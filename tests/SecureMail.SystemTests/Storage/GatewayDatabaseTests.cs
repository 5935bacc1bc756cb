using Npgsql;
using SecureMail.Gateway;
using SecureMail.Host.Schema;
using SecureMail.Storage;

namespace SecureMail.SystemTests.Storage;

/// <summary>The connections of a gateway: how the server plans what comes over them.</summary>
public sealed class GatewayDatabaseTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task What_the_configuration_sets_for_its_connections_stands_beside_and_before_ours()
    {
        var owner = await MigratedAsync();
        var configured = new NpgsqlConnectionStringBuilder(PostgresFixture.AsGateway(owner))
        {
            Options = "-c statement_timeout=54321 -c jit=on",
        };
        await using var database = await OpenAsync(configured.ConnectionString);
        await using var connection = await database.Source.OpenConnectionAsync();
        (await ScalarAsync(connection, "SHOW statement_timeout")).ShouldBe("54321ms");
        (await ScalarAsync(connection, "SHOW jit")).ShouldBe("on");
        (await ScalarAsync(connection, "SHOW plan_cache_mode")).ShouldBe("force_generic_plan");
    }

    [Fact]
    public async Task A_statement_that_was_planned_for_an_empty_table_takes_the_index_of_the_full_one()
    {
        var owner = await MigratedAsync();
        await using var owning = NpgsqlDataSource.Create(owner);
        await ExecuteAsync(owning, "VACUUM ANALYZE gateway.work");
        await using var database = await OpenAsync(PostgresFixture.AsGateway(owner));
        await using var connection = await database.Source.OpenConnectionAsync();
        await ScalarAsync(
            connection,
            """
            PREPARE due (text) AS
            SELECT min(run_at) FROM gateway.work WHERE kind = $1 AND state = 'ready' AND awaits_entry IS NULL
            """);
        for (var n = 0; n < 10; n++)
        {
            await ScalarAsync(connection, "EXECUTE due ('send')");
        }

        await ExecuteAsync(
            owning,
            """
            INSERT INTO gateway.work (kind, subject, lane)
            SELECT 'send', gen_random_uuid(), 'b.test' FROM generate_series(1, 20000)
            """);
        var plan = new List<string>();
        await using var explain = new NpgsqlCommand("EXPLAIN EXECUTE due ('send')", connection);
        await using (var reader = await explain.ExecuteReaderAsync())
        {
            while (await reader.ReadAsync())
            {
                plan.Add(reader.GetString(0));
            }
        }

        var text = string.Join('\n', plan);
        text.ShouldContain("Index");
        text.ShouldNotContain("Seq Scan", customMessage: text);
    }

    private static Task<GatewayDatabase> OpenAsync(string connection) =>
        GatewayDatabase.OpenAsync(
            new DatabaseOptions(Path.GetTempPath(), connection, null), HostSchema.Migrator, CancellationToken.None);

    private static async Task<object?> ScalarAsync(NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync();
    }

    private static async Task ExecuteAsync(NpgsqlDataSource database, string sql)
    {
        await using var command = database.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }

    private async Task<string> MigratedAsync()
    {
        var owner = await postgres.CreateDatabaseAsync();
        await HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None);
        return owner;
    }
}
