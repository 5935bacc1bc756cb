namespace SecureMail.Storage;

/// <summary>A server that went down while it was in use: a full disk makes PostgreSQL end itself, and so may the
/// kernel.</summary>
public sealed partial class PrivateCluster
{
    /// <summary>Where the server keeps its files.</summary>
    public string DataDirectory => _data;

    /// <summary>Starts the server again if it does not answer; true when it was started. What was committed is there:
    /// PostgreSQL recovers from its log.</summary>
    /// <exception cref="StorageUnavailableException">It does not start, or its files are gone: a new, empty cluster is
    /// never made in place of one that was in use.</exception>
    public async Task<bool> ReviveAsync(CancellationToken cancellationToken)
    {
        using var guard = await ExclusiveAsync(
            Path.Combine(Path.GetDirectoryName(_data)!, "start.lock"), cancellationToken);
        // pg_isready: 0, it takes connections; 1, it is there and recovers. Only where nobody answers is there
        // something to start.
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
