using Dapper;
using Npgsql;
using SecureMail.Gateway.Storage;

namespace SecureMail.Gateway.Backup;

/// <summary>
/// Whether new work may be taken: not by a gateway that was restored and has not proven itself, and not while a synchronous journal does not follow,
/// since what was taken would be in no backup. The database is asked, so that all nodes and commands agree.
/// </summary>
internal sealed class WorkGate(GatewayDatabase database, GatewayOptions options, TimeProvider time)
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(500);

    private volatile string? _closed;

    /// <summary>What keeps it closed, when last looked; null: open.</summary>
    public string? Closed => _closed;

    /// <summary>Looks now; answers the problem to be shown, which closes the gate or, for a journal that follows at its leisure, does not.</summary>
    public async Task<string?> LookAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var (restored, names, follows) = await connection.QuerySingleAsync<(bool, string, bool)>(new CommandDefinition(
            """
            SELECT EXISTS (SELECT FROM gateway.restoration WHERE state = 'asking'), current_setting('synchronous_standby_names'),
              EXISTS (SELECT FROM pg_stat_replication WHERE application_name = @Name AND state = 'streaming')
            """, new { Journal.Name }, cancellationToken: cancellationToken));
        var waits = names.Contains(Journal.Name, StringComparison.Ordinal);
        var synchronous = options.Backup is { Synchronous: true };
        var problem = restored ? "restored-not-proven"
            : (waits || options.Backup is not null) && !follows ? "backup"
            : synchronous && !waits && database.Cluster is not null ? "backup"
            : synchronous && new BackupFolder(options.Backup!.Folder).NeedsBase ? "backup-no-base"
            : null;
        _closed = restored || waits || synchronous ? problem : null;
        return problem;
    }

    /// <exception cref="StorageUnavailableException">Closed; the message says what to do.</exception>
    public async Task RequireOpenAsync(CancellationToken cancellationToken)
    {
        await LookAsync(cancellationToken);
        if (_closed is { } problem)
        {
            throw new StorageUnavailableException(problem == "restored-not-proven"
                ? "Cổng vừa được khôi phục và chưa chứng minh sổ cái với các cổng khác; chưa nhận gì (securemail restore --check). / This gateway was restored and has not proven its ledger to its peers; nothing was taken (securemail restore --check)."
                : "Nhật ký sao lưu chưa chạy nên chưa nhận gì: hãy chạy cổng (securemail serve) và kiểm tra thư mục sao lưu. / The backup's journal does not follow, so nothing was taken: run the gateway (securemail serve) and look at the backup folder.");
        }
    }

    public async Task FollowAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                await LookAsync(stop);
            }
            catch (Exception e) when (e is NpgsqlException or TimeoutException or IOException or OperationCanceledException)
            {
                // The database is away; nothing is taken then anyway.
            }

            await Task.Delay(LookEvery, time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
