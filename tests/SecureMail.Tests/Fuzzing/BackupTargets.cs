using System.Text.Json;
using SecureMail.Backup;
using SecureMail.Cms;
using SecureMail.Ledger;
using SecureMail.TestKit.Mutators;

namespace SecureMail.Tests.Fuzzing;

/// <summary>Files of a backup, which lie where others can change them.</summary>
internal static class BackupTargets
{
    /// <summary>Every record is one that was written, and they come in their order.</summary>
    public static FuzzTarget File { get; } =
        new("backup-file", "an encrypted file of a backup: its signed header and its records", _ => ReaderOfFiles())
        {
            Refusals = [typeof(BackupException)],
            Mutators = [OctetMutator.Mutate],
            Mutants = 800,
        };

    /// <summary>What is read is written and read again to the same.</summary>
    public static FuzzTarget Manifest { get; } =
        new(
            "backup-manifest", "the manifest of a base backup",
            _ => input =>
            {
                var read = WireJson.Read<BackupManifest>(input, 1 << 20, "backup manifest");
                var written = JsonSerializer.SerializeToUtf8Bytes(read, WireJson.Options);
                JsonSerializer.SerializeToUtf8Bytes(
                        WireJson.Read<BackupManifest>(written, 1 << 20, "backup manifest"), WireJson.Options)
                    .ShouldBe(written);
                return $"{Math.Min(read.Pieces.Count, 4)} pieces, root {read.LedgerRoot is not null}";
            })
        {
            Refusals = [typeof(WireFormatException)],
            Mutators = [JsonMutator.Mutate, JsonMutator.Mutate, OctetMutator.Mutate],
        };

    private static FuzzRead ReaderOfFiles()
    {
        RecipientKey[] keys = [CmsTargets.KeyOf("cms", "recipient")];
        var written = File.CorpusFiles
            .Where(f => System.IO.Path.GetFileName(f).StartsWith("whole", StringComparison.Ordinal))
            .Select(f => RecordsOf(System.IO.File.ReadAllBytes(f), keys).Records)
            .ToList();
        return input =>
        {
            var (records, ended, torn) = RecordsOf(input, keys);
            written.ShouldContain(
                w => records.SequenceEqual(w.Take(records.Count)), "records that were not written so");
            return $"{records.Count} records, ended {ended}, torn {torn}";
        };
    }

    private static (List<string> Records, bool Ended, bool Torn) RecordsOf(byte[] input, RecipientKey[] keys)
    {
        using var reader = Completed.Result(
            EncryptedBackupReader.OpenAsync("x", new MemoryStream(input), keys, CancellationToken.None));
        List<string> records = [];
        while (Completed.Result(reader.ReadAsync(CancellationToken.None).AsTask()) is var (position, bytes))
        {
            records.Add($"{position} {Convert.ToHexString(bytes.Span)}");
        }

        return (records, reader.Ended, reader.Torn);
    }
}
