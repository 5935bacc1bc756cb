using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.Pkcs;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Libcrypto;
using SecureMail.Trust;
using CmsSigner = SecureMail.Cms.CmsSigner;

namespace SecureMail.Tests.Cms;

/// <summary>Ed25519, several signers in one object, attributes kept and added, and keys for one scheme
/// only.</summary>
public sealed class CmsSignersTests
{
    private static readonly byte[] Content = "Kính gửi: Văn phòng Đảng ủy\r\n"u8.ToArray();
    private static readonly TestEd25519 Edwards = TestEd25519.Issue(TestPki.Shared, "CN=Chanh van phong", "cvp@a.vn");

    [Fact]
    public async Task Ed25519_signs_the_attributes_themselves_detached_and_attached()
    {
        var detached = await CmsSigner.SignDetachedAsync(new MemoryStream(Content), Request(Edwards), Edwards.Sign);
        using CmsSignedData data = await CmsSignedDataTests.ReadAsync(detached);
        SignatureFinding finding = (await JudgeAsync(data, Content)).ShouldHaveSingleItem();
        finding.Indication.ShouldBe(Indication.TotalPassed, finding.Reason.Code);
        (await data.VerifyAsync(new MemoryStream([1]))).ShouldHaveSingleItem().DigestMatches.ShouldBe(false);

        foreach (Stream source in new Stream[] { new MemoryStream(Content), new DripStream(Content) })
        {
            using var output = new MemoryStream();
            await CmsSigner.SignAttachedAsync(source, output, Request(Edwards), Edwards.Sign);
            if (source.CanSeek)
            {
                new AsnReader(output.ToArray(), AsnEncodingRules.DER).ReadSequence();
            }

            using CmsSignedData attached = await CmsSignedDataTests.ReadAsync(output.ToArray());
            (await attached.VerifyAsync(null)).ShouldHaveSingleItem().Intact.ShouldBeTrue();
        }
    }

    [Fact]
    public void Ed25519_signs_with_SHA_512_and_its_own_key_only()
    {
        Should
            .Throw<CmsException>(() =>
                PreparedSignature.Prepare(Request(Edwards) with { Digest = HashAlgorithmName.SHA256 }, new byte[32]))
            .Error.ShouldBe(CmsError.UnsupportedAlgorithm);
        var prepared = PreparedSignature.Load(PreparedSignature.Prepare(Request(Edwards), new byte[64]).Save());
        Should
            .Throw<CmsException>(() =>
                prepared.Complete(Ed25519.Sign(Ed25519.GenerateSeed(), prepared.ToBeSigned.Span)))
            .Error.ShouldBe(CmsError.SignatureValueWrong);
        Should
            .Throw<CmsException>(() => prepared.Complete(Ed25519.Sign(Edwards.Seed, prepared.Digest)))
            .Error.ShouldBe(CmsError.SignatureValueWrong);
        Should.Throw<ArgumentException>(() => prepared.SignWith(TestPki.Key(TestKey.P256)));
        prepared.Complete(Edwards.Sign(prepared)).Length.ShouldBeGreaterThan(64);
    }

    [Theory]
    [InlineData(0, true)]
    [InlineData(100_000, true)]
    [InlineData(1 << 20, true)]
    [InlineData((1 << 20) + 1, false)]
    public async Task Ed25519_without_signed_attributes_is_verified_up_to_the_content_limit(int length, bool held)
    {
        var content = new byte[length];
        var cms = HandMade.SignedData(new(Edwards.Certificate, "2.16.840.1.101.3.4.2.3", "1.3.101.112", null, _ =>
            Ed25519.Sign(Edwards.Seed, content)));
        using CmsSignedData data = await CmsSignedDataTests.ReadAsync(cms);
        SignerVerification result = (await data.VerifyAsync(new MemoryStream(content))).ShouldHaveSingleItem();
        result.Intact.ShouldBe(held);
        result.Problems.ShouldBe(held ? [] : [SignerProblem.ContentTooLong]);
        (await data.VerifyAsync(new MemoryStream([9]))).ShouldHaveSingleItem().Intact.ShouldBeFalse();
    }

