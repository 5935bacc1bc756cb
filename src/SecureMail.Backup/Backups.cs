using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging;
using SecureMail.Storage;

namespace SecureMail.Backup;

/// <summary>
/// The backups of a gateway. A backup is a folder with <em>bases</em> (the whole database and the gateway's keys at one
/// moment) and a <em>journal</em> (the database's write-ahead log since then). Everything is encrypted to a recovery
/// certificate and signed by the gateway (<see cref="EncryptedBackupFile"/>). A base alone restores the gateway as it
/// was when the base was taken. With a synchronous journal every commit that was answered is in the backup.
/// <see cref="Restore"/> reads a backup.
/// </summary>
public sealed class Backups(
    GatewayDatabase database, X509Certificate2 signer, GatewayFiles files, TimeProvider time, ILogger logger)
{
    private const string RsaEncryption = "1.2.840.113549.1.1.1";

    /// <summary>The replication slot of the journal, and its application name at the server.</summary>
    public const string JournalName = Journal.Name;

    /// <summary>Whether the journal in this folder still needs a base that it follows on.</summary>
    public static bool NeedsBase(string folder) => new BackupFolder(folder).NeedsBase;

    /// <summary>Takes a base now, while the gateway goes on working. The base is complete and on the disk when this
    /// returns.</summary>
    /// <exception cref="StorageUnavailableException">The server cannot be reached, or the role may not
    /// replicate.</exception>
    /// <exception cref="IOException">The folder cannot be written. Nothing of the attempt is left.</exception>
    public Task<BackupMade> TakeAsync(BackupOptions backup, CancellationToken cancellationToken) =>
        BaseBackup.TakeAsync(
            BackupSource.Of(database, backup), new BackupFolder(backup.Folder!), KeysFor(backup), files,
            cancellationToken);

    /// <summary>Takes the base of a job. A job that is run again after a crash finds the base that it took: there is
    /// never a second one.</summary>
    /// <param name="progress">Hears how many bytes of the database were read.</param>
    /// <returns>The folder of the base.</returns>
    /// <inheritdoc cref="TakeAsync"/>
    public async Task<string> TakeOnceAsync(
        BackupOptions backup, Guid job, IProgress<long> progress, CancellationToken cancellationToken)
    {
        var folder = new BackupFolder(backup.Folder!);
        folder.Create();
        return folder.FindBaseOf(job)
            ?? (
                await BaseBackup.TakeAsync(
                    BackupSource.Of(database, backup), folder, KeysFor(backup), files, cancellationToken, job, progress)
            ).Folder;
    }

    /// <summary>Writes the journal until cancelled. A first base is taken if there is none.</summary>
    public Task FollowAsync(BackupOptions backup, CancellationToken stop) =>
        new Journal(
            BackupSource.Of(database, backup), new BackupFolder(backup.Folder!), () => KeysFor(backup), files,
            backup.Synchronous, time, logger).RunAsync(stop);

    /// <summary>Carries out an operator's decision: commits no longer wait for a journal, and the server keeps no log
    /// for one.</summary>
    public async Task ReleaseAsync(BackupOptions? backup, CancellationToken cancellationToken)
    {
        var source = BackupSource.Of(database, backup);
        await Journal.ReleaseAsync(source, cancellationToken);
        await Journal.DropSlotAsync(source, cancellationToken);
    }

    /// <summary>Deletes older bases and the journal files that only they need. Returns how many files and folders were
    /// deleted.</summary>
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
