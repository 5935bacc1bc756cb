using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.Pkcs;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using CmsSigner = SecureMail.Cms.CmsSigner;

namespace SecureMail.Tests.Cms;

public sealed class CmsSignedDataTests
{
    private static readonly byte[] Content = "Kính gửi: Văn phòng Đảng ủy\r\n"u8.ToArray();
    private static readonly DateTimeOffset Signed = new(2026, 5, 20, 8, 30, 0, TimeSpan.Zero);

    public static TheoryData<TestKey, SignatureScheme, string> Algorithms =>
        new()
        {
            { TestKey.Rsa2048, SignatureScheme.RsaPkcs1, "SHA256" },
            { TestKey.Rsa2048, SignatureScheme.RsaPkcs1, "SHA384" },
            { TestKey.Rsa3072, SignatureScheme.RsaPkcs1, "SHA512" },
            { TestKey.Rsa2048, SignatureScheme.RsaPss, "SHA256" },
            { TestKey.Rsa2048, SignatureScheme.RsaPss, "SHA384" },
            { TestKey.Rsa2048, SignatureScheme.RsaPss, "SHA512" },
            { TestKey.P256, SignatureScheme.Ecdsa, "SHA256" },
            { TestKey.P384, SignatureScheme.Ecdsa, "SHA384" },
            { TestKey.P384, SignatureScheme.Ecdsa, "SHA512" },
        };

    [Theory]
    [MemberData(nameof(Algorithms))]
    public async Task A_detached_signature_verifies_here_and_on_the_platform(
        TestKey key, SignatureScheme scheme, string digest)
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu", ["vanthu@a.vn"], key);
        var cms = await CmsSigner.SignDetachedAsync(
            new MemoryStream(Content), Request(signer, scheme, digest), signer.Key);

        CmsFormat.Detect(cms).ShouldBe(CmsKind.SignedData);
        using CmsSignedData data = await ReadAsync(cms);
        data.HasContent.ShouldBeFalse();
        data.Certificates.Count.ShouldBe(2);
        SignerVerification result = (await data.VerifyAsync(new MemoryStream(Content))).ShouldHaveSingleItem();
        result.Intact.ShouldBeTrue(string.Join(' ', result.Problems));
        result.Certificate.ShouldBe(signer.Certificate);
        result.Signer.SigningTime.ShouldBe(Signed);
        result.Signer.DigestAlgorithm.ShouldBe(new HashAlgorithmName(digest));