    [Fact]
    public async Task Signatures_are_joined_and_each_signer_is_verified()
    {
        TestIdentity rsa = TestPki.Shared.Issue("CN=Van thu");
        TestIdentity ec = TestPki.Shared.Issue("CN=Bi thu", key: TestKey.P384);
        var one = await CmsSigner.SignDetachedAsync(
            new MemoryStream(Content), CmsSignedDataTests.Request(rsa), rsa.Key);
        var two = await CmsSigner.SignDetachedAsync(
            new MemoryStream(Content), CmsSignedDataTests.Request(ec, SignatureScheme.Ecdsa, "SHA384"), ec.Key);
        var three = await CmsSigner.SignDetachedAsync(new MemoryStream(Content), Request(Edwards), Edwards.Sign);
        var joined = CmsSigner.Join(CmsSigner.Join(one, two), three);
        CmsSigner.Join(joined, two).ShouldBe(joined, "a signature that stands there already is not put in twice");
        AsnDecoder.ReadSequence(joined, AsnEncodingRules.DER, out _, out _, out _);

        using CmsSignedData data = await CmsSignedDataTests.ReadAsync(joined);
        data.Certificates.Count.ShouldBe(4);
        IReadOnlyList<SignatureFinding> findings = await JudgeAsync(data, Content);
        findings.Count.ShouldBe(3);
        findings.ShouldAllBe(f => f.Indication == Indication.TotalPassed);
        (await JudgeAsync(data, [1])).ShouldAllBe(f => f.Reason.Code == "content-changed");

        var oracle = new SignedCms(new ContentInfo(Content), detached: true);
        oracle.Decode(CmsSigner.Join(one, two));
        oracle.CheckSignature(verifySignatureOnly: true);
        oracle.SignerInfos.Count.ShouldBe(2);
    }

    [Fact]
    public async Task One_bad_signer_among_good_ones_is_reported()
    {
        TestIdentity rsa = TestPki.Shared.Issue("CN=Van thu");
        TestIdentity ec = TestPki.Shared.Issue("CN=Bi thu", key: TestKey.P256);
        var joined = CmsSigner.Join(
            await CmsSigner.SignDetachedAsync(new MemoryStream(Content), CmsSignedDataTests.Request(rsa), rsa.Key),
            await CmsSigner.SignDetachedAsync(
                new MemoryStream(Content), CmsSignedDataTests.Request(ec, SignatureScheme.Ecdsa), ec.Key));
        byte[] value;
        using (CmsSignedData whole = await CmsSignedDataTests.ReadAsync(joined))
        {
            value = whole
                .Signers.Single(s => s.SignatureAlgorithm!.Scheme == SignatureScheme.RsaPkcs1)
                .SignatureValue.ToArray();
        }

        joined[joined.AsSpan().IndexOf(value) + 40] ^= 1;
        using CmsSignedData data = await CmsSignedDataTests.ReadAsync(joined);
        foreach (SignerVerification result in await data.VerifyAsync(new MemoryStream(Content)))
        {
            result.Intact.ShouldBe(result.Certificate!.Equals(ec.Certificate));
        }
    }

    [Fact]
    public async Task Signatures_over_different_contents_are_not_joined()
    {
        TestIdentity rsa = TestPki.Shared.Issue("CN=Van thu");
        var one = await CmsSigner.SignDetachedAsync(
            new MemoryStream(Content), CmsSignedDataTests.Request(rsa), rsa.Key);
        var other = await CmsSigner.SignDetachedAsync(new MemoryStream([1]), CmsSignedDataTests.Request(rsa), rsa.Key);
        Should.Throw<CmsException>(() => CmsSigner.Join(one, other)).Error.ShouldBe(CmsError.SignatureValueWrong);
        using var attached = new MemoryStream();
        await CmsSigner.SignAttachedAsync(
            new MemoryStream(Content), attached, CmsSignedDataTests.Request(rsa), rsa.Key);
        Should.Throw<CmsException>(() => CmsSigner.Join(one, attached.ToArray())).Error.ShouldBe(CmsError.WrongKind);
        Should.Throw<CmsException>(() => CmsSigner.Join(one, one.AsMemory(0, 100))).Error.ShouldBe(CmsError.Malformed);
    }

