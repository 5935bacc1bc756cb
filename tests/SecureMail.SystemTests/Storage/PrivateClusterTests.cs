using Npgsql;
using SecureMail.Storage;

namespace SecureMail.SystemTests.Storage;

public sealed class PrivateClusterTests : IDisposable
{
    private readonly string _folder = Path.Combine(Path.GetTempPath(), "smtest-" + Guid.NewGuid().ToString("N")[..8]);

    [Fact]
    public async Task The_last_one_out_stops_the_server_and_what_was_committed_is_there_again()
    {
        var first = await PrivateCluster.OpenAsync(_folder, CancellationToken.None);
        await RunAsync(first, "CREATE TABLE kept (v int); INSERT INTO kept VALUES (42)");
        var second = await PrivateCluster.OpenAsync(_folder, CancellationToken.None);
        await first.DisposeAsync();
        (await ScalarAsync(second, "SELECT v FROM kept")).ShouldBe(42);
        var socket = second.SocketDirectory;
        await second.DisposeAsync();
        File.Exists(Path.Combine(socket, ".s.PGSQL.5432")).ShouldBeFalse();

        await using var again = await PrivateCluster.OpenAsync(_folder, CancellationToken.None);
        (await ScalarAsync(again, "SELECT v FROM kept")).ShouldBe(42);
        (
            await ScalarAsync(
                again, "SELECT count(*)::int FROM pg_settings WHERE name = 'listen_addresses' AND setting <> ''")
        ).ShouldBe(0);
        await again.DisposeAsync();
        again.DeleteFiles();
    }

    public void Dispose()
    {
        if (Directory.Exists(_folder))
        {
            Directory.Delete(_folder, recursive: true);
        }
    }

    private static async Task RunAsync(PrivateCluster cluster, string sql)
    {
        await using var connection = new NpgsqlConnection(cluster.ConnectionString("securemail_owner"));
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }

    private static async Task<object?> ScalarAsync(PrivateCluster cluster, string sql)
    {
        await using var connection = new NpgsqlConnection(cluster.ConnectionString("securemail_owner"));
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync();
    }
}
