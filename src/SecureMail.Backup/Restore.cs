using System.Formats.Tar;
using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Dapper;
using Npgsql;
using NpgsqlTypes;
using SecureMail.Cms;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.Backup;

/// <summary>
/// Restores a gateway from its backup folder with the recovery key, into an empty data folder. The steps: the manifest
/// and the keys are verified, the base is unpacked, the journal's log is written over the log of the base, PostgreSQL
/// recovers to its end, the ledger is recomputed, and the gateway is marked as restored. All steps work in staging
/// folders. The last step moves the result to its place.
/// </summary>
public sealed class Restore
{
    // A data folder to restore into may hold the configuration, and what a failed attempt left behind.
    private static readonly string[] MayBeThere =
    [
        "securemail.json",
        "start.lock",
        "users.lock",
        "restore.lock",
        "restore.log",
        KeysStaging,
        "postgres.restoring",
    ];

    private const string KeysStaging = "keys.restoring";

    private readonly BackupFolder _folder;
    private readonly IReadOnlyList<RecipientKey> _keys;
    private readonly GatewayFiles _files;
    private readonly TimeProvider _time;
    private X509Certificate2? _signer;

    private Restore(string folder, IReadOnlyList<RecipientKey> keys, GatewayFiles files, TimeProvider time) =>
        (_folder, _keys, _files, _time) = (new BackupFolder(folder), keys, files, time);

    /// <param name="from">The backup folder.</param>
    /// <param name="keys">The recovery key.</param>
    /// <param name="dropDamagedTail">True: restore up to a journal record that was changed, instead of refusing. The
    /// log behind that record is lost, and the peers tell what it held.</param>
    /// <param name="prove">Migrates the recovered database to this build's schema, verifies its ledger against the
    /// manifest, marks the gateway as restored, and returns how many entries the ledger has. If it throws, nothing was
    /// restored.</param>
    /// <exception cref="BackupException">The key is another one, or a file is missing, cut off or changed. Nothing was
    /// restored.</exception>
    /// <exception cref="StorageUnavailableException">The data folder is in use, or PostgreSQL could not
    /// recover.</exception>
    public static async Task<RestoreReport> RunAsync(
        string from, IReadOnlyList<RecipientKey> keys, GatewayFiles files, bool dropDamagedTail,
        Func<RestoredDatabase, CancellationToken, Task<long>> prove, TimeProvider time,
        CancellationToken cancellationToken)
    {
        RequireEmpty(files);
        return await new Restore(from, keys, files, time).RunAsync(dropDamagedTail, prove, cancellationToken);
    }

    private static void RequireEmpty(GatewayFiles files)
    {
        var folder = files.DataFolder;
        var stray = Directory.Exists(folder)
            ? Directory.GetFileSystemEntries(folder).Select(Path.GetFileName).Except(MayBeThere).FirstOrDefault()
            : null;
        if (stray is not null || PrivateCluster.Exists(folder))
        {
            throw new DataFolderInUseException(folder, stray ?? "postgres");
        }
    }

    private async Task<RestoreReport> RunAsync(
        bool dropDamagedTail, Func<RestoredDatabase, CancellationToken, Task<long>> prove,
        CancellationToken cancellationToken)
    {
        var started = _time.GetTimestamp();
        if (_folder.Bases() is not [.., var chosen])
        {
            throw BackupException.NoCompleteBackup(_folder.Path);
        }

        var manifest = await ManifestAsync(chosen.Folder, cancellationToken);
        await CheckPiecesAsync(chosen.Folder, manifest, cancellationToken);
        Directory.CreateDirectory(_files.DataFolder);
        var keys = Path.Combine(_files.DataFolder, KeysStaging);
        try
        {
            await UnpackKeysAsync(chosen.Folder, keys, cancellationToken);
            JournalReading? journal = null;
            long entries = 0;
            await PrivateCluster.RestoreAsync(
                _files.DataFolder,
                async cluster =>
                {
                    await UnpackAsync(
                        Path.Combine(chosen.Folder, BackupFolder.BaseFile), "base", cluster, cancellationToken);
                    journal = await ReadJournalAsync(
                        manifest, Path.Combine(cluster, "pg_wal"), dropDamagedTail, cancellationToken);
                },
                async connection =>
                    entries = await prove(new RestoredDatabase(connection, manifest, keys), cancellationToken),
                cancellationToken);
            Directory.Move(keys, _files.KeyFolder);
            return new RestoreReport(
                manifest.Gateway, chosen.Folder, manifest.Made, entries, Lsn((ulong)manifest.WalEnd),
                Lsn(journal!.Covered), journal.Bytes, journal.Files, journal.Gap is { } gap ? Lsn(gap) : null,
                journal.Torn, _time.GetElapsedTime(started));
        }
        catch
        {
            if (Directory.Exists(keys))
            {
                Directory.Delete(keys, recursive: true);
            }

            throw;
        }
    }

