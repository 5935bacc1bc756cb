using System.Diagnostics;
using System.Formats.Asn1;
using System.Security.Cryptography;
using FsCheck;
using FsCheck.Fluent;
using SecureMail.Cms;
using SecureMail.Libcrypto;

namespace SecureMail.Tests.Cms;

public sealed class RecipientTests
{
    private static readonly byte[] Content = "nội dung mật\r\n"u8.ToArray();

    public static TheoryData<CipherChoice> Ciphers =>
        new(Enum.GetValues<ContentCipher>().SelectMany(c => new CipherChoice[] { c, new(c, BindsAlgorithm: true) }));

    [Theory]
    [MemberData(nameof(Ciphers))]
    public async Task Every_kind_of_recipient_decrypts_one_message_in_every_cipher(CipherChoice cipher)
    {
        foreach (var byKeyIdentifier in new[] { false, true })
        {
            var cms = await Readers.EncryptAsync(
                Content, cipher,
                [.. Readers.All.Select(r => new EnvelopeRecipient(r.Certificate, byKeyIdentifier: byKeyIdentifier))]);
            foreach (RecipientKey reader in Readers.All)
            {
                using DecryptedContent opened = await CmsDecryptor.DecryptAsync(new MemoryStream(cms), [reader]);
                opened.Authenticated.ShouldBe(cipher.IsAuthenticated);
                (await CmsSignedDataTests.BytesAsync(opened.OpenContent())).ShouldBe(Content);
            }
            (await Readers.FailureAsync(cms, Readers.NewX25519())).ShouldBe(CmsError.NotForUs);
        }
    }

    [Theory]
    [InlineData(KeyTransport.Pkcs1)]
    [InlineData(KeyTransport.OaepSha1)]
    [InlineData(KeyTransport.OaepSha256)]
    public async Task Every_transport_of_an_RSA_key_opens(KeyTransport transport) =>
        (
            await Readers.OpenAsync(
                await Readers.EncryptAsync(
                    Content, ContentCipher.Aes256Gcm, new EnvelopeRecipient(Readers.Rsa.Certificate, transport)),
                Readers.Rsa)
        ).ShouldBe(Content);

