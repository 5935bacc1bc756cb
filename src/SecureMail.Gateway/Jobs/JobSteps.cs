using System.Security.Cryptography;
using SecureMail.Backup;
using SecureMail.Exchange;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Retention;
using SecureMail.Gateway.Vocabulary;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.Gateway.Jobs;

/// <summary>
/// What each kind of job does. A step may be killed anywhere and run again, here or on another node: what it did before
/// is found in the database or in a file that bears the job's id, and is not done twice.
/// </summary>
internal sealed class JobSteps(
    GatewayDatabase database, DatabaseOptions options, GatewayIdentity identity, StorageKeyRotation rotation,
    Backups backups, BackupOptions backup, RetentionSweep sweep, ClockWatch clock)
{
    private const string Unfinished = ".part";

    /// <summary>Does one job and answers its result, which <c>jobs show</c> prints.</summary>
    /// <exception cref="JobNotHereException">This node does not have what the job needs.</exception>
    public async Task<object> RunAsync(JobRun job, CancellationToken cancellationToken) =>
        job.Kind switch
        {
            JobKind.Retention => await SweepAsync(cancellationToken),
            JobKind.StorageRotation => await RotateAsync(job, cancellationToken),
            JobKind.LedgerVerification => await VerifyAsync(job, cancellationToken),
            JobKind.LedgerExport => await ExportAsync(job, cancellationToken),
            JobKind.BaseBackup => await BackUpAsync(job, cancellationToken),
            _ => throw new InvalidOperationException($"No step does jobs of kind {job.Kind}."),
        };

    /// <summary>Deletes what earlier runs on this node made for nothing: unfinished files, and the files of exports
    /// that did not end here. Another node writes them, or has.</summary>
    /// <param name="endedHere">Whether a job is at its end, on this node.</param>
    public async Task DeleteLeftAsync(Func<Guid, Task<bool>> endedHere)
    {
        foreach (var file in Directory.Exists(Exports) ? Directory.GetFiles(Exports) : [])
        {
            if (!Guid.TryParse(Path.GetFileNameWithoutExtension(file), out var job) || !await endedHere(job))
            {
                File.Delete(file);
            }
        }
    }

    /// <summary>Deletes what a run made that was not counted, because another node has the job.</summary>
    public void Undo(JobRun job) => File.Delete(FileOf(job.Id));

    private string FileOf(Guid job) => Path.Combine(Exports, $"{job}.jsonl");

    private string Exports => Path.Combine(options.DataFolder, "exports");

    private async Task<object> SweepAsync(CancellationToken cancellationToken)
    {
        await clock.LookAsync(cancellationToken);
        // What is destroyed does not come back: not while a clock is doubted.
        return clock.IsDoubted
            ? new { waits = ReasonCode.ClockSuspect }
            : new { rows = await sweep.RunAsync(cancellationToken) };
    }

    private async Task<object> RotateAsync(JobRun job, CancellationToken cancellationToken)
    {
        if (!rotation.TryUse(job.Argument!))
        {
            throw new JobNotHereException();
        }

        job.Total = await rotation.CountRemainingAsync(cancellationToken);
        return await rotation.RotateAsync(makeKey: false, cancellationToken, job);
    }

    private async Task<object> VerifyAsync(JobRun job, CancellationToken cancellationToken)
    {
        job.Total = await CountEntriesAsync(cancellationToken);
        return await LedgerVerifier.VerifyAsync(
            database.Source, identity.Ledger.Verifier, [], cancellationToken, job);
    }

    private async Task<object> ExportAsync(JobRun job, CancellationToken cancellationToken)
    {
        job.Total = await CountEntriesAsync(cancellationToken);
        Directory.CreateDirectory(Exports);
        var file = FileOf(job.Id);
        var unfinished = file + Unfinished;
        string digest;
        long bytes;
        await using (var output = new FileStream(unfinished, FileMode.Create, FileAccess.ReadWrite, FileShare.None))
        {
            await LedgerExporter.WriteAsync(
                database.Source, identity.Ledger.Verifier, output, cancellationToken, job);
            output.Flush(flushToDisk: true);
            output.Position = 0;
            digest = Convert.ToHexStringLower(await SHA256.HashDataAsync(output, cancellationToken));
            bytes = output.Length;
        }

        // A file of this name is whole. After a crash behind this line it is deleted when the node starts, and written
        // again by whoever does the job.
        File.Move(unfinished, file, overwrite: true);
        return new { file, bytes, sha256 = digest, node = job.Node };
    }

    private async Task<object> BackUpAsync(JobRun job, CancellationToken cancellationToken)
    {
        if (!backup.IsConfigured || backup.RecoveryCertificate is null)
        {
            throw new JobNotHereException();
        }

        return new { folder = await backups.TakeOnceAsync(backup, job.Id, job, cancellationToken) };
    }

    private async Task<long> CountEntriesAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return await connection.ScalarAsync<long>(
            "SELECT coalesce(max(size), 0) FROM ledger.checkpoint", null, cancellationToken);
    }
}

/// <summary>This node does not have what a job needs: the storage key, or a configured backup. Another node
/// may.</summary>
internal sealed class JobNotHereException() : Exception("This node does not have what the job needs.");
