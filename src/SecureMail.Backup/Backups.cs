using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging;
using SecureMail.Storage;

namespace SecureMail.Backup;

/// <summary>
/// A gateway's backups. A backup is a folder with <em>bases</em> (the whole database and the gateway's keys at one
/// moment) and a <em>journal</em> (the database's write-ahead log since), everything sealed to a recovery certificate
/// and signed by the gateway (<see cref="EncryptedBackupFile"/>). A base alone brings the gateway back as it was then;
/// with a synchronous journal nothing that was ever told to anybody is missing. <see cref="Restore"/> is the way back,
/// <see cref="Restoration"/> what the gateway must prove then.
/// </summary>
public sealed class Backups(
    GatewayDatabase database, X509Certificate2 signer, GatewayFiles files, TimeProvider time, ILogger logger)
{
    private const string RsaEncryption = "1.2.840.113549.1.1.1";

    /// <summary>The name by which the server knows the journal: its replication slot and its application
    /// name.</summary>
    public const string JournalName = Journal.Name;

    /// <summary>Whether a synchronous journal in this folder has no base to stand on yet.</summary>
    public static bool NeedsBase(string folder) => new BackupFolder(folder).NeedsBase;

    /// <summary>Takes a base now, while the gateway works on; when this answers, it is whole and on the disk.</summary>
    /// <exception cref="StorageUnavailableException">The server would not: it is away, or the role may not
    /// replicate.</exception>
    /// <exception cref="IOException">The folder cannot be written; nothing of the attempt is left.</exception>
    public Task<BackupMade> TakeAsync(BackupOptions backup, CancellationToken cancellationToken) =>
        BaseBackup.TakeAsync(
            BackupSource.Of(database, backup), new BackupFolder(backup.Folder!), KeysFor(backup), files,
            cancellationToken);

    /// <summary>Keeps the journal until cancelled; takes a first base where there is none.</summary>
    public Task FollowAsync(BackupOptions backup, CancellationToken stop) =>
        new Journal(
            BackupSource.Of(database, backup), new BackupFolder(backup.Folder!), () => KeysFor(backup), files,
            backup.Synchronous, time, logger).RunAsync(stop);

    /// <summary>An operator's decision that commits no longer wait for a journal, and that the server keeps nothing for
    /// one.</summary>
    public async Task ReleaseAsync(BackupOptions? backup, CancellationToken cancellationToken)
    {
        var source = BackupSource.Of(database, backup);
        await Journal.ReleaseAsync(source, cancellationToken);
        await Journal.DropSlotAsync(source, cancellationToken);
    }

    /// <summary>Deletes older bases and the journal that only they need; answers how many files and folders
    /// went.</summary>
    public static int Prune(string folder, int keep) => new BackupFolder(folder).Prune(keep);

    private BackupKeys KeysFor(BackupOptions backup)
    {
        var recovery = X509CertificateLoader.LoadCertificateFromFile(backup.RecoveryCertificate!);
        return recovery.PublicKey.Oid.Value == RsaEncryption
            ? new BackupKeys(recovery, signer, files.Name, time)
            : throw new BackupException(
                BackupFault.RecoveryKeyNotRsa, "The recovery certificate must be of an RSA key.");
    }
}
