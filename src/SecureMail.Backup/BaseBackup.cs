using System.Diagnostics;
using System.Formats.Tar;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.RegularExpressions;
using Npgsql;
using Npgsql.Replication;
using NpgsqlTypes;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.Backup;

/// <summary>
/// Takes one base backup: the whole cluster as <c>pg_basebackup</c> streams it, with the log that makes it consistent,
/// the gateway's key folder, and a manifest, which is written last. The content goes from the pipe into encrypted
/// records, so that no byte of it is on a disk in clear. The gateway goes on working meanwhile.
/// </summary>
internal static partial class BaseBackup
{
    /// <summary>Takes a base. The base is complete and on the disk when this returns.</summary>
    /// <exception cref="StorageUnavailableException">The server cannot be reached, or the role may not
    /// replicate.</exception>
    /// <exception cref="IOException">The folder cannot be written. Nothing of the attempt is left.</exception>
    public static async Task<BackupMade> TakeAsync(
        BackupSource source, BackupFolder folder, BackupKeys keys, GatewayFiles files,
        CancellationToken cancellationToken, Guid? job = null, IProgress<long>? progress = null)
    {
        folder.Create();
        var started = keys.Time.GetTimestamp();
        await using var maintenance = await source.OpenAsync(cancellationToken);
        // A temporary slot keeps the server from recycling the log that the backup fetches at its end.
        await using var holder = new PhysicalReplicationConnection(
            source.ReplicationConnectionString("securemail_base"));
        await holder.Open(cancellationToken);
        var slot = "securemail_base_" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(6));
        await holder.CreateReplicationSlot(slot, isTemporary: true, reserveWal: true, cancellationToken);
        var system = await holder.IdentifySystem(cancellationToken);
        var held = BackupSource.Lsn(
            await maintenance.ScalarAsync<object>(
                "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = @slot",
                new { slot }, cancellationToken));
        var place = new WalPlace(system.SystemId, system.Timeline, held);

