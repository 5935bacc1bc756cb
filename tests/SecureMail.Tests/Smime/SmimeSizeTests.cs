using System.Security.Cryptography;
using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Trust;
using static SecureMail.Tests.Smime.SmimeBench;
using CmsSigner = SecureMail.Cms.CmsSigner;

namespace SecureMail.Tests.Smime;

/// <summary>Round trips at every size where some buffer ends: a line of base64, a block of lines, a piece of a spool,
/// the memory a spool has of its own, what all share.</summary>
public class SmimeSizeTests
{
    private static readonly int[] Boundaries =
    [
        1,
        57,
        76,
        57 * 512,
        48 * 1024,
        64 * 1024,
        256 * 1024,
        1 << 20,
        (1 << 20) + (256 * 1024),
    ];

    public static TheoryData<int> Sizes() => [.. Boundaries.SelectMany(b => new[] { b - 1, b, b + 1 }).Distinct()];

    [Theory]
    [MemberData(nameof(Sizes))]
    public async Task A_document_of_any_size_is_sealed_opened_and_validated(int size)
    {
        var document = RandomNumberGenerator.GetBytes(size);
        var message = Message with
        {
            Parts =
            [
                new OutgoingPart(MimeContentType.Of("application/octet-stream"), "a.bin", () =>
                    new MemoryStream(document)),
            ],
        };
        foreach (
            var octets in new[]
            {
                await EncryptedAsync(message: message),
                await EncryptedAsync(ContentCipher.Aes256Cbc, message: message),
                await SignedAsync(message: message),
            })
        {
            using var validation = await ValidateAsync(octets);
            validation.Verdict.ShouldBe(Verdict.Valid);
            Read(validation.Parts.ShouldHaveSingleItem()).AsSpan().SequenceEqual(document).ShouldBeTrue();
        }
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public async Task A_signed_layer_inside_an_envelope_is_read_where_it_lies(int size)
    {
        var content = RandomNumberGenerator.GetBytes(size);
        var request = new SigningRequest(
            Sender.Certificate, [], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1, null);
        // Of known length it is DER, and its content one octet string; dripping it is BER in chunks.
        foreach (Stream source in new Stream[] { new MemoryStream(content), new Cms.DripStream(content) })
        {
            using var signed = new SecretSpool();
            await CmsSigner.SignAttachedAsync(source, signed.OpenWrite(), request, Sender.Key);
            var output = new MemoryStream();
            await CmsEnveloper.EncryptAsync(
                signed.OpenRead(), output, [Recipient.Certificate], ContentCipher.Aes256Gcm);
            output.Position = 0;
            using var opened = await CmsDecryptor.DecryptAsync(output, Keys);
            await using var inner = opened.OpenContent();
            using var data = await CmsSignedData.ReadInPlaceAsync(inner);
            (await data.VerifyAsync(null)).ShouldHaveSingleItem().Intact.ShouldBeTrue();
            data.ContentLength.ShouldBe(size);
            data.ContentDigest(HashAlgorithmName.SHA256).ShouldBe(SHA256.HashData(content));
            (await Cms.CmsSignedDataTests.BytesAsync(data.OpenContent()))
                .AsSpan()
                .SequenceEqual(content)
                .ShouldBeTrue();
            await using var again = data.OpenContent();
            again.Position = size / 2;
            (await Cms.CmsSignedDataTests.BytesAsync(again))
                .AsSpan()
                .SequenceEqual(content.AsSpan(size / 2))
                .ShouldBeTrue();
        }
    }

    [Fact]
    public async Task A_signed_layer_cut_into_very_many_chunks_is_copied_and_still_read()
    {
        var content = RandomNumberGenerator.GetBytes(9000);
        var request = new SigningRequest(
            Sender.Certificate, [], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1, null);
        var der = new MemoryStream();
        await CmsSigner.SignAttachedAsync(new Cms.DripStream(content), der, request, Sender.Key);
        var chunked = Rechunk(der.ToArray(), content);
        using var data = await CmsSignedData.ReadInPlaceAsync(new MemoryStream(chunked));
        (await data.VerifyAsync(null)).ShouldHaveSingleItem().Intact.ShouldBeTrue();
        (await Cms.CmsSignedDataTests.BytesAsync(data.OpenContent())).ShouldBe(content);
    }

    /// <summary>The same BER with its constructed octet string made of one-octet strings.</summary>
    private static byte[] Rechunk(byte[] ber, byte[] content)
    {
        var start = ber.AsSpan().IndexOf((ReadOnlySpan<byte>)[0x24, 0x80]) + 2;
        var at = start;
        while (ber[at] == 0x04)
        {
            var octets = ber[at + 1] < 0x80 ? 0 : ber[at + 1] & 0x7F;
            var length =
                octets == 0
                    ? ber[at + 1]
                    : ber.AsSpan(at + 2, octets).ToArray().Aggregate(0, (sum, b) => (sum << 8) | b);
            at += 2 + octets + length;
        }

        return [.. ber[..start], .. content.SelectMany(b => new byte[] { 0x04, 1, b }), .. ber[at..]];
    }
}
