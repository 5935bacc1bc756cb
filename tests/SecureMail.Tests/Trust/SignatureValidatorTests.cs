using System.Security.Cryptography;
using System.Security.Cryptography.Pkcs;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Trust;
using CmsSigner = SecureMail.Cms.CmsSigner;

namespace SecureMail.Tests.Trust;

public sealed class SignatureValidatorTests
{
    private static readonly TestPki Pki = TestPki.Shared;
    private static readonly byte[] Content = "Công văn số 36-HD/VPTW\r\n"u8.ToArray();
    private static readonly TrustMaterial Material = new([Pki.Root.Certificate], [], Pki.Crls());

    [Fact]
    public async Task A_good_signature_passes_and_says_who_signed()
    {
        TestIdentity signer = Pki.Issue("CN=Nguyễn Văn A,O=Đảng ủy,C=VN", ["a@danguy.vn", "b@danguy.vn"]);
        SignatureFinding finding = await ValidateAsync(await SignAsync(signer));
        finding.Indication.ShouldBe(Indication.TotalPassed);
        finding.SubIndication.ShouldBeNull();
        finding.Reason.Code.ShouldBe("valid");
        finding.Intact.ShouldBeTrue();
        finding.Trusted.ShouldBe(true);
        finding.Signer.Subject.ShouldBe("CN=Nguyễn Văn A,O=Đảng ủy,C=VN");
        finding.Signer.Emails.ShouldBe(["a@danguy.vn", "b@danguy.vn"]);
        finding.Signer.Issuer.ShouldBe("CN=SecureMail Test Issuing CA,O=Test,C=VN");
        finding.Signer.Serial.ShouldBe(signer.Certificate.SerialNumber.ToLowerInvariant());
        finding.DigestAlgorithm.ShouldBe("SHA-256");
        finding.ClaimedTime.ShouldBe(TestPki.Now.AddHours(-1));
        finding.ProvenTime.ShouldBeNull();
        finding.Path.Count.ShouldBe(3);
        finding.Path[0].ShouldBe(finding.Signer.Subject);
        Verdicts.Of(FileState.Read, [finding]).ShouldBe(Verdict.Valid);
    }

    [Fact]
    public async Task Every_way_to_fail_has_its_indication_and_its_verdict()
    {
        TestIdentity signer = Pki.Issue("CN=A");
        var good = await SignAsync(signer);

        await ExpectAsync(
            good, "else"u8.ToArray(), null, Indication.TotalFailed, SubIndication.HashFailure, "content-changed",
            Verdict.Invalid);
        await ExpectAsync(
            WithChangedValue(good), Content, null, Indication.TotalFailed, SubIndication.SigCryptoFailure,
            "signature-wrong", Verdict.Invalid);
        await ExpectAsync(
            good, null, null, Indication.Indeterminate, SubIndication.SignedDataNotFound, "content-missing",
            Verdict.Indeterminate);
        await ExpectAsync(
            WithoutCertificates(signer), Content, null, Indication.Indeterminate,
            SubIndication.NoSigningCertificateFound, "signer-certificate-missing", Verdict.Untrusted);
        await ExpectAsync(
            good, Content, Options(new TrustMaterial([new TestPki("X").Root.Certificate])), Indication.Indeterminate,
            SubIndication.NoCertificateChainFound, "no-path", Verdict.Untrusted);
        await ExpectAsync(
            good, Content, Options(new TrustMaterial([Pki.Root.Certificate])), Indication.Indeterminate,
            SubIndication.TryLater, "revocation-unknown", Verdict.Indeterminate);
        await ExpectAsync(
            good,
            Content,
            Options(
                new TrustMaterial(
                    [Pki.Root.Certificate], [], [Pki.Crl(Pki.Root), Pki.Crl(revoked: [signer.Certificate])])),
            Indication.Indeterminate,
            SubIndication.RevokedNoPoe,
            "certificate-revoked",
            Verdict.Untrusted);
        await ExpectAsync(
            await SignAsync(Pki.Issue("CN=A", notAfter: TestPki.Now.AddDays(-1))), Content, null,
            Indication.Indeterminate, SubIndication.OutOfBoundsNoPoe, "certificate-expired", Verdict.Untrusted);
        await ExpectAsync(
            await SignAsync(signer, TestPki.Now.AddHours(1)), Content, null, Indication.Indeterminate,
            SubIndication.SigConstraintsFailure, "time-in-future", Verdict.Untrusted);
        await ExpectAsync(
            await SignAsync(Pki.Issue("CN=A", usage: X509KeyUsageFlags.KeyEncipherment)), Content, null,
            Indication.Indeterminate, SubIndication.ChainConstraintsFailure, "certificate-purpose", Verdict.Untrusted);
        await ExpectAsync(
            await SignAsync(Pki.Issue("CN=A", extendedUsages: ["1.3.6.1.5.5.7.3.1"])), Content, null,
            Indication.Indeterminate, SubIndication.ChainConstraintsFailure, "certificate-purpose", Verdict.Untrusted);
        await ExpectAsync(
            Weak(signer, "1.3.14.3.2.26"), Content, null, Indication.Indeterminate,
            SubIndication.CryptoConstraintsFailure, "algorithm-weak", Verdict.Untrusted);
        await ExpectAsync(
            await SignAsync(Pki.Issue("CN=A", key: TestKey.Rsa1024)), Content, null, Indication.Indeterminate,
            SubIndication.CryptoConstraintsFailure, "algorithm-weak", Verdict.Untrusted);
    }