        var partial = folder.NewBase(place, keys.Time.GetUtcNow(), job);
        Directory.CreateDirectory(partial);
        try
        {
            var contents = await ContentsAsync(maintenance, cancellationToken);
            var pieces = new SortedDictionary<string, string>(StringComparer.Ordinal);
            long bytes = 0;
            (ulong Start, ulong End) range = default;
            await PieceAsync(BackupFolder.BaseFile, "base", async writer =>
                range = await CopyClusterAsync(source, writer, progress, cancellationToken));
            await PieceAsync(BackupFolder.KeysFile, "keys", async writer =>
                Copy(await KeyFolderAsync(files, cancellationToken), writer));
            var manifest = new BackupManifest
            {
                Gateway = files.Name,
                Made = keys.Time.GetUtcNow(),
                System = place.System,
                Timeline = place.Timeline,
                WalStart = (long)range.Start,
                WalEnd = (long)range.End,
                SegmentSize = contents.SegmentSize,
                Postgres = contents.Postgres,
                Schema = contents.Schema,
                LedgerSize = contents.Ledger?.Size ?? 0,
                LedgerRoot = contents.Ledger?.Root.ToArray(),
                Pieces = pieces.ToDictionary(p => p.Key, p => p.Value),
            };
            await PieceAsync(BackupFolder.ManifestFile, "manifest", writer =>
            {
                Copy(JsonSerializer.SerializeToUtf8Bytes(manifest, WireJson.Options), writer);
                return Task.CompletedTask;
            });
            // The commit point of a base is the rename. A crash before it leaves a folder that no reader looks at.
            return new BackupMade(
                BackupFolder.Finish(partial), bytes, manifest.LedgerSize, keys.Time.GetElapsedTime(started));

            async Task PieceAsync(string name, string kind, Func<EncryptedBackupWriter, Task> write)
            {
                using var writer = await EncryptedBackupWriter.CreateAsync(
                    Path.Combine(partial, name), keys, kind, place, cancellationToken);
                await write(writer);
                writer.FlushToDisk();
                bytes += writer.Length;
                pieces[name] = Convert.ToHexStringLower(writer.Digest());
            }
        }
        catch
        {
            Directory.Delete(partial, recursive: true);
            throw;
        }
    }

    private static async Task<(ulong Start, ulong End)> CopyClusterAsync(
        BackupSource source, EncryptedBackupWriter writer, IProgress<long>? progress,
        CancellationToken cancellationToken)
    {
        using var process = source.StartBaseBackup();
        try
        {
            process.StandardInput.Close();
            var reading = process.StandardError.ReadToEndAsync(cancellationToken);
            var buffer = new byte[EncryptedBackupFile.LargestRecord];
            ulong position = 0;
            for (
                int read;
                (
                    read = await process.StandardOutput.BaseStream.ReadAtLeastAsync(
                        buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken)
                ) > 0;
                position += (ulong)read)
            {
                writer.Write(position, buffer.AsSpan(0, read));
                progress?.Report((long)position + read);
            }

            await process.WaitForExitAsync(cancellationToken);
            var report = await reading;
            if (process.ExitCode != 0
                || StartPoint().Match(report) is not { Success: true } start
                || EndPoint().Match(report) is not { Success: true } end)
            {
                var reason =
                    report.Split('\n', StringSplitOptions.RemoveEmptyEntries).LastOrDefault() ?? "pg_basebackup";
                throw new StorageUnavailableException(
                    StorageFault.BaseBackupFailed, [reason], $"The database cannot be backed up: {reason}");
            }

            // The last record is written only now, so that a tar that was cut off does not look complete.
            writer.Write(position, [], last: true);
            CryptographicOperations.ZeroMemory(buffer);
            return (BackupSource.Lsn(start.Groups[1].Value), BackupSource.Lsn(end.Groups[1].Value));
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }
    }

    private static void Copy(byte[] content, EncryptedBackupWriter writer)
    {
        for (var at = 0; at < content.Length; at += EncryptedBackupFile.LargestRecord)
        {
            writer.Write(
                (ulong)at, content.AsSpan(at, Math.Min(EncryptedBackupFile.LargestRecord, content.Length - at)));
        }

        writer.Write((ulong)content.Length, [], last: true);
        CryptographicOperations.ZeroMemory(content);
    }

    /// <summary>The key folder as a tar. The tar is made in memory, because it is small and must not be on a disk in
    /// clear. A TLS certificate and key that are kept elsewhere replace those of the folder.</summary>
    private static async Task<byte[]> KeyFolderAsync(GatewayFiles files, CancellationToken cancellationToken)
    {
        using var memory = new MemoryStream();
        await using (var tar = new TarWriter(memory, TarEntryFormat.Pax, leaveOpen: true))
        {
            var tls = new Dictionary<string, string?>(StringComparer.Ordinal)
            {
                ["tls.pem"] = files.TlsCertificate,
                ["tls.key"] = files.TlsKey,
            };
            foreach (
                var file in Directory
                    .EnumerateFiles(files.KeyFolder, "*", SearchOption.AllDirectories)
                    .Order(StringComparer.Ordinal))
            {
                var name = Path.GetRelativePath(files.KeyFolder, file);
                if (tls.GetValueOrDefault(name) is null)
                {
                    await tar.WriteEntryAsync(file, name, cancellationToken);
                }
            }

            foreach (var (name, file) in tls.Where(t => t.Value is not null))
            {
                await tar.WriteEntryAsync(file!, name, cancellationToken);
            }
        }

        var content = memory.ToArray();
        CryptographicOperations.ZeroMemory(memory.GetBuffer());
        return content;
    }

    private static async Task<(
        string Postgres, long SegmentSize, IReadOnlyList<string> Schema,
        Checkpoint? Ledger)> ContentsAsync(NpgsqlConnection maintenance, CancellationToken cancellationToken)
    {
        var (version, segment) = await maintenance.FindAsync<(string, long)>(
            "SELECT current_setting('server_version_num'), pg_size_bytes(current_setting('wal_segment_size'))",
            null, cancellationToken);
        // The maintenance connection may be to another database of the cluster. Schema and ledger are read only if the
        // connection is to the gateway's own.
        if (
            !await maintenance.ScalarAsync<bool>(
                "SELECT to_regclass('gateway.schema_version') IS NOT NULL", null, cancellationToken))
        {
            return (version, segment, [], null);
        }

        var schema = await maintenance.ListAsync<string>(
            "SELECT name FROM gateway.schema_version ORDER BY name", null, cancellationToken);
        var note = await maintenance.ScalarAsync<byte[]?>(
            "SELECT note FROM ledger.checkpoint ORDER BY size DESC LIMIT 1", null, cancellationToken);
        return (version, segment, [.. schema], note is null ? null : Checkpoint.Parse(note));
    }

    [GeneratedRegex(@"start point: ([0-9A-F]{1,8}/[0-9A-F]{1,8})")]
    private static partial Regex StartPoint();

    [GeneratedRegex(@"end point: ([0-9A-F]{1,8}/[0-9A-F]{1,8})")]
    private static partial Regex EndPoint();
}

/// <summary>The content of a base. The manifest is encrypted as the other files are, and signed through its
/// header.</summary>
public sealed record BackupManifest
{
    public int V { get; init; } = 1;

    public required string Gateway { get; init; }

    public required DateTimeOffset Made { get; init; }

    public required string System { get; init; }

    public required long Timeline { get; init; }

    public required long WalStart { get; init; }

    public required long WalEnd { get; init; }

    public required long SegmentSize { get; init; }

    /// <summary>server_version_num.</summary>
    public required string Postgres { get; init; }

    public required IReadOnlyList<string> Schema { get; init; }

    /// <summary>The size of the ledger when the base was begun. A restored ledger has at least this size.</summary>
    public required long LedgerSize { get; init; }

    public required byte[]? LedgerRoot { get; init; }

    /// <summary>SHA-256 of each file, lower-case hexadecimal.</summary>
    public required IReadOnlyDictionary<string, string> Pieces { get; init; }
}

/// <summary>A complete base backup.</summary>
/// <param name="Octets">The length of its files in bytes.</param>
public sealed record BackupMade(string Folder, long Octets, long LedgerSize, TimeSpan Took);
