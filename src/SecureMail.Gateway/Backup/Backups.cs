using Microsoft.Extensions.Logging;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Storage;

namespace SecureMail.Gateway.Backup;

/// <summary>
/// A gateway's backups. A backup is a folder with <em>bases</em> (the whole database and the gateway's keys at one
/// moment) and a <em>journal</em> (the database's write-ahead log since), everything sealed to a recovery certificate
/// and signed by the gateway (<see cref="SealedFile"/>). A base alone brings the gateway back as it was then; with a
/// synchronous journal nothing that was ever told to anybody is missing. <see cref="Restore"/> is the way back,
/// <see cref="Restoration"/> what the gateway must prove then.
/// </summary>
public sealed class Backups
{
    private readonly GatewayDatabase _database;
    private readonly GatewayIdentity _identity;
    private readonly GatewayOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;

    internal Backups(
        GatewayDatabase database,
        GatewayIdentity identity,
        GatewayOptions options,
        TimeProvider time,
        ILogger logger
    ) => (_database, _identity, _options, _time, _logger) = (database, identity, options, time, logger);

    /// <summary>Takes a base now, while the gateway works on; when this answers, it is whole and on the disk.</summary>
    /// <exception cref="StorageUnavailableException">The server would not: it is away, or the role may not
    /// replicate.</exception>
    /// <exception cref="IOException">The folder cannot be written; nothing of the attempt is left.</exception>
    public Task<BackupMade> TakeAsync(BackupOptions backup, CancellationToken cancellationToken) =>
        BaseBackup.TakeAsync(
            BackupSource.Of(_database, backup), new BackupFolder(backup.Folder), SealFor(backup), _options,
            cancellationToken);

    /// <summary>Keeps the journal until cancelled; takes a first base where there is none.</summary>
    public Task FollowAsync(BackupOptions backup, CancellationToken stop) =>
        new Journal(
            BackupSource.Of(_database, backup), new BackupFolder(backup.Folder), () => SealFor(backup), _options,
            backup.Synchronous, _time, _logger).RunAsync(stop);

    /// <summary>An operator's decision that commits no longer wait for a journal, and that the server keeps nothing for
    /// one.</summary>
    public async Task ReleaseAsync(BackupOptions? backup, CancellationToken cancellationToken)
    {
        var source = BackupSource.Of(_database, backup);
        await Journal.ReleaseAsync(source, cancellationToken);
        await Journal.DropSlotAsync(source, cancellationToken);
    }

    /// <summary>Deletes older bases and the journal that only they need; answers how many files and folders
    /// went.</summary>
    public static int Prune(string folder, int keep) => new BackupFolder(folder).Prune(keep);

    private BackupSeal SealFor(BackupOptions backup) =>
        BackupSource.SealOf(_options, _identity, backup.RecoveryCertificate, _time);
}
