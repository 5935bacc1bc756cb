using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Backup;
using SecureMail.Cms;

namespace SecureMail.Tests.Backup;

/// <summary>The file format of bases and journals: what is torn is told from what was changed, and nothing that was
/// changed comes out.</summary>
public sealed class EncryptedBackupFileTests : IDisposable
{
    private static readonly WalPlace Place = new("7000000000000000001", 1, 0x2000028);
    private static readonly TestIdentity Recovery = TestPki.SelfSigned("CN=recovery", TestKey.Rsa2048);
    private static readonly TestIdentity Gateway = TestPki.SelfSigned("CN=gateway-a.test");

    private readonly string _folder = Directory.CreateTempSubdirectory("smsealed").FullName;

    [Fact]
    public async Task Records_come_back_as_they_were_written()
    {
        var file = await WriteAsync(ended: true, "một"u8.ToArray(), new byte[EncryptedBackupFile.LargestRecord], []);
        var (records, reader) = await ReadAsync(file);
        records.Select(r => r.Length).ShouldBe([5, EncryptedBackupFile.LargestRecord, 0]);
        records[0].ShouldBe("một"u8.ToArray());
        (reader.Ended, reader.Torn, reader.Header.Kind, reader.Header.Gateway, reader.Header.Position).ShouldBe(
            (true, false, "journal", "gateway-a.test", 0x2000028));
        reader.Signer.RawData.ShouldBe(Gateway.Certificate.RawData);
        file.AsSpan().IndexOf("một"u8).ShouldBe(-1);
    }

    [Fact]
    public async Task A_file_that_breaks_off_within_a_record_is_torn_wherever_it_breaks_off()
    {
        var whole = await WriteAsync(ended: false, [1, 2, 3], [4, 5, 6]);
        var one = await WriteAsync(ended: false, [1, 2, 3]);
        var second = whole.Length - (EncryptedBackupFile.RecordHeader + 3 + EncryptedBackupFile.Tag);
        for (var length = second + 1; length < whole.Length; length++)
        {
            var (records, reader) = await ReadAsync(whole[..length]);
            records.ShouldHaveSingleItem().ShouldBe([1, 2, 3]);
            reader.Torn.ShouldBeTrue();
        }

        (await ReadAsync(whole[..second])).Reader.Torn.ShouldBeFalse();
        // What a file system leaves of octets that were never flushed.
        (await ReadAsync([.. one, .. new byte[300]])).Reader.Torn.ShouldBeTrue();
        await RefusedAsync([.. one, .. new byte[300], 1]);
    }

    [Fact]
    public async Task Content_that_must_have_an_end_is_not_taken_without_it()
    {
        var whole = await WriteAsync(ended: true, [1, 2, 3], [4, 5, 6]);
        var cut = whole[..^(EncryptedBackupFile.RecordHeader + 3 + EncryptedBackupFile.Tag)];
        foreach (var damaged in new[] { cut, whole[..^1], [.. whole, 0] })
        {
            using var reader = await EncryptedBackupReader.OpenAsync(
                "x", new MemoryStream(damaged), [Key], CancellationToken.None);
            await Should.ThrowAsync<BackupException>(() => reader.OpenContent().CopyToAsync(Stream.Null));
        }
    }

    [Fact]
    public async Task Records_exchanged_repeated_or_moved_from_another_file_are_refused()
    {
        var whole = await WriteAsync(ended: false, [1, 2, 3], [4, 5, 6]);
        var other = await WriteAsync(ended: false, [1, 2, 3], [4, 5, 6]);
        var size = EncryptedBackupFile.RecordHeader + 3 + EncryptedBackupFile.Tag;
        var (front, first, second) = (whole[..^(2 * size)], whole[^(2 * size)..^size], whole[^size..]);
        await RefusedAsync([.. front, .. second, .. first]);
        await RefusedAsync([.. front, .. first, .. first]);
        await RefusedAsync([.. front, .. second]);
        await RefusedAsync([.. front, .. other[^(2 * size)..]]);
        // The place in the log and the mark of the last record are authentic as well.
        foreach (var at in new[] { 4, 5, 12 })
        {
            var changed = whole.ToArray();
            changed[^(size - at)] ^= 1;
            await RefusedAsync(changed);
        }
    }

    [Fact]
    public async Task Another_key_opens_nothing()
    {
        var whole = await WriteAsync(ended: true, [1, 2, 3]);
        var stranger = TestPki.SelfSigned("CN=stranger", TestKey.Rsa2048);
        (
            await Should.ThrowAsync<BackupException>(() =>
                EncryptedBackupReader.OpenAsync(
                    "x", new MemoryStream(whole), [new RecipientKey(stranger.Certificate, stranger.Rsa)],
                    CancellationToken.None))
        ).Fault.ShouldBe(BackupFault.WrongRecoveryKey);
        // Nor does the right certificate with a wrong key, which CMS does not tell from a wrong padding.
        using var wrong = RSA.Create(2048);
        await Should.ThrowAsync<BackupException>(() =>
            EncryptedBackupReader.OpenAsync(
                "x", new MemoryStream(whole), [new RecipientKey(Recovery.Certificate, wrong)], CancellationToken.None));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static RecipientKey Key => new(Recovery.Certificate, Recovery.Rsa);

    private static async Task RefusedAsync(byte[] file) =>
        await Should.ThrowAsync<BackupException>(() => ReadAsync(file));

    private static async Task<(List<byte[]> Records, EncryptedBackupReader Reader)> ReadAsync(byte[] file)
    {
        using var reader = await EncryptedBackupReader.OpenAsync(
            "x", new MemoryStream(file), [Key], CancellationToken.None);
        List<byte[]> records = [];
        while (await reader.ReadAsync(CancellationToken.None) is var (_, octets))
        {
            records.Add(octets.ToArray());
        }

        return (records, reader);
    }

    private async Task<byte[]> WriteAsync(bool ended, params byte[][] records)
    {
        var path = Path.Combine(_folder, Guid.NewGuid().ToString("N"));
        var signer = Gateway.Certificate.HasPrivateKey
            ? Gateway.Certificate
            : Gateway.Certificate.CopyWithPrivateKey((ECDsa)Gateway.Key);
        using (
            var writer = await EncryptedBackupWriter.CreateAsync(
                path, new BackupKeys(Recovery.Certificate, signer, "gateway-a.test", TimeProvider.System), "journal",
                Place, CancellationToken.None))
        {
            ulong position = 0;
            for (var i = 0; i < records.Length; i++)
            {
                writer.Write(position, records[i], last: ended && i == records.Length - 1);
                position += (ulong)records[i].Length;
            }

            writer.FlushToDisk();
            var octets = await File.ReadAllBytesAsync(path);
            writer.Digest().ShouldBe(SHA256.HashData(octets));
            return octets;
        }
    }
}
