using Dapper;
using SecureMail.Backup;
using SecureMail.Gateway.Registers;
using SecureMail.Storage;

namespace SecureMail.Gateway.Health;

/// <summary>
/// What the backup says about new work: none for a gateway that was restored and has not proven itself, and none while
/// a synchronous journal does not follow, since what was taken would be in no backup. The database is asked, so that
/// all nodes and commands agree; <see cref="Admission"/> asks.
/// </summary>
internal sealed class BackupGate(GatewayDatabase database, GatewayOptions options)
{
    /// <summary>Looks now; null: nothing to say.</summary>
    public async Task<BackupObstacle?> LookAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var (restored, names, follows) = await connection.QuerySingleAsync<(bool, string, bool)>(
            new CommandDefinition(
                $"""
                SELECT EXISTS (SELECT FROM gateway.restoration WHERE state = '{RestorationState.Asking}'), current_setting('synchronous_standby_names'),
                  EXISTS (SELECT FROM pg_stat_replication WHERE application_name = @Name AND state = 'streaming')
                """,
                new { Name = Backups.JournalName },
                cancellationToken: cancellationToken));
        if (restored)
        {
            return new BackupObstacle(
                "restored-not-proven",
                true,
                "Cổng vừa được khôi phục và chưa chứng minh sổ cái với các cổng khác; chưa nhận gì (securemail restore --check).",
                "This gateway was restored and has not proven its ledger to its peers; nothing was taken (securemail restore --check)."
            );
        }

        var waits = names.Contains(Backups.JournalName, StringComparison.Ordinal);
        var synchronous = options.Backup is { Synchronous: true };
        var problem =
            (waits || options.Backup is not null) && !follows ? "backup"
            : synchronous && !waits && database.Cluster is not null ? "backup"
            : synchronous && Backups.NeedsBase(options.Backup!.Folder) ? "backup-no-base"
            : null;
        // A journal that follows at its leisure is shown, and keeps nothing out.
        return problem is null
            ? null
            : new BackupObstacle(
                problem,
                waits || synchronous,
                "Nhật ký sao lưu chưa chạy nên chưa nhận gì: hãy chạy cổng (securemail serve) và kiểm tra thư mục sao lưu.",
                "The backup's journal does not follow, so nothing was taken: run the gateway (securemail serve) and look at the backup folder."
            );
    }
}

/// <param name="Closes">New work is not taken for it; otherwise it is only shown.</param>
internal sealed record BackupObstacle(string Name, bool Closes, string Vi, string En);
