using System.Security.Cryptography;
using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Trust;
using static SecureMail.Tests.Smime.SmimeBench;
using Mailbox = SecureMail.Mail.Mime.Mailbox;

namespace SecureMail.Tests.Smime;

public sealed class EnvelopedMessageTests
{
    private const int Destinations = 64;
    private const int Recipients = 3300;

    [Fact]
    public async Task One_dispatch_to_a_whole_province_is_signed_and_encrypted_once()
    {
        var message = Message with
        {
            To = [.. Enumerable.Range(0, Recipients).Select(i => new Mailbox($"Ủy ban xã số {i}", $"xa{i}@tinh.vn"))],
        };
        var (inner, prepared, signature) = await SignAsync(encrypted: true, message: message);
        var readings = new CountingStream(inner.ToArray());
        var ciphertext = new MemoryStream();
        using var once = await SmimeComposer.EnvelopAsync(
            message, readings, prepared, signature, ContentCipher.Aes256Gcm, ciphertext);
        readings.OctetsRead.ShouldBe(inner.Length);
        // Ciphertext of the signed message, and not one octet for any recipient.
        ciphertext.Length.ShouldBeInRange(inner.Length, inner.Length + 16_384);
        var body = new MemoryStream();
        await once.WriteBodyAsync(ciphertext, body);

        // Certificates of their own; a handful of keys behind them, for making thousands is slow.
        var identities = Enumerable
            .Range(0, Recipients)
            .Select(i => Pki.Issue($"CN=Xã {i},C=VN", slot: i % 4))
            .ToArray();
        var groups = identities
            .Select((identity, i) => (identity, i))
            .GroupBy(x => x.i % Destinations, x => x.identity)
            .Select(g => g.ToArray())
            .ToArray();
        for (var destination = 0; destination < Destinations; destination++)
        {
            var output = new MemoryStream();
            var ours = groups[destination];
            await once.WritePrefixAsync([.. ours.Select(r => EnvelopeRecipient.Of(r.Certificate))], output);
            output.Length.ShouldBeLessThan(ours.Length * 600 + 2000);
            byte[] octets = [.. output.ToArray(), .. body.ToArray()];
            foreach (var reader in new[] { ours[0], ours[^1] })
            {
                using var validation = await ValidateAsync(octets, keys: [Key(reader)]);
                validation.Verdict.ShouldBe(Verdict.Valid);
                validation.EnvelopeIsProven.ShouldBeTrue();
                validation.Headers!.To.Count.ShouldBe(Recipients);
                validation.SignedBytesDigest.ShouldBe(SHA256.HashData(inner.ToArray()));
            }

            using var strange = await ValidateAsync(octets, keys: [Key(groups[(destination + 1) % Destinations][0])]);
            strange.State.ShouldBe(FileState.Locked);
            strange.Parts.ShouldBeEmpty();
            (await CmsOf(octets)).AsSpan().IndexOf(ciphertext.ToArray()).ShouldBeGreaterThan(0);
        }
    }

    [Fact]
    public async Task A_ciphertext_that_was_cut_off_is_not_sent()
    {
        var (inner, prepared, signature) = await SignAsync(encrypted: true);
        var ciphertext = new MemoryStream();
        using var once = await SmimeComposer.EnvelopAsync(
            Message, inner, prepared, signature, ContentCipher.Aes256Cbc, ciphertext);
        var recipients = new[] { new EnvelopeRecipient(Recipient.Certificate) };
        var output = new MemoryStream();
        await once.WritePrefixAsync(recipients, output);
        await once.WriteBodyAsync(ciphertext, output);
        (await VerdictAsync(output.ToArray())).ShouldBe(Verdict.Valid);
        await Should.ThrowAsync<IOException>(() =>
            once.WriteBodyAsync(new MemoryStream(ciphertext.ToArray()[..^16]), new MemoryStream()));
    }

    private static RecipientKey Key(TestIdentity identity) => new(identity.Certificate, identity.Key);

    private static async Task<byte[]> CmsOf(byte[] octets)
    {
        await using var decoded = MailMessage.Parse(octets).Root.OpenDecoded();
        var cms = new MemoryStream();
        await decoded.CopyToAsync(cms);
        return cms.ToArray();
    }

    /// <summary>Seekable octets that say how many were taken of them.</summary>
    private sealed class CountingStream(byte[] data) : Stream
    {
        public long OctetsRead { get; private set; }

        public override bool CanRead => true;
        public override bool CanSeek => true;
        public override bool CanWrite => false;
        public override long Length => data.Length;
        public override long Position { get; set; }

        public override int Read(Span<byte> buffer)
        {
            var count = (int)Math.Min(buffer.Length, data.Length - Position);
            data.AsSpan((int)Position, count).CopyTo(buffer);
            Position += count;
            OctetsRead += count;
            return count;
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override long Seek(long offset, SeekOrigin origin) =>
            Position =
                offset
                + (
                    origin == SeekOrigin.Begin ? 0
                    : origin == SeekOrigin.Current ? Position
                    : Length);

        public override void Flush() { }

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