        var oracle = new SignedCms(new ContentInfo(Content), detached: true);
        oracle.Decode(cms);
        oracle.CheckSignature(verifySignatureOnly: true);
    }

    [Theory]
    [MemberData(nameof(Algorithms))]
    public async Task An_attached_signature_carries_its_content_with_known_and_with_unknown_length(
        TestKey key, SignatureScheme scheme, string digest)
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu", ["vanthu@a.vn"], key);
        var content = RandomNumberGenerator.GetBytes(200_001);
        foreach (Stream source in new Stream[] { new MemoryStream(content), new DripStream(content) })
        {
            using var output = new MemoryStream();
            await CmsSigner.SignAttachedAsync(source, output, Request(signer, scheme, digest), signer.Key);
            var cms = output.ToArray();
            if (source.CanSeek && scheme != SignatureScheme.Ecdsa)
            {
                new AsnReader(cms, AsnEncodingRules.DER).ReadSequence();
            }

            using CmsSignedData data = await ReadAsync(cms);
            (await BytesAsync(data.OpenContent())).ShouldBe(content);
            (await data.VerifyAsync(null)).ShouldHaveSingleItem().Intact.ShouldBeTrue();

            var oracle = new SignedCms();
            oracle.Decode(cms);
            oracle.CheckSignature(verifySignatureOnly: true);
            oracle.ContentInfo.Content.ShouldBe(content);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(127)]
    [InlineData(128)]
    [InlineData(65_535)]
    [InlineData(65_536)]
    public async Task Every_length_of_content_is_encoded_correctly(int length)
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        using var output = new MemoryStream();
        await CmsSigner.SignAttachedAsync(new MemoryStream(new byte[length]), output, Request(signer), signer.Key);
        using CmsSignedData data = await ReadAsync(output.ToArray());
        data.ContentLength.ShouldBe(length);
        (await data.VerifyAsync(null)).ShouldHaveSingleItem().Intact.ShouldBeTrue();
    }

    [Fact]
    public async Task A_signature_of_the_platform_verifies_by_issuer_and_by_key_identifier()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        using X509Certificate2 withKey = signer.Certificate.CopyWithPrivateKey(signer.Rsa);
        foreach (
            SubjectIdentifierType type in new[]
            {
                SubjectIdentifierType.IssuerAndSerialNumber,
                SubjectIdentifierType.SubjectKeyIdentifier,
            })
        {
            var oracle = new SignedCms(new ContentInfo(Content));
            oracle.ComputeSignature(
                new System.Security.Cryptography.Pkcs.CmsSigner(type, withKey)
                {
                    IncludeOption = X509IncludeOption.EndCertOnly,
                });
            using CmsSignedData data = await ReadAsync(oracle.Encode());
            (await data.VerifyAsync(null)).ShouldHaveSingleItem().Intact.ShouldBeTrue();
        }
    }

    [Fact]
    public async Task A_prepared_signature_can_be_saved_and_completed_by_another_process()
    {
        foreach (
            (TestKey key, SignatureScheme scheme) in new[]
            {
                (TestKey.Rsa2048, SignatureScheme.RsaPkcs1),
                (TestKey.P256, SignatureScheme.Ecdsa),
            })
        {
            TestIdentity signer = TestPki.Shared.Issue("CN=Bi thu", key: key);
            var prepared = PreparedSignature.Prepare(Request(signer, scheme), SHA256.HashData(Content));
            var loaded = PreparedSignature.Load(prepared.Save());
            loaded.Digest.ShouldBe(prepared.Digest);
            loaded.HashAlgorithm.ShouldBe(HashAlgorithmName.SHA256);

            var value = signer.Key is RSA rsa
                ? rsa.SignHash(loaded.Digest, loaded.HashAlgorithm, RSASignaturePadding.Pkcs1)
                : ((ECDsa)signer.Key).SignHash(loaded.Digest);
            using CmsSignedData data = await ReadAsync(loaded.Complete(value));
            (await data.VerifyAsync(new MemoryStream(Content))).ShouldHaveSingleItem().Intact.ShouldBeTrue();
        }
    }

    [Fact]
    public void A_value_by_another_key_is_refused_before_it_is_sent()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Bi thu");
        var prepared = PreparedSignature.Prepare(Request(signer), SHA256.HashData(Content));
        Should
            .Throw<CmsException>(() => prepared.SignWith(TestPki.Key(TestKey.Rsa2048, 1)))
            .Error.ShouldBe(CmsError.SignatureValueWrong);
        Should.Throw<CmsException>(() => prepared.Complete(new byte[256])).Error.ShouldBe(CmsError.SignatureValueWrong);
        Should.Throw<CmsException>(() => prepared.Complete([])).Error.ShouldBe(CmsError.SignatureValueWrong);
        Should.Throw<ArgumentException>(() => prepared.SignWith(TestPki.Key(TestKey.P256)));
    }

    [Fact]
    public void A_request_that_cannot_be_met_is_refused_at_once()
    {
        TestIdentity rsa = TestPki.Shared.Issue("CN=Bi thu");
        Should
            .Throw<CmsException>(() => PreparedSignature.Prepare(Request(rsa, SignatureScheme.Ecdsa), new byte[32]))
            .Error.ShouldBe(CmsError.CertificateNotUsable);
        Should
            .Throw<CmsException>(() => PreparedSignature.Prepare(Request(rsa, digest: "SHA1"), new byte[20]))
            .Error.ShouldBe(CmsError.UnsupportedAlgorithm);
        Should.Throw<ArgumentException>(() => PreparedSignature.Prepare(Request(rsa), new byte[20]));
        Should
            .Throw<CmsException>(() => PreparedSignature.Load(new byte[] { 0x30, 0x00 }))
            .Error.ShouldBe(CmsError.Malformed);
    }

    [Fact]
    public async Task Changed_content_is_a_digest_that_does_not_match()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        var cms = await CmsSigner.SignDetachedAsync(new MemoryStream(Content), Request(signer), signer.Key);
        byte[] changed = [.. Content];
        changed[3] ^= 1;
        using CmsSignedData data = await ReadAsync(cms);
        SignerVerification result = (await data.VerifyAsync(new MemoryStream(changed))).ShouldHaveSingleItem();
        result.Intact.ShouldBeFalse();
        result.DigestMatches.ShouldBe(false);
        result.SignatureMatches.ShouldBe(true);
    }

    [Fact]
    public async Task Given_content_replaces_included_content()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        using var output = new MemoryStream();
        await CmsSigner.SignAttachedAsync(new MemoryStream(Content), output, Request(signer), signer.Key);
        using CmsSignedData data = await ReadAsync(output.ToArray());
        (await data.VerifyAsync(new MemoryStream("something else"u8.ToArray())))
            .ShouldHaveSingleItem()
            .DigestMatches.ShouldBe(false);
        (await data.VerifyAsync(null)).ShouldHaveSingleItem().Intact.ShouldBeTrue();
    }

    [Fact]
    public async Task Missing_content_and_a_missing_certificate_are_reported()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        using X509Certificate2 withKey = signer.Certificate.CopyWithPrivateKey(signer.Rsa);
        var oracle = new SignedCms(new ContentInfo(Content), detached: true);
        oracle.ComputeSignature(
            new System.Security.Cryptography.Pkcs.CmsSigner(withKey) { IncludeOption = X509IncludeOption.None });
        using CmsSignedData data = await ReadAsync(oracle.Encode());

        SignerVerification none = (await data.VerifyAsync(null)).ShouldHaveSingleItem();
        none.Problems.ShouldBe([SignerProblem.ContentMissing, SignerProblem.CertificateMissing]);
        none.DigestMatches.ShouldBeNull();
        (await data.VerifyAsync(new MemoryStream(Content), [signer.Certificate]))
            .ShouldHaveSingleItem()
            .Intact.ShouldBeTrue();
    }

    [Theory]
    [InlineData("none", null)]
    [InlineData("no content type", SignerProblem.ContentTypeMissing)]
    [InlineData("wrong content type", SignerProblem.ContentTypeContradicts)]
    [InlineData("no digest", SignerProblem.MessageDigestMissing)]
    [InlineData("two digests", SignerProblem.AttributeDuplicated)]
    [InlineData("two values", SignerProblem.AttributeMalformed)]
    [InlineData("other certificate", SignerProblem.SigningCertificateContradicts)]
    public async Task Contradictory_signed_attributes_are_reported_although_the_signature_verifies(
        string defect, SignerProblem? expected)
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        var digest = SHA256.HashData(Content);
        using CmsSignedData data = await ReadAsync(HandMade(signer, writer =>
            {
                if (defect != "no content type")
                {
                    Attribute(writer, "1.2.840.113549.1.9.3", w =>
                        w.WriteObjectIdentifier(
                            defect == "wrong content type" ? "1.2.840.113549.1.7.2" : "1.2.840.113549.1.7.1"));
                }

                if (defect != "no digest")
                {
                    Attribute(
                        writer, "1.2.840.113549.1.9.4", w => w.WriteOctetString(digest),
                        defect == "two values" ? w => w.WriteOctetString(new byte[32]) : null);
                }

                if (defect == "two digests")
                {
                    Attribute(writer, "1.2.840.113549.1.9.4", w => w.WriteOctetString(new byte[32]));
                }

                if (defect == "other certificate")
                {
                    Attribute(writer, "1.2.840.113549.1.9.16.2.47", w =>
                    {
                        using (w.PushSequence())
                        using (w.PushSequence())
                        using (w.PushSequence())
                        {
                            w.WriteOctetString(new byte[32]);
                        }
                    });
                }
            }));
        SignerVerification result = (await data.VerifyAsync(new MemoryStream(Content))).ShouldHaveSingleItem();
        result.SignatureMatches.ShouldBe(true);
        if (expected is { } problem)
        {
            result.Problems.ShouldContain(problem);
        }

        result.Intact.ShouldBe(expected is null);
    }

    [Fact]
    public async Task Signed_attributes_presented_as_content_are_detected()
    {
        // The attack: drop the signed attributes and present their encoding as content. The value verifies.
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        var attributes = new AsnWriter(AsnEncodingRules.DER);
        using (attributes.PushSetOf())
        {
            Attribute(attributes, "1.2.840.113549.1.9.3", w => w.WriteObjectIdentifier("1.2.840.113549.1.7.1"));
            Attribute(attributes, "1.2.840.113549.1.9.4", w => w.WriteOctetString(SHA256.HashData(Content)));
        }
        var passedOff = attributes.Encode();
        var value = signer.Rsa.SignData(passedOff, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        using CmsSignedData data = await ReadAsync(HandMade(signer, null, value));
        SignerVerification result = (await data.VerifyAsync(new MemoryStream(passedOff))).ShouldHaveSingleItem();
        result.SignatureMatches.ShouldBe(true);
        result.Problems.ShouldBe([SignerProblem.ContentIsSignedAttributes]);
    }

    [Fact]
    public async Task A_signature_without_signed_attributes_is_over_the_content_itself()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        var value = signer.Rsa.SignData(Content, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        using CmsSignedData data = await ReadAsync(HandMade(signer, null, value));
        (await data.VerifyAsync(new MemoryStream(Content))).ShouldHaveSingleItem().Intact.ShouldBeTrue();
        (await data.VerifyAsync(new MemoryStream([1]))).ShouldHaveSingleItem().Intact.ShouldBeFalse();
    }

    [Fact]
    public async Task A_truncated_signature_is_unreadable()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        foreach (Stream source in new Stream[] { new MemoryStream(Content), new DripStream(Content) })
        {
            using var output = new MemoryStream();
            await CmsSigner.SignAttachedAsync(source, output, Request(signer), signer.Key);
            var cms = output.ToArray();
            for (var length = 0; length < cms.Length; length += 7)
            {
                CmsException error = await Should.ThrowAsync<CmsException>(() => ReadAsync(cms[..length]));
                error.Error.ShouldBeOneOf(CmsError.NotCms, CmsError.Truncated, CmsError.Malformed);
            }
            (await ReadAsync([.. cms, 0, 0, (byte)'\r', (byte)'\n'])).HasExtraOctets.ShouldBeFalse();
            (await ReadAsync([.. cms, 0, 1])).HasExtraOctets.ShouldBeTrue();
        }
    }

    [Fact]
    public async Task Limits_stop_a_reader()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        using var output = new MemoryStream();
        await CmsSigner.SignAttachedAsync(new MemoryStream(new byte[1000]), output, Request(signer), signer.Key);
        var cms = output.ToArray();
        foreach (
            CmsLimits limits in new CmsLimits[]
            {
                new() { MaxContent = 999 },
                new() { MaxPart = 100 },
                new() { MaxCertificates = 1 },
                new() { MaxSigners = 0 },
                new() { MaxDepth = 2 },
            })
        {
            (
                await Should.ThrowAsync<CmsException>(() => CmsSignedData.ReadAsync(new MemoryStream(cms), limits))
            ).Error.ShouldBe(CmsError.LimitExceeded);
        }
    }

    [Fact]
    public async Task An_octet_string_nested_without_end_stops_at_the_depth_limit()
    {
        byte[] cms =
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
            0x02,
            0xA0,
            0x80,
            0x30,
            0x80,
            0x02,
            0x01,
            0x01,
            0x31,
            0x00,
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
            0x01,
            0xA0,
            0x80,
            .. Enumerable.Repeat<byte[]>([0x24, 0x80], 100_000).SelectMany(b => b),
        ];
        (await Should.ThrowAsync<CmsException>(() => ReadAsync(cms))).Error.ShouldBe(CmsError.LimitExceeded);
    }

    [Fact]
    public async Task PEM_is_read_with_text_before_it_and_damaged_PEM_is_refused()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        using var output = new MemoryStream();
        await CmsSigner.SignAttachedAsync(new MemoryStream(new byte[50_000]), output, Request(signer), signer.Key);
        foreach (var label in new[] { "CMS", "PKCS7" })
        {
            var pem = PemEncoding.WriteString(label, output.ToArray());
            foreach (var text in new[] { pem, "Chữ ký\r\n" + pem.ReplaceLineEndings("\r\n") + "\r\n" })
            {
                var armoured = System.Text.Encoding.UTF8.GetBytes(text);
                CmsFormat.Detect(armoured.AsSpan(0, CmsFormat.DetectionLength)).ShouldBe(CmsKind.SignedData);
                using CmsSignedData data = await ReadAsync(armoured);
                data.HasExtraOctets.ShouldBe(text != pem);
                (await data.VerifyAsync(null)).ShouldHaveSingleItem().Intact.ShouldBeTrue();
            }
            await Should.ThrowAsync<CmsException>(() =>
                ReadAsync(System.Text.Encoding.ASCII.GetBytes(pem[..(pem.Length / 2)])));
            await Should.ThrowAsync<CmsException>(() =>
                ReadAsync(System.Text.Encoding.ASCII.GetBytes(pem.Replace("-----END " + label, "-----END X"))));
        }
    }

    internal static SigningRequest Request(
        TestIdentity signer,
        SignatureScheme scheme = SignatureScheme.RsaPkcs1,
        string digest = "SHA256"
    ) => new(signer.Certificate, [TestPki.Shared.Ca.Certificate], new HashAlgorithmName(digest), scheme, Signed);

    internal static Task<CmsSignedData> ReadAsync(byte[] cms) => CmsSignedData.ReadAsync(new MemoryStream(cms));

    internal static async Task<byte[]> BytesAsync(Stream stream)
    {
        using var copy = new MemoryStream();
        await stream.CopyToAsync(copy);
        return copy.ToArray();
    }

    private static void Attribute(AsnWriter writer, string oid, params Action<AsnWriter>?[] values) =>
        Cms.HandMade.Attribute(writer, oid, values);

    /// <summary>A detached SignedData whose attributes (null: none) are written by the test and signed by
    /// RSA.</summary>
    private static byte[] HandMade(TestIdentity signer, Action<AsnWriter>? attributes, byte[]? value = null) =>
        Cms.HandMade.SignedData(new(signer.Certificate, Cms.HandMade.Sha256, "1.2.840.113549.1.1.1", attributes, set =>
            set is null ? value! : signer.Rsa.SignData(set, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)));
}

/// <summary>A stream of unknown length that returns small pieces of odd sizes.</summary>
internal sealed class DripStream(byte[] data) : Stream
{
    private int _at;

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => false;
    public override long Length => throw new NotSupportedException();
    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override int Read(byte[] buffer, int offset, int count)
    {
        var take = Math.Min(Math.Min(count, 1 + (_at * 7 % 1021)), data.Length - _at);
        data.AsSpan(_at, take).CopyTo(buffer.AsSpan(offset));
        _at += take;
        return take;
    }

    public override void Flush() { }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