    [Fact]
    public async Task Unknown_attributes_are_kept_and_can_be_added()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        byte[] value = [0x0C, 0x03, (byte)'a', (byte)'b', (byte)'c'];
        SigningRequest request = CmsSignedDataTests.Request(signer) with
        {
            Attributes = [new CmsAttribute("1.3.6.1.4.1.99999.1", [value])],
        };
        using CmsSignedData data = await CmsSignedDataTests.ReadAsync(
            await CmsSigner.SignDetachedAsync(new MemoryStream(Content), request, signer.Key));
        (await data.VerifyAsync(new MemoryStream(Content))).ShouldHaveSingleItem().Intact.ShouldBeTrue();
        CmsSignerInfo info = data.Signers.ShouldHaveSingleItem();
        info.SignedAttributes.Single(a => a.Oid == "1.3.6.1.4.1.99999.1")
            .Values.ShouldHaveSingleItem()
            .ToArray()
            .ShouldBe(value);
        info.UnsignedAttributes.ShouldBeEmpty();
        foreach (
            CmsAttribute bad in new CmsAttribute[]
            {
                new("1.2.840.113549.1.9.4", [value]),
                new("1.3.6.1.4.1.99999.1", []),
                new("1.3.6.1.4.1.99999.1", [new byte[] { 0x04, 0x09, 0x00 }]),
            })
        {
            Should.Throw<ArgumentException>(() =>
                PreparedSignature.Prepare(request with { Attributes = [bad] }, new byte[32]));
        }
    }

    [Fact]
    public async Task CAdES_claims_a_time_and_PAdES_claims_none()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        foreach (DateTimeOffset? time in new DateTimeOffset?[] { TestPki.Now, null })
        {
            var cms = await CmsSigner.SignDetachedAsync(
                new MemoryStream(Content),
                CmsSignedDataTests.Request(signer) with
                {
                    SigningTime = time,
                },
                signer.Key);
            using CmsSignedData data = await CmsSignedDataTests.ReadAsync(cms);
            // ETSI EN 319 122-1 §6.3: content-type, message-digest, signing-certificate-v2 and signing-time; EN 319
            // 142-1 §6.3: without the last.
            string[] wanted = ["1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4", "1.2.840.113549.1.9.16.2.47"];
            data.Signers[0]
                .SignedAttributes.Select(a => a.Oid)
                .ShouldBe(
                    [
                        .. wanted,
                        "1.2.840.113549.1.9.52",
                        .. time is null ? Array.Empty<string>() : ["1.2.840.113549.1.9.5"],
                    ],
                    ignoreOrder: true);
        }
    }

    [Fact]
    public async Task Unsigned_attributes_are_shown()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        using X509Certificate2 withKey = signer.Certificate.CopyWithPrivateKey(signer.Rsa);
        var oracle = new SignedCms(new ContentInfo(Content));
        oracle.ComputeSignature(
            new System.Security.Cryptography.Pkcs.CmsSigner(withKey) { IncludeOption = X509IncludeOption.EndCertOnly });
        oracle
            .SignerInfos[0]
            .AddUnsignedAttribute(new AsnEncodedData(new Oid("1.2.840.113549.1.9.16.2.14"), [0x30, 0x00]));
        using CmsSignedData data = await CmsSignedDataTests.ReadAsync(oracle.Encode());
        (await data.VerifyAsync(null)).ShouldHaveSingleItem().Intact.ShouldBeTrue();
        CmsAttribute shown = data.Signers[0].UnsignedAttributes.ShouldHaveSingleItem();
        shown.Oid.ShouldBe("1.2.840.113549.1.9.16.2.14");
        shown.Values.ShouldHaveSingleItem().ToArray().ShouldBe([0x30, 0x00]);
    }

    private static SigningRequest Request(TestEd25519 signer) =>
        new(
            signer.Certificate, [TestPki.Shared.Ca.Certificate], HashAlgorithmName.SHA512, SignatureScheme.Ed25519,
            TestPki.Now);

    private static Task<IReadOnlyList<SignatureFinding>> JudgeAsync(CmsSignedData data, byte[] content) =>
        SignatureValidator.ValidateAsync(
            data,
            new MemoryStream(content),
            new ValidationOptions
            {
                Trust = new TrustMaterial(
                    [TestPki.Shared.Root.Certificate], [TestPki.Shared.Ca.Certificate], TestPki.Shared.Crls()),
                At = TestPki.Now,
            });
}
