namespace SecureMail.Storage;

/// <summary>Restarts a server that ended while it was in use, because of a full disk or because the kernel killed
/// it.</summary>
public sealed partial class PrivateCluster
{
    /// <summary>The folder of the server's files.</summary>
    public string DataDirectory => _data;

    /// <summary>Starts the server again if it does not answer, and returns whether it was started. Committed data is
    /// there, because PostgreSQL recovers from its log.</summary>
    /// <exception cref="StorageUnavailableException">The server does not start, or its files are gone. A new, empty
    /// cluster never replaces one that was in use.</exception>
    public async Task<bool> ReviveAsync(CancellationToken cancellationToken)
    {
        using var guard = await ExclusiveAsync(
            Path.Combine(Path.GetDirectoryName(_data)!, "start.lock"), cancellationToken);
        // pg_isready: 0, the server accepts connections; 1, the server runs and recovers. Start it only when nothing
        // answers.
        if (
            Volatile.Read(ref _disposed) != 0
            || await RunAsync("pg_isready", ["-q", "-h", SocketDirectory, "-t", "5"], cancellationToken, mayFail: true)
                is 0
                    or 1)
        {
            return false;
        }

        if (!File.Exists(Path.Combine(_data, "PG_VERSION")))
        {
            throw new StorageUnavailableException(
                StorageFault.ClusterGone, [_data], $"The folder {_data} of the database is gone.");
        }

        await StartAsync(cancellationToken);
        return true;
    }
}