    [Fact]
    public async Task A_clock_a_little_off_is_no_reason()
    {
        SignatureFinding finding = await ValidateAsync(await SignAsync(Pki.Issue("CN=A"), TestPki.Now.AddMinutes(4)));
        finding.Indication.ShouldBe(Indication.TotalPassed);
    }

    [Fact]
    public async Task Revocation_that_is_not_asked_is_no_reason_and_the_finding_says_so()
    {
        ValidationOptions options = Options(new TrustMaterial([Pki.Root.Certificate])) with { CheckRevocation = false };
        SignatureFinding finding = await ValidateAsync(await SignAsync(Pki.Issue("CN=A")), options: options);
        finding.Indication.ShouldBe(Indication.TotalPassed);
        finding.Reason.Code.ShouldBe("valid-revocation-not-checked");
    }

    [Fact]
    public async Task Nobody_signed_is_no_finding()
    {
        var bag = new SignedCms(new ContentInfo(Content));
        bag.Certificates.Add(Pki.Ca.Certificate);
        bag.ComputeSignature(new System.Security.Cryptography.Pkcs.CmsSigner(SubjectIdentifierType.NoSignature));
        bag.RemoveSignature(0);
        using CmsSignedData data = await CmsSignedData.ReadAsync(new MemoryStream(bag.Encode()));
        (await SignatureValidator.ValidateAsync(data, null, Options(Material))).ShouldBeEmpty();
        Verdicts.Of(FileState.Read, []).ShouldBe(Verdict.Unsigned);
    }

    [Theory]
    [InlineData("a@danguy.vn", true)]
    [InlineData("a@DangUy.VN", true)]
    [InlineData("A@danguy.vn", false)]
    [InlineData("b@danguy.vn", false)]
    [InlineData("old@danguy.vn", true)]
    [InlineData("tỉnh@danguy.vn", true)]
    [InlineData("a@văn.vn", true)]
    [InlineData("a@xn--vn-hia.vn", true)]
    [InlineData("danguy.vn", false)]
    [InlineData("", false)]
    public void A_certificate_names_an_address_or_does_not(string address, bool named)
    {
        TestIdentity identity = Pki.Issue("E=old@danguy.vn, CN=A", edit: r =>
        {
            var writer = new System.Formats.Asn1.AsnWriter(System.Formats.Asn1.AsnEncodingRules.DER);
            using (writer.PushSequence())
            {
                var email = new System.Formats.Asn1.Asn1Tag(System.Formats.Asn1.TagClass.ContextSpecific, 1);
                writer.WriteCharacterString(System.Formats.Asn1.UniversalTagNumber.IA5String, "a@danguy.vn", email);
                writer.WriteCharacterString(
                    System.Formats.Asn1.UniversalTagNumber.IA5String,
                    "a@" + new System.Globalization.IdnMapping().GetAscii("văn.vn"), email);
                var context0 = new System.Formats.Asn1.Asn1Tag(System.Formats.Asn1.TagClass.ContextSpecific, 0);
                using (writer.PushSequence(context0))
                {
                    writer.WriteObjectIdentifier("1.3.6.1.5.5.7.8.9");
                    using (writer.PushSequence(context0))
                    {
                        writer.WriteCharacterString(
                            System.Formats.Asn1.UniversalTagNumber.UTF8String, "tỉnh@danguy.vn");
                    }
                }
            }
            r.CertificateExtensions.Add(new X509Extension("2.5.29.17", writer.Encode(), critical: false));
        });
        if (address.Contains("xn--"))
        {
            address = "a@" + new System.Globalization.IdnMapping().GetAscii("văn.vn");
        }

        CertificateAddresses.Contains(identity.Certificate, address).ShouldBe(named);
    }

