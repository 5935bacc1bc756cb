using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.Pkcs;
using SecureMail.Cms;
using CmsSigner = SecureMail.Cms.CmsSigner;

namespace SecureMail.Tests.Cms;

public sealed class CmsEnvelopeTests
{
    private static readonly byte[] Content = "nội dung mật\r\n"u8.ToArray();
    private static readonly TestIdentity Ours = TestPki.Shared.Issue("CN=Xa B");
    private static readonly TestIdentity Other = TestPki.Shared.Issue("CN=Xa C", slot: 1);
    private static readonly RecipientKey OurKey = new(Ours.Certificate, Ours.Rsa);

    public static TheoryData<ContentCipher, int> Cases
    {
        get
        {
            var cases = new TheoryData<ContentCipher, int>();
            foreach (var length in new[] { 0, 1, 15, 16, 17, 65_535, 65_536, 65_537, 1_048_576, 1_600_003 })
            {
                cases.Add(ContentCipher.Aes256Gcm, length);
                cases.Add(ContentCipher.Aes256Cbc, length);
            }
            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Content_of_any_length_decrypts_for_each_recipient(ContentCipher cipher, int length)
    {
        var content = RandomNumberGenerator.GetBytes(length);
        foreach (Stream source in new Stream[] { new MemoryStream(content), new DripStream(content) })
        {
            var cms = await EncryptAsync(source, cipher, Other, Ours);
            CmsFormat
                .Detect(cms)
                .ShouldBe(cipher == ContentCipher.Aes256Gcm ? CmsKind.AuthEnvelopedData : CmsKind.EnvelopedData);
            if (source.CanSeek)
            {
                new AsnReader(cms, AsnEncodingRules.DER).ReadSequence();
            }

            foreach (TestIdentity reader in new[] { Ours, Other })
            {
                using DecryptedContent opened = await CmsDecryptor.DecryptAsync(
                    new MemoryStream(cms), [new RecipientKey(reader.Certificate, reader.Rsa)]);
                opened.Authenticated.ShouldBe(cipher == ContentCipher.Aes256Gcm);
                opened.Algorithm.ShouldBe(cipher == ContentCipher.Aes256Gcm ? "AES-256-GCM" : "AES-256-CBC");
                opened.Length.ShouldBe(length);
                (await CmsSignedDataTests.BytesAsync(opened.OpenContent())).ShouldBe(content);
            }
        }
    }

    [Fact]
    public async Task CBC_interoperates_with_the_platform_in_every_key_size_and_padding()
    {
        var oracle = new EnvelopedCms();
        oracle.Decode(await EncryptAsync(new MemoryStream(Content), ContentCipher.Aes256Cbc, Other, Ours));
        RecipientInfo us = oracle
            .RecipientInfos.Cast<RecipientInfo>()
            .Single(r =>
                ((System.Security.Cryptography.Xml.X509IssuerSerial)r.RecipientIdentifier.Value!).SerialNumber
                == Ours.Certificate.SerialNumber);
        oracle.Decrypt(us, Ours.Rsa);
        oracle.ContentInfo.Content.ShouldBe(Content);

        foreach (var cipher in new[] { "2.16.840.1.101.3.4.1.2", "2.16.840.1.101.3.4.1.22", "2.16.840.1.101.3.4.1.42" })
        {
            foreach (
                RSAEncryptionPadding padding in new[]
                {
                    RSAEncryptionPadding.Pkcs1,
                    RSAEncryptionPadding.OaepSHA1,
                    RSAEncryptionPadding.OaepSHA256,
                })
            {
                foreach (
                    SubjectIdentifierType type in new[]
                    {
                        SubjectIdentifierType.IssuerAndSerialNumber,
                        SubjectIdentifierType.SubjectKeyIdentifier,
                    })
                {
                    var enveloped = new EnvelopedCms(
                        new ContentInfo(Content), new AlgorithmIdentifier(new Oid(cipher)));
                    enveloped.Encrypt(new CmsRecipient(type, Ours.Certificate, padding));
                    using DecryptedContent opened = await CmsDecryptor.DecryptAsync(
                        new MemoryStream(enveloped.Encode()), [OurKey]);
                    (await CmsSignedDataTests.BytesAsync(opened.OpenContent())).ShouldBe(Content);
                }
            }
        }
    }

    [Fact]
    public async Task Mail_for_other_recipients_is_NotForUs()
    {
        var cms = await EncryptAsync(new MemoryStream(Content), ContentCipher.Aes256Gcm, Other);
        (await FailureAsync(cms)).ShouldBe(CmsError.NotForUs);
    }

    [Fact]
    public async Task A_wrong_key_a_wrong_padding_and_a_changed_tag_are_one_error()
    {
        var cms = await EncryptAsync(new MemoryStream(Content), ContentCipher.Aes256Gcm, Ours);
        // The same certificate with another private key: the padding cannot be right.
        CmsException wrongKey = await Should.ThrowAsync<CmsException>(() =>
            CmsDecryptor.DecryptAsync(new MemoryStream(cms), [new RecipientKey(Ours.Certificate, Other.Rsa)]));
        byte[] changed = [.. cms];
        changed[^1] ^= 1;
        CmsException wrongTag = await Should.ThrowAsync<CmsException>(() =>
            CmsDecryptor.DecryptAsync(new MemoryStream(changed), [OurKey]));
        wrongKey.Error.ShouldBe(CmsError.DecryptionFailed);
        wrongTag.Error.ShouldBe(CmsError.DecryptionFailed);
        wrongTag.Message.ShouldBe(wrongKey.Message);
    }

    [Fact]
    public async Task A_change_of_any_byte_of_authenticated_content_is_detected()
    {
        var cms = await EncryptAsync(new MemoryStream(new byte[100]), ContentCipher.Aes256Gcm, Ours);
        // From the content to the end: cipher parameters, content, tag.
        for (var i = cms.Length - 150; i < cms.Length; i++)
        {
            byte[] changed = [.. cms];
            changed[i] ^= 0x40;
            await Should.ThrowAsync<CmsException>(() => CmsDecryptor.DecryptAsync(new MemoryStream(changed), [OurKey]));
        }
    }

    [Fact]
    public async Task A_truncated_message_gives_no_content()
    {
        foreach (ContentCipher cipher in Enum.GetValues<ContentCipher>())
        {
            var cms = await EncryptAsync(new DripStream(new byte[300]), cipher, Ours);
            for (var length = 0; length < cms.Length; length += 5)
            {
                (await FailureAsync(cms[..length])).ShouldBeOneOf(
                    CmsError.NotCms, CmsError.Truncated, CmsError.Malformed, CmsError.DecryptionFailed);
            }
        }
    }

    [Theory]
    [InlineData(16, "good", null)]
    [InlineData(12, "good", null)]
    [InlineData(16, "changed attribute", CmsError.DecryptionFailed)]
    [InlineData(16, "no attribute", CmsError.DecryptionFailed)]
    [InlineData(11, "good", CmsError.Malformed)]
    [InlineData(17, "good", CmsError.Malformed)]
    [InlineData(16, "short tag", CmsError.DecryptionFailed)]
    public async Task Authenticated_attributes_and_the_length_of_the_tag_are_checked(
        int tagSize, string variant, CmsError? expected)
    {
        var cms = HandMadeGcm(tagSize, variant);
        if (expected is { } error)
        {
            (await FailureAsync(cms)).ShouldBe(error);
            return;
        }
        using DecryptedContent opened = await CmsDecryptor.DecryptAsync(new MemoryStream(cms), [OurKey]);
        (await CmsSignedDataTests.BytesAsync(opened.OpenContent())).ShouldBe(Content);
        opened.Authenticated.ShouldBeTrue();
    }

    [Fact]
    public async Task Signed_data_and_text_are_not_encrypted_CMS()
    {
        var signed = await CmsSigner.SignDetachedAsync(
            new MemoryStream(Content), CmsSignedDataTests.Request(Ours), Ours.Rsa);
        (await FailureAsync(signed)).ShouldBe(CmsError.WrongKind);
        (await FailureAsync(Content)).ShouldBe(CmsError.NotCms);
        (await FailureAsync([])).ShouldBe(CmsError.NotCms);
        (await FailureAsync([0x30, 0x03, 0x06, 0x01, 0x2A])).ShouldBe(CmsError.NotCms);
        var encrypted = await EncryptAsync(new MemoryStream(Content), ContentCipher.Aes256Cbc, Ours);
        (await Should.ThrowAsync<CmsException>(() => CmsSignedDataTests.ReadAsync(encrypted))).Error.ShouldBe(
            CmsError.WrongKind);
    }

    [Fact]
    public async Task A_recipient_on_an_unknown_curve_and_an_empty_list_are_refused()
    {
        TestIdentity brainpool = Readers.Issue(ECDsa.Create(ECCurve.NamedCurves.brainpoolP256r1));
        (
            await Should.ThrowAsync<CmsException>(() =>
                EncryptAsync(new MemoryStream(Content), ContentCipher.Aes256Gcm, brainpool))
        ).Error.ShouldBe(CmsError.CertificateNotUsable);
        await Should.ThrowAsync<ArgumentException>(() =>
            EncryptAsync(new MemoryStream(Content), ContentCipher.Aes256Gcm));
    }

    [Fact]
    public async Task Limits_stop_a_decryption()
    {
        foreach (ContentCipher cipher in Enum.GetValues<ContentCipher>())
        {
            var cms = await EncryptAsync(new MemoryStream(new byte[1000]), cipher, Other, Ours);
            foreach (
                CmsLimits limits in new CmsLimits[]
                {
                    new() { MaxContent = 999 },
                    new() { MaxPart = 100 },
                    new() { MaxRecipients = 0 },
                    new() { MaxDepth = 2 },
                })
            {
                (
                    await Should.ThrowAsync<CmsException>(() =>
                        CmsDecryptor.DecryptAsync(new MemoryStream(cms), [OurKey], limits))
                ).Error.ShouldBe(CmsError.LimitExceeded);
            }
        }
    }

    private static async Task<byte[]> EncryptAsync(
        Stream content, ContentCipher cipher, params TestIdentity[] recipients)
    {
        using var output = new MemoryStream();
        await CmsEnveloper.EncryptAsync(content, output, [.. recipients.Select(r => r.Certificate)], cipher);
        return output.ToArray();
    }

    private static async Task<CmsError> FailureAsync(byte[] cms) =>
        (await Should.ThrowAsync<CmsException>(() => CmsDecryptor.DecryptAsync(new MemoryStream(cms), [OurKey]))).Error;

    /// <summary>AuthEnvelopedData with an authenticated attribute, made with the platform's AES-GCM.</summary>
    private static byte[] HandMadeGcm(int tagSize, string variant)
    {
        var key = RandomNumberGenerator.GetBytes(16);
        var nonce = RandomNumberGenerator.GetBytes(12);
        var attributes = new AsnWriter(AsnEncodingRules.DER);
        using (attributes.PushSetOf())
        using (attributes.PushSequence())
        {
            attributes.WriteObjectIdentifier("1.2.840.113549.1.9.3");
            using (attributes.PushSetOf())
            {
                attributes.WriteObjectIdentifier("1.2.840.113549.1.7.1");
            }
        }
        var aad = attributes.Encode();
        var cipher = new byte[Content.Length];
        var tag = new byte[16];
        using (var gcm = new AesGcm(key, 16))
        {
            gcm.Encrypt(nonce, Content, cipher, tag, aad);
        }

        if (variant == "changed attribute")
        {
            aad[^1] ^= 1;
        }

        aad[0] = 0xA1;

        var context0 = new Asn1Tag(TagClass.ContextSpecific, 0);
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier("1.2.840.113549.1.9.16.1.23");
            using (writer.PushSequence(context0))
            using (writer.PushSequence())
            {
                writer.WriteInteger(0);
                writer.WriteEncodedValue(RecipientInfos.Wrap([new EnvelopeRecipient(Ours.Certificate)], key));
                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier("1.2.840.113549.1.7.1");
                    using (writer.PushSequence())
                    {
                        writer.WriteObjectIdentifier("2.16.840.1.101.3.4.1.6");
                        using (writer.PushSequence())
                        {
                            writer.WriteOctetString(nonce);
                            if (tagSize != 12)
                            {
                                writer.WriteInteger(tagSize);
                            }
                        }
                    }
                    writer.WriteOctetString(cipher, context0);
                }
                if (variant != "no attribute")
                {
                    writer.WriteEncodedValue(aad);
                }

                writer.WriteOctetString(tag.AsSpan(0, variant == "short tag" ? 8 : Math.Min(tagSize, 16)));
            }
        }
        return writer.Encode();
    }
}