    private async Task<BackupManifest> ManifestAsync(string folder, CancellationToken cancellationToken)
    {
        using var reader = await OpenAsync(
            Path.Combine(folder, BackupFolder.ManifestFile), "manifest", cancellationToken);
        using var json = new MemoryStream();
        await reader.OpenContent().CopyToAsync(json, cancellationToken);
        try
        {
            var manifest = WireJson.Read<BackupManifest>(json.ToArray(), 1 << 20, "backup manifest");
            return
                manifest.System == reader.Header.System
                && manifest.Gateway == reader.Header.Gateway
                && manifest.SegmentSize is >= 1 << 20 and <= 1 << 30
                ? manifest
                : throw BackupException.Damaged(BackupFolder.ManifestFile, BackupFault.ManifestContradiction);
        }
        catch (WireFormatException e)
        {
            throw BackupException.Damaged(BackupFolder.ManifestFile, BackupFault.ManifestDamaged, e);
        }
    }

    private static async Task CheckPiecesAsync(
        string folder, BackupManifest manifest, CancellationToken cancellationToken)
    {
        foreach (var name in new[] { BackupFolder.KeysFile, BackupFolder.BaseFile })
        {
            var path = Path.Combine(folder, name);
            if (!File.Exists(path))
            {
                throw BackupException.Damaged(path, BackupFault.FileMissing);
            }

            await using var file = File.OpenRead(path);
            if (manifest.Pieces.GetValueOrDefault(name)
                != Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken)))
            {
                throw BackupException.Damaged(path, BackupFault.FileChanged);
            }
        }
    }

    /// <summary>Opens a file of the backup. The file must be of the kind given, and all files must be signed by one
    /// key.</summary>
    private async Task<EncryptedBackupReader> OpenAsync(string path, string kind, CancellationToken cancellationToken)
    {
        if (!File.Exists(path))
        {
            throw BackupException.Damaged(path, BackupFault.FileMissing);
        }

        var reader = await EncryptedBackupReader.OpenAsync(
            Path.GetFileName(path), File.OpenRead(path), _keys, cancellationToken);
        _signer ??= reader.Signer;
        if (reader.Header.Kind == kind && reader.Signer.RawData.AsSpan().SequenceEqual(_signer.RawData))
        {
            return reader;
        }

        reader.Dispose();
        throw BackupException.Damaged(path, BackupFault.ForeignFile);
    }

    private async Task UnpackKeysAsync(string folder, string keys, CancellationToken cancellationToken)
    {
        if (Directory.Exists(keys))
        {
            Directory.Delete(keys, recursive: true);
        }

        Directory.CreateDirectory(keys);
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(keys, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        await UnpackAsync(Path.Combine(folder, BackupFolder.KeysFile), "keys", keys, cancellationToken);
        using var tls = X509CertificateLoader.LoadCertificateFromFile(Path.Combine(keys, "tls.pem"));
        if (!tls.RawData.AsSpan().SequenceEqual(_signer!.RawData))
        {
            // Peers know this gateway by its TLS key. A backup that another key signed is a forgery.
            throw BackupException.Damaged(BackupFolder.KeysFile, BackupFault.ForeignSigner);
        }
    }

    /// <summary>Unpacks regular files and folders below the target. A name that leads out of the target is refused, and
    /// so is a link.</summary>
    private async Task UnpackAsync(string path, string kind, string target, CancellationToken cancellationToken)
    {
        using var reader = await OpenAsync(path, kind, cancellationToken);
        await using var content = reader.OpenContent();
        await using var tar = new TarReader(content);
        while (await tar.GetNextEntryAsync(copyData: false, cancellationToken) is { } entry)
        {
            var to = Path.GetFullPath(entry.Name, target);
            if (!to.StartsWith(target + Path.DirectorySeparatorChar, StringComparison.Ordinal)
                && Path.TrimEndingDirectorySeparator(to) != target)
            {
                throw BackupException.Damaged(path, BackupFault.NameOutside);
            }

            switch (entry.EntryType)
            {
                case TarEntryType.Directory:
                    Directory.CreateDirectory(to);
                    if (!OperatingSystem.IsWindows())
                    {
                        File.SetUnixFileMode(
                            to, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
                    }

                    break;
                case TarEntryType.RegularFile or TarEntryType.V7RegularFile:
                    Directory.CreateDirectory(Path.GetDirectoryName(to)!);
                    await WriteAsync(entry, to, cancellationToken);
                    break;
                default:
                    throw BackupException.Damaged(path, BackupFault.EntryKind);
            }
        }

        // The tar has an end of its own. Only the end of the encrypted file proves that nothing was cut off, so read to
        // that end.
        var rest = new byte[4096];
        while (await content.ReadAsync(rest, cancellationToken) > 0)
        {
            // Padding.
        }
    }

    private static async Task WriteAsync(TarEntry entry, string to, CancellationToken cancellationToken)
    {
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        await using var file = new FileStream(to, options);
        if (entry.DataStream is { } data)
        {
            await data.CopyToAsync(file, cancellationToken);
        }
    }

    /// <summary>Writes the journal over the log of the base, as far as its records follow on one another.</summary>
    private async Task<JournalReading> ReadJournalAsync(
        BackupManifest manifest, string walFolder, bool dropDamagedTail, CancellationToken cancellationToken)
    {
        var files = _folder.Journals(manifest.Timeline);
        var first = Math.Max(0, files.Where(f => f.Start <= (ulong)manifest.WalStart).Count() - 1);
        var reading = new JournalReading((ulong)manifest.WalEnd);
        using var wal = new WalSegments(walFolder, manifest.Timeline, manifest.SegmentSize);
        foreach (var (file, start) in files.Skip(first))
        {
            if (start > reading.Covered)
            {
                reading.Gap = reading.Covered;
                break;
            }

            try
            {
                await ReadJournalFileAsync(file, start, manifest, wal, reading, cancellationToken);
            }
            catch (BackupException) when (dropDamagedTail)
            {
                reading.Gap = reading.Covered;
                break;
            }
        }

        return reading;
    }

    private async Task ReadJournalFileAsync(
        string file, ulong start, BackupManifest manifest, WalSegments wal, JournalReading reading,
        CancellationToken cancellationToken)
    {
        using var reader = await OpenAsync(file, "journal", cancellationToken);
        var header = reader.Header;
        if (header.System != manifest.System || header.Timeline != manifest.Timeline || (ulong)header.Position != start)
        {
            throw BackupException.Damaged(file, BackupFault.NameContradiction);
        }

        var position = start;
        while (await reader.ReadAsync(cancellationToken) is var (at, bytes))
        {
            if (at != position)
            {
                throw BackupException.Damaged(file, BackupFault.RecordGap);
            }

            wal.Write(at, bytes.Span);
            position += (ulong)bytes.Length;
            reading.Bytes += bytes.Length;
            reading.Covered = Math.Max(reading.Covered, position);
        }

        reading.Files++;
        reading.Torn += reader.Torn ? 1 : 0;
    }

    private static string Lsn(ulong position) => ((NpgsqlLogSequenceNumber)position).ToString();

    private sealed class JournalReading(ulong covered)
    {
        public ulong Covered { get; set; } = covered;

        public long Bytes { get; set; }

        public int Files { get; set; }

        public int Torn { get; set; }

        public ulong? Gap { get; set; }
    }
}

/// <summary>A database that PostgreSQL recovered from a backup, and that was not moved to its place yet.</summary>
/// <param name="ConnectionString">Gives the connection string of a role.</param>
/// <param name="KeyFolder">The gateway's keys, unpacked.</param>
public sealed record RestoredDatabase(Func<string, string> ConnectionString, BackupManifest Manifest, string KeyFolder);

/// <summary>What was restored, and up to which position of the log.</summary>
/// <param name="LedgerSize">The entries of the restored ledger. The peers tell whether later entries are
/// missing.</param>
/// <param name="JournalOctets">The bytes of log that were read from the journal.</param>
/// <param name="JournalGap">The position from which the journal has a gap or a damaged record, although later files
/// exist. Null: the journal was read to its end.</param>
/// <param name="TornRecords">Incomplete records at the ends of files, written when the gateway was stopped. Nothing in
/// them was acknowledged.</param>
public sealed record RestoreReport(
    string Gateway, string Base, DateTimeOffset BaseMade, long LedgerSize, string BaseEnd, string JournalEnd,
    long JournalOctets, int JournalFiles, string? JournalGap, int TornRecords, TimeSpan Took);

/// <summary>The data folder to restore into is not empty. Exit code 77.</summary>
public sealed class DataFolderInUseException(string folder, string entry)
    : Exception($"The data folder {folder} is not empty ({entry}); nothing was changed.")
{
    public string Folder { get; } = folder;

    /// <summary>The name of something that is in the folder.</summary>
    public string Entry { get; } = entry;
}
