using SecureMail.Backup;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;

namespace SecureMail.Gateway.Health;

/// <summary>
/// What the backup says about new work: none for a gateway that was restored and has not proven itself, and none while
/// a synchronous journal does not follow, since what was taken would be in no backup. The database is asked, so that
/// all nodes and commands agree.
/// </summary>
internal sealed class BackupCheck(GatewayDatabase database, BackupOptions options, TimeProvider time, DatabaseTurn turn)
    : DatabaseCheck(turn, time, CommitSignal.OfReadyWork(database.Source))
{
    protected override async Task<IReadOnlyList<HealthIssue>> AskAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var (restored, names, follows) = await connection.FindAsync<(bool, string, bool)>(
            $"""
            SELECT EXISTS (SELECT FROM gateway.restoration WHERE state = '{RestorationState.Asking}'),
              current_setting('synchronous_standby_names'),
              EXISTS (SELECT FROM pg_stat_replication WHERE application_name = @Name AND state = 'streaming')
            """,
            new { Name = Backups.JournalName }, cancellationToken);
        if (restored)
        {
            return [HealthIssue.RestoredNotProven];
        }

        var waits = names.Contains(Backups.JournalName, StringComparison.Ordinal);
        var synchronous = options is { IsConfigured: true, Synchronous: true };
        var problem =
            (waits || options.IsConfigured) && !follows ? "backup"
            : synchronous && !waits && database.Cluster is not null ? "backup"
            : synchronous && Backups.NeedsBase(options.Folder!) ? "backup-no-base"
            : null;
        return problem is null ? [] : [HealthIssue.Backup(problem, refuses: waits || synchronous)];
    }
}
