using System.Diagnostics;
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

    [Fact]
    public async Task A_cluster_of_an_earlier_build_that_trusted_everybody_trusts_nobody_when_it_starts()
    {
        await using (var made = await PrivateCluster.OpenAsync(_folder, CancellationToken.None))
        {
            await SuperuserAsync(made, "CREATE ROLE stranger LOGIN");
            await TrustAsync(made);
        }

        await using var cluster = await PrivateCluster.OpenAsync(_folder, CancellationToken.None);
        await RefusedAsync(cluster);
        (await ScalarAsync(cluster, "SELECT 42")).ShouldBe(42);
        await cluster.DisposeAsync();
        cluster.DeleteFiles();
    }

    [Fact]
    public async Task A_running_server_that_trusts_everybody_trusts_nobody_when_the_next_process_opens_it()
    {
        await using var first = await PrivateCluster.OpenAsync(_folder, CancellationToken.None);
        await SuperuserAsync(first, "CREATE ROLE stranger LOGIN");
        await TrustAsync(first);
        await SuperuserAsync(first, "SELECT pg_reload_conf()");
        // The server reads its files soon after it was told to.
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (await AskAsync(first, "stranger") is not null)
        {
            await Task.Delay(20, patience.Token);
        }

        await using (var second = await PrivateCluster.OpenAsync(_folder, CancellationToken.None))
        {
            await RefusedAsync(second);
            (await ScalarAsync(second, "SELECT 42")).ShouldBe(42);
        }

        await first.DisposeAsync();
        first.DeleteFiles();
    }

    [Fact]
    public async Task Another_account_reaches_neither_the_socket_nor_by_an_open_one_a_role()
    {
        await using var cluster = await PrivateCluster.OpenAsync(_folder, CancellationToken.None);
        var socket = Path.Combine(cluster.SocketDirectory, ".s.PGSQL.5432");
        foreach (var role in new[] { "postgres", "securemail_owner", "securemail_gateway", "nobody" })
        {
            (await AsNobodyAsync(cluster, role)).ShouldContain("Permission denied");
        }

        // Were the folder and the socket open, the server would still ask who is there.
        File.SetUnixFileMode(cluster.SocketDirectory, (UnixFileMode)0b111_101_101);
        File.SetUnixFileMode(socket, (UnixFileMode)0b111_111_111);
        foreach (var role in new[] { "postgres", "securemail_owner", "securemail_gateway" })
        {
            (await AsNobodyAsync(cluster, role)).ShouldContain($"Peer authentication failed for user \"{role}\"");
        }

        await cluster.DisposeAsync();
        cluster.DeleteFiles();
    }

    public void Dispose()
    {
        if (Directory.Exists(_folder))
        {
            Directory.Delete(_folder, recursive: true);
        }
    }

    /// <summary>As a build before this one wrote it.</summary>
    private static async Task TrustAsync(PrivateCluster cluster) =>
        await File.WriteAllTextAsync(Path.Combine(cluster.DataDirectory, "pg_hba.conf"), "local all all trust\n");

    /// <summary>The role is none of the three that the map gives to this account.</summary>
    private static async Task RefusedAsync(PrivateCluster cluster) =>
        (await AskAsync(cluster, "stranger"))!.ShouldContain("Peer authentication failed");

    /// <summary>Null: the server lets this account in as that role; else why not.</summary>
    private static async Task<string?> AskAsync(PrivateCluster cluster, string role)
    {
        try
        {
            await using var connection = new NpgsqlConnection(
                cluster.ConnectionString(role, "postgres") + ";Pooling=false");
            await connection.OpenAsync();
            return null;
        }
        catch (PostgresException e)
        {
            return e.MessageText;
        }
    }

    private static async Task SuperuserAsync(PrivateCluster cluster, string sql)
    {
        await using var connection = new NpgsqlConnection(cluster.ConnectionString("postgres") + ";Pooling=false");
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }

    /// <summary>What psql says on standard error when the account "nobody" runs it.</summary>
    private static async Task<string> AsNobodyAsync(PrivateCluster cluster, string role)
    {
        string[] line =
        [
            .. Environment.IsPrivilegedProcess ? Array.Empty<string>() : ["sudo", "-n"], "setpriv", "--reuid", "nobody",
            "--regid", "nogroup", "--clear-groups", Path.Combine(cluster.BinaryDirectory, "psql"), "-h",
            cluster.SocketDirectory, "-U", role, "-d", "postgres", "-c", "SELECT 1",
        ];
        using var process = Process.Start(
            new ProcessStartInfo(line[0], line[1..])
            {
                RedirectStandardError = true,
                RedirectStandardOutput = true,
                UseShellExecute = false,
            })!;
        var said = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        process.ExitCode.ShouldNotBe(0);
        return said;
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