    [Theory]
    [InlineData(false, false, false, 0)]
    [InlineData(true, false, false, 2)]
    [InlineData(false, true, false, 2)]
    [InlineData(true, true, true, 0)]
    public async Task The_version_follows_from_the_recipients(
        bool byKeyIdentifier, bool agreement, bool authenticated, int version)
    {
        var cms = await Readers.EncryptAsync(
            Content,
            authenticated ? ContentCipher.Aes256Gcm : ContentCipher.Aes256Cbc,
            new EnvelopeRecipient(
                (agreement ? Readers.P256 : Readers.Rsa).Certificate, byKeyIdentifier: byKeyIdentifier));
        AsnReader contentInfo = new AsnReader(cms, AsnEncodingRules.DER).ReadSequence();
        contentInfo.ReadObjectIdentifier();
        contentInfo
            .ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 0))
            .ReadSequence()
            .ReadInteger()
            .ShouldBe(version);
    }

    [Fact]
    public async Task An_ephemeral_key_is_never_used_twice()
    {
        foreach (RecipientKey reader in new[] { Readers.P256, Readers.X25519 })
        {
            var recipient = new EnvelopeRecipient(reader.Certificate);
            var first = await Readers.EncryptAsync(Content, ContentCipher.Aes256Gcm, recipient, recipient);
            var second = await Readers.EncryptAsync(Content, ContentCipher.Aes256Gcm, recipient);
            byte[][] points = [.. OriginatorKeys(first), .. OriginatorKeys(second)];
            points.Length.ShouldBe(3);
            points.Select(Convert.ToHexString).Distinct().Count().ShouldBe(3);
        }
    }

    [Fact]
    public async Task A_public_key_off_its_curve_or_of_low_order_is_refused_on_both_sides()
    {
        // u = 0 and u = 1 have low order: every secret with them is zero (RFC 7748 §6.1).
        foreach (var low in new[] { new byte[32], [1, .. new byte[31]] })
        {
            RecipientKey hostile = Readers.NewX25519(low);
            (
                await Should.ThrowAsync<CmsException>(() =>
                    Readers.EncryptAsync(Content, ContentCipher.Aes256Gcm, new EnvelopeRecipient(hostile.Certificate)))
            ).Error.ShouldBe(CmsError.CertificateNotUsable);
            (await Readers.FailureAsync(await WithOriginatorKeyAsync(Readers.X25519, low), Readers.X25519)).ShouldBe(
                CmsError.DecryptionFailed);
        }
        foreach (RecipientKey reader in new[] { Readers.P256, Readers.P384 })
        {
            var point = new byte[reader == Readers.P256 ? 65 : 97];
            point[0] = 0x04;
            point[^1] = 0x07;
            (await Readers.FailureAsync(await WithOriginatorKeyAsync(reader, point), reader)).ShouldBe(
                CmsError.DecryptionFailed);
        }
    }

    [Fact]
    public async Task A_wrong_agreed_key_fails_like_a_changed_message()
    {
        var cms = await Readers.EncryptAsync(
            Content, ContentCipher.Aes256Gcm, new EnvelopeRecipient(Readers.X25519.Certificate));
        (await Readers.FailureAsync(cms, new RecipientKey(Readers.X25519.Certificate, X25519Key.Generate()))).ShouldBe(
            CmsError.DecryptionFailed);
    }

    [Fact]
    public async Task A_failed_key_transport_with_CBC_decrypts_to_random_bytes()
    {
        using var wrong = RSA.Create(2048);
        var cms = await Readers.EncryptAsync(
            new byte[4096], ContentCipher.Aes256Cbc, new EnvelopeRecipient(Readers.Rsa.Certificate));
        // Nearly all of these have wrong padding, and none may report it.
        for (var i = 0; i < 50; i++)
        {
            using DecryptedContent opened = await CmsDecryptor.DecryptAsync(
                new MemoryStream(cms), [new RecipientKey(Readers.Rsa.Certificate, wrong)]);
            opened.Authenticated.ShouldBeFalse();
        }
    }

    [Fact]
    public async Task A_changed_algorithm_changes_a_bound_key()
    {
        var cms = await Readers.EncryptAsync(
            Content, new CipherChoice(ContentCipher.Aes256Gcm, BindsAlgorithm: true),
            new EnvelopeRecipient(Readers.Rsa.Certificate));
        // aes256-GCM's identifier, with nonce and tag length of the parameters behind it.
        var at = cms.AsSpan().IndexOf(new byte[] { 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2E });
        byte[] changed = [.. cms];
        changed[at + 13] ^= 1;
        (await Readers.FailureAsync(changed, Readers.Rsa)).ShouldBe(CmsError.DecryptionFailed);
    }

    /// <summary>RFC 9709 appendix A.1.</summary>
    [Fact]
    public void A_bound_key_is_that_of_the_standard() =>
        Convert
            .ToHexStringLower(
                ContentAlgorithm.DeriveKey(
                    Convert.FromHexString("c702e7d0a9e064b09ba55245fb733cf3"),
                    Convert.FromHexString("301b0609608648016503040106300e040c5c79058ba2f43447639d29e2")))
            .ShouldBe("2124ffb29fac4e0fbbc7d5d87492bff3");

    [Fact]
    public void Content_of_any_length_decrypts_for_any_recipient()
    {
        var sizes = Gen.OneOf(Gen.Choose(0, 70), Gen.Choose(65_500, 65_600), Gen.Choose(131_000, 131_200));
        var readers = Gen.Elements(Readers.All);
        var ciphers = Gen.Elements(Enum.GetValues<ContentCipher>());
        var all = Gen.Zip(Gen.Zip(sizes, readers), ciphers);
        Check.QuickThrowOnFailure(Prop.ForAll(all.ToArbitrary(), one =>
            {
                ((var size, RecipientKey reader), ContentCipher cipher) = one;
                var content = RandomNumberGenerator.GetBytes(size);
                var cms = Readers
                    .EncryptAsync(content, cipher, new EnvelopeRecipient(reader.Certificate))
                    .GetAwaiter()
                    .GetResult();
                return Readers.OpenAsync(cms, reader).GetAwaiter().GetResult().AsSpan().SequenceEqual(content);
            }));
    }

    [Fact]
    public async Task A_KEM_recipient_is_recognised_and_an_unknown_kind_is_skipped()
    {
        var kem = new AsnWriter(AsnEncodingRules.DER);
        var rid = new AsnWriter(AsnEncodingRules.DER);
        CertificateIdentifier.Write(rid, Readers.Rsa.Certificate);
        using (kem.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 4)))
        {
            kem.WriteObjectIdentifier("1.2.840.113549.1.9.16.13.3");
            using (kem.PushSequence())
            {
                kem.WriteInteger(0);
                kem.WriteEncodedValue(rid.Encode());
                kem.WriteNull();
            }
        }
        (await Readers.FailureAsync(WithRecipients(kem.Encode()), Readers.Rsa)).ShouldBe(CmsError.UnsupportedAlgorithm);
        (await Readers.FailureAsync(WithRecipients(kem.Encode()), Readers.P256)).ShouldBe(CmsError.NotForUs);
        (await Readers.FailureAsync(WithRecipients([0xA9, 0x02, 0x05, 0x00]), Readers.Rsa)).ShouldBe(CmsError.NotForUs);
    }

    public static TheoryData<string> Malformed =>
        [
            "negative length",
            "beyond the end",
            "million recipients",
            "million keys of one agreement",
            "nesting",
            "endless length",
            "no recipients",
        ];

    [Theory]
    [MemberData(nameof(Malformed))]
    public void A_malformed_message_is_a_clear_error_in_bounded_time_and_memory(string kind)
    {
        var cms = kind switch
        {
            // Eight length octets with the highest bit set: negative as a signed number.
            "negative length" => [0x30, 0x88, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            "beyond the end" =>
            [
                0x30,
                0x84,
                0x7F,
                0xFF,
                0xFF,
                0xFF,
                0x06,
                0x09,
                0x2A,
                0x86,
                0x48,
                0x86,
                0xF7,
                0x0D,
                0x01,
                0x07,
                0x03,
                0xA0,
                0x84,
                0x7F,
                0xFF,
                0xFF,
                0xF0,
                0x30,
                0x84,
                0x7F,
            ],
            "million recipients" => WithRecipients([
                .. Enumerable.Repeat<byte[]>([0xA3, 0x02, 0x05, 0x00], 1_000_000).SelectMany(b => b),
            ]),
            "million keys of one agreement" => WithRecipients(AgreementWith(1_000_000)),
            "nesting" => [.. Enumerable.Repeat<byte[]>([0x30, 0x80], 1000).SelectMany(b => b)],
            "endless length" =>
            [
                0x30,
                0x80,
                0x06,
                0x09,
                0x2A,
                0x86,
                0x48,
                0x86,
                0xF7,
                0x0D,
                0x01,
                0x07,
                0x03,
                0xA0,
                0x80,
                0x30,
                0x80,
                0x02,
                0x01,
                0x00,
                .. Enumerable.Repeat<byte[]>([0x31, 0x80], 1000).SelectMany(b => b),
            ],
            _ => WithRecipients([]),
        };
        CmsError expected = kind switch
        {
            "million recipients" or "million keys of one agreement" or "endless length" or "nesting" =>
                CmsError.LimitExceeded,
            "no recipients" => CmsError.NotForUs,
            _ => CmsError.Malformed,
        };
        RecipientKey[] keys = Readers.All;
        // Everything runs on this thread, so that allocations of other tests do not count.
        var before = GC.GetAllocatedBytesForCurrentThread();
        using var limit = new TimeLimit(kind);
        Should
            .Throw<CmsException>(() => CmsDecryptor.DecryptAsync(new MemoryStream(cms), keys).GetAwaiter().GetResult())
            .Error.ShouldBe(expected);
        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBeLessThan((8L * cms.Length) + (4 << 20));
    }

    /// <summary>[1] KeyAgreeRecipientInfo with this number of RecipientEncryptedKeys of other recipients.</summary>
    private static byte[] AgreementWith(int count)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        var context0 = new Asn1Tag(TagClass.ContextSpecific, 0);
        var context1 = new Asn1Tag(TagClass.ContextSpecific, 1);
        using (writer.PushSequence(context1))
        {
            writer.WriteInteger(3);
            using (writer.PushSequence(context0))
            using (writer.PushSequence(context1))
            {
                writer.WriteNull();
            }

            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier("1.3.132.1.11.1");
            }

            using (writer.PushSequence())
            {
                for (var i = 0; i < count; i++)
                {
                    using (writer.PushSequence())
                    using (writer.PushSequence(context0))
                    {
                        writer.WriteOctetString([1]);
                    }
                }
            }
        }
        return writer.Encode();
    }

    /// <summary>EnvelopedData with these RecipientInfos and one block of content.</summary>
    private static byte[] WithRecipients(byte[] infos)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        var context0 = new Asn1Tag(TagClass.ContextSpecific, 0);
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier("1.2.840.113549.1.7.3");
            using (writer.PushSequence(context0))
            using (writer.PushSequence())
            {
                writer.WriteInteger(0);
                writer.WriteEncodedValue([.. SecureMail.Cms.Asn1.Der.Header(0x31, infos.Length), .. infos]);
                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier("1.2.840.113549.1.7.1");
                    using (writer.PushSequence())
                    {
                        writer.WriteObjectIdentifier("2.16.840.1.101.3.4.1.42");
                        writer.WriteOctetString(new byte[16]);
                    }
                    writer.WriteOctetString(new byte[16], context0);
                }
            }
        }
        return writer.Encode();
    }

    /// <summary>A message to the recipient in which the public key of the sender was replaced.</summary>
    private static async Task<byte[]> WithOriginatorKeyAsync(RecipientKey reader, byte[] point)
    {
        var cms = await Readers.EncryptAsync(
            Content, ContentCipher.Aes256Gcm, new EnvelopeRecipient(reader.Certificate));
        var own = OriginatorKeys(cms).Single();
        own.Length.ShouldBe(point.Length);
        point.CopyTo(cms, cms.AsSpan().IndexOf(own));
        return cms;
    }

    private static IEnumerable<byte[]> OriginatorKeys(byte[] cms)
    {
        var context0 = new Asn1Tag(TagClass.ContextSpecific, 0);
        var context1 = new Asn1Tag(TagClass.ContextSpecific, 1);
        AsnReader contentInfo = new AsnReader(cms, AsnEncodingRules.DER).ReadSequence();
        contentInfo.ReadObjectIdentifier();
        AsnReader enveloped = contentInfo.ReadSequence(context0).ReadSequence();
        enveloped.ReadInteger();
        AsnReader infos = enveloped.ReadSetOf();
        while (infos.HasData)
        {
            AsnReader info = infos.ReadSequence(context1);
            info.ReadInteger();
            AsnReader key = info.ReadSequence(context0).ReadSequence(context1);
            key.ReadSequence();
            yield return key.ReadBitString(out _);
        }
    }
}