    [Theory]
    [InlineData("CN=\"A, B+C\",O=X", "CN=A\\, B\\+C,O=X")]
    [InlineData("CN=\"#A\",O=\" X \"", "CN=\\#A,O=\\ X\\ ")]
    [InlineData("CN=A\u202Eevil", "CN=A\\e2\\80\\aeevil")]
    public void Names_are_shown_by_RFC_4514_and_cannot_forge_what_is_shown(string name, string shown) =>
        DistinguishedName.Read(new X500DistinguishedName(name).RawData).ToString().ShouldBe(shown);

    private static ValidationOptions Options(TrustMaterial material) => new() { Trust = material, At = TestPki.Now };

    private static async Task ExpectAsync(
        byte[] cms, byte[]? content, ValidationOptions? options, Indication indication, SubIndication sub, string code,
        Verdict verdict)
    {
        SignatureFinding finding = await ValidateAsync(cms, content, options);
        finding.Reason.Code.ShouldBe(code);
        finding.Indication.ShouldBe(indication);
        finding.SubIndication.ShouldBe(sub);
        Verdicts.Of(FileState.Read, [finding]).ShouldBe(verdict);
    }

    private static Task<SignatureFinding> ValidateAsync(byte[] cms, ValidationOptions? options = null) =>
        ValidateAsync(cms, Content, options);

    private static async Task<SignatureFinding> ValidateAsync(byte[] cms, byte[]? content, ValidationOptions? options)
    {
        using CmsSignedData data = await CmsSignedData.ReadAsync(new MemoryStream(cms));
        return (
            await SignatureValidator.ValidateAsync(
                data, content is null ? null : new MemoryStream(content), options ?? Options(Material))
        ).ShouldHaveSingleItem();
    }

    private static Task<byte[]> SignAsync(TestIdentity signer, DateTimeOffset? claimed = null)
    {
        var request = new SigningRequest(
            signer.Certificate, [Pki.Ca.Certificate], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1,
            claimed ?? TestPki.Now.AddHours(-1));
        return CmsSigner.SignDetachedAsync(new MemoryStream(Content), request, signer.Key);
    }

    private static byte[] WithChangedValue(byte[] cms)
    {
        // The value is the last thing in a SignedData without unsigned attributes.
        byte[] changed = [.. cms];
        changed[^1] ^= 1;
        return changed;
    }

    private static byte[] WithoutCertificates(TestIdentity signer) =>
        Oracle(signer, X509IncludeOption.None, "2.16.840.1.101.3.4.2.1");

    private static byte[] Weak(TestIdentity signer, string digest) =>
        Oracle(signer, X509IncludeOption.EndCertOnly, digest);

    private static byte[] Oracle(TestIdentity signer, X509IncludeOption include, string digest)
    {
        using X509Certificate2 withKey = signer.Certificate.CopyWithPrivateKey(signer.Rsa);
        var cms = new SignedCms(new ContentInfo(Content), detached: true);
        var oracle = new System.Security.Cryptography.Pkcs.CmsSigner(withKey)
        {
            IncludeOption = include,
            DigestAlgorithm = new Oid(digest),
        };
        if (include != X509IncludeOption.None)
        {
            oracle.Certificates.Add(Pki.Ca.Certificate);
        }

        cms.ComputeSignature(oracle);
        return cms.Encode();
    }
}
