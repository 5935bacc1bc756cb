using Npgsql;

namespace SecureMail.Storage;

/// <summary>Restores a private cluster from a base backup and its write-ahead log. The cluster is moved to its place
/// only after it was verified as a whole.</summary>
public sealed partial class PrivateCluster
{
    private static readonly TimeSpan RecoveryTakesAtMost = TimeSpan.FromHours(12);

    /// <summary>Whether the data folder has a cluster.</summary>
    public static bool Exists(string dataFolder) => Directory.Exists(PlacesOf(Path.GetFullPath(dataFolder)).Data);

    /// <summary>
    /// Fills a folder, lets PostgreSQL recover to the end of the log in that folder, and moves the folder to the place
    /// of the data folder's cluster. A failure before the move leaves no cluster that could be opened.
    /// </summary>
    /// <param name="fill">Writes the cluster's files into the folder given.</param>
    /// <param name="prove">Verifies and marks the recovered database. Its argument gives the connection string of a
    /// role.</param>
    /// <exception cref="StorageUnavailableException">PostgreSQL could not recover, or the data folder already has a
    /// cluster.</exception>
    public static async Task RestoreAsync(
        string dataFolder, Func<string, Task> fill, Func<Func<string, string>, Task> prove,
        CancellationToken cancellationToken)
    {
        var folder = Path.GetFullPath(dataFolder);
        var bin = FindBinaries();
        var (data, sockets, account) = PlacesOf(folder);
        var parent = Path.GetDirectoryName(data)!;
        await MakePrivateDirectoryAsync(parent, account, cancellationToken);
        await MakePrivateDirectoryAsync(sockets, account, cancellationToken);
        using var guard = await ExclusiveAsync(Path.Combine(parent, "start.lock"), cancellationToken);
        if (Directory.Exists(data))
        {
            throw new StorageUnavailableException(
                StorageFault.DatabaseExists, [], "The data folder has a database already.");
        }

        var staging = data + ".restoring";
        await using var users = new FileStream(
            Path.Combine(parent, "restore.lock"), FileMode.OpenOrCreate, FileAccess.Read, FileShare.ReadWrite);
        var cluster = new PrivateCluster(staging, sockets, bin, users, account);
        if (Directory.Exists(staging))
        {
            // An earlier attempt was killed. Its server may still run.
            await cluster.StopAsync();
            DeleteIfThere(staging);
        }

        var finished = false;
        try
        {
            await MakePrivateDirectoryAsync(staging, account, cancellationToken);
            await fill(staging);
            await cluster.RecoverAsync(prove, cancellationToken);
            // The commit point of the restoration: from here on the data folder has its database.
            Directory.Move(staging, data);
            finished = true;
        }
        finally
        {
            if (!finished)
            {
                await cluster.StopAsync();
                DeleteIfThere(staging);
            }
        }
    }

    private async Task RecoverAsync(Func<Func<string, string>, Task> prove, CancellationToken cancellationToken)
    {
        // Archive recovery ends in a new timeline, so that nothing written from now on can be confused with the log of
        // the lost gateway. The log is in pg_wal already, so no restore_command is needed.
        await File.WriteAllTextAsync(Path.Combine(_data, "recovery.signal"), "", cancellationToken);
        await WriteAccessAsync(cancellationToken);
        if (_account is not null)
        {
            await RunProgramAsync("chown", ["-R", $"{_account.User}:{_account.Group}", _data], cancellationToken);
        }

        // With hot_standby off the server accepts connections only after recovery. The journal settings of the backup
        // do not apply to this machine.
        var settings =
            Settings()
            + " -c hot_standby=off -c restore_command=/bin/false -c synchronous_standby_names='' -c archive_mode=off";
        try
        {
            await RunAsync(
                "pg_ctl",
                [
                    "start",
                    "-D",
                    _data,
                    "-w",
                    "-t",
                    "43200",
                    "-s",
                    "-l",
                    Path.Combine(Path.GetDirectoryName(_data)!, "restore.log"),
                    "-o",
                    settings,
                ],
                cancellationToken,
                newSession: true,
                patience: RecoveryTakesAtMost);
            await using (var postgres = await RecoveredAsync(cancellationToken))
            {
                await ExecuteAsync(postgres, "ALTER SYSTEM RESET ALL", cancellationToken);
            }

            await prove(role =>
                new NpgsqlConnectionStringBuilder(ConnectionString(role)) { Pooling = false }.ConnectionString);
        }
        finally
        {
            await StopAsync();
        }
    }

    /// <summary>Waits until recovery is over. Until then the server runs and refuses connections.</summary>
    private async Task<NpgsqlConnection> RecoveredAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var postgres = new NpgsqlConnection(
                new NpgsqlConnectionStringBuilder(ConnectionString("postgres", "postgres"))
                {
                    Pooling = false,
                }.ConnectionString);
            try
            {
                await postgres.OpenAsync(cancellationToken);
                return postgres;
            }
            catch (NpgsqlException e)
            {
                await postgres.DisposeAsync();
                if (await RunAsync("pg_ctl", ["status", "-D", _data, "-s"], cancellationToken, mayFail: true) != 0)
                {
                    throw new StorageUnavailableException(
                        StorageFault.RecoveryFailed, [],
                        "PostgreSQL could not recover from the backup: see restore.log.", e);
                }
            }

            await Task.Delay(100, cancellationToken);
        }
    }

    private Task<int> StopAsync() =>
        RunAsync(
            "pg_ctl", ["stop", "-D", _data, "-m", "fast", "-w", "-t", "60", "-s"], CancellationToken.None,
            mayFail: true);

    private static void DeleteIfThere(string folder)
    {
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
