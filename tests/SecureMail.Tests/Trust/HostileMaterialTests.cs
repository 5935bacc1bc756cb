using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Tests.Cms;
using SecureMail.Trust;

namespace SecureMail.Tests.Trust;

/// <summary>The limits of docs/limits.md on what a message may make its validation cost.</summary>
public sealed class HostileMaterialTests
{
    private static readonly TestPki Pki = TestPki.Shared;
    private static readonly byte[] Content = "Công văn\r\n"u8.ToArray();

    [Theory]
    [InlineData(1 << 20, 1, "valid")]
    [InlineData(1 << 20, 0, "revocation-unknown")]
    public async Task CRLs_beyond_the_limit_of_a_message_are_passed_over_and_the_finding_says_so(
        int limit, int ownLists, string code)
    {
        TestIdentity signer = Pki.Issue("CN=A");
        // The list of the issuer is longer than the limit; that of the root is behind it and fits.
        byte[][] enclosed = [LongCrl(), Pki.Crl(Pki.Root)];
        var material = new TrustMaterial(
            [Pki.Root.Certificate], [Pki.Ca.Certificate], Pki.Crls().Skip(1).Take(ownLists));
        SignatureFinding finding = await ValidateAsync(Sign(signer, enclosed), material, limit);
        finding.Reason.Code.ShouldBe(code);
        finding.Reason.En.ShouldContain("passed over");
        finding.Reason.Vi.ShouldContain("bỏ qua");

        // Without the limit the message proves by itself that nothing is revoked.
        SignatureFinding unlimited = await ValidateAsync(
            Sign(signer, enclosed), new TrustMaterial([Pki.Root.Certificate], [Pki.Ca.Certificate]), int.MaxValue);
        unlimited.Reason.Code.ShouldBe("valid");
        unlimited.Reason.En.ShouldNotContain("passed over");
    }

    [Fact]
    public async Task What_is_passed_over_is_not_parsed()
    {
        // Eight lists that together are far beyond the limit cost nothing.
        var list = LongCrl();
        var cms = Sign(Pki.Issue("CN=A"), [.. Enumerable.Repeat(list, 8)]);
        using CmsSignedData data = await CmsSignedData.ReadAsync(new MemoryStream(cms));
        var options = new ValidationOptions { Trust = new TrustMaterial([Pki.Root.Certificate]), At = TestPki.Now };
        var before = GC.GetAllocatedBytesForCurrentThread();
        (await SignatureValidator.ValidateAsync(data, new MemoryStream(Content), options))
            .ShouldHaveSingleItem()
            .Indication.ShouldBe(Indication.Indeterminate);
        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBeLessThan(2 << 20);
    }

    [Fact]
    public void Authorities_that_certify_each_other_end_in_a_reason()
    {
        // 14 names certified by each other are 182 certificates, whose signatures are each verified once; the number of
        // paths through them is 14 factorial.
        var request = Enumerable
            .Range(0, 14)
            .Select(i => (Name: $"CN=Mesh {i}", Key: ECDsa.Create(ECCurve.NamedCurves.nistP256)))
            .ToArray();
        List<X509Certificate2> mesh = [];
        foreach (var issuer in request)
        {
            foreach (var subject in request.Where(s => s.Name != issuer.Name))
            {
                var ca = TestPki.Request(subject.Name, subject.Key);
                ca.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, critical: true));
                mesh.Add(
                    ca.Create(
                        new X500DistinguishedName(issuer.Name), TestPki.Generator(issuer.Key),
                        TestPki.Now.AddYears(-1), TestPki.Now.AddYears(1), [0x11, (byte)mesh.Count]));
            }
        }

        TestIdentity leaf = Pki.Issue(
            "CN=L", issuer: new TestIdentity(mesh.First(c => c.Subject == "CN=Mesh 0"), request[0].Key));
        PathResult result = PathValidator.Validate(
            leaf.Certificate, new TrustMaterial([Pki.Root.Certificate]), new PathOptions { At = TestPki.Now },
            new TrustMaterial([], mesh));
        result.Status.ShouldBe(PathStatus.Invalid);
        result.Reason.Code.ShouldBe("path-too-complex");
    }

    [Fact]
    public void The_signers_of_one_message_share_what_may_be_verified()
    {
        var message = new MessageWork();
        var verified = 0;
        for (var signer = 0; signer < 64; signer++)
        {
            var work = new PathWork(message);
            while (work.TryCountVerification())
            {
                verified++;
            }
        }

        verified.ShouldBe(1024);
    }

    public static TheoryData<string> Broken =>
        ["a long identifier", "many extensions", "many usages", "many names", "a long name", "many attributes", "long"];

    [Theory]
    [MemberData(nameof(Broken))]
    public void A_certificate_beyond_a_limit_is_malformed(string what)
    {
        TestIdentity leaf = Pki.Issue(
            what == "a long name" ? $"CN={new string('x', 40_000)}"
            : what == "many attributes" ? string.Join(',', Enumerable.Range(0, 300).Select(i => $"OU=u{i}"))
            : "CN=A",
            extendedUsages: what == "many usages"
                ? [.. Enumerable.Range(0, 65).Select(i => $"1.3.6.1.4.1.99999.{i}")]
                : null,
            edit: r =>
            {
                switch (what)
                {
                    case "a long identifier":
                        Add("1.3.6.1.4.1." + string.Join('.', Enumerable.Repeat("99999", 60)));
                        break;
                    case "many extensions":
                        for (var i = 0; i < 65; i++)
                        {
                            Add($"1.3.6.1.4.1.99999.{i}");
                        }

                        break;
                    case "many names":
                        var names = new SubjectAlternativeNameBuilder();
                        for (var i = 0; i < 1025; i++)
                        {
                            names.AddDnsName($"h{i}.vn");
                        }

                        r.CertificateExtensions.Add(names.Build());
                        break;
                    case "long":
                        r.CertificateExtensions.Add(
                            new X509Extension("1.3.6.1.4.1.99999.1", new byte[65_000], critical: false));
                        break;
                }

                void Add(string oid) =>
                    r.CertificateExtensions.Add(new X509Extension(oid, [0x05, 0x00], critical: false));
            });
        PathResult result = PathValidator.Validate(
            leaf.Certificate, new TrustMaterial([Pki.Root.Certificate], [Pki.Ca.Certificate], Pki.Crls()),
            new PathOptions { At = TestPki.Now });
        result.Status.ShouldBe(PathStatus.Invalid, what);
        result.Reason.Code.ShouldBe("certificate-malformed", what);
    }

    [Theory]
    [InlineData(17_000, 24, true)] // a modulus that libcrypto does not take
    [InlineData(2048, 257, true)]
    [InlineData(2048, 256, false)]
    [InlineData(4096, 65, true)] // beside a long modulus libcrypto computes nothing with a longer exponent
    [InlineData(4096, 64, false)]
    public async Task An_RSA_key_that_nothing_is_computed_with_is_unknown_and_not_wrong(
        int modulusBits, int exponentBits, bool unknown)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteIntegerUnsigned(Odd(modulusBits));
            writer.WriteIntegerUnsigned(Odd(exponentBits));
        }

        var key = new PublicKey(
            new Oid("1.2.840.113549.1.1.1"), new AsnEncodedData([0x05, 0x00]), new AsnEncodedData(writer.Encode()));
        TestIdentity signer = Pki.Issue("CN=A", publicKey: key);
        var cms = HandMade.SignedData(
            new(
                signer.Certificate, HandMade.Sha256, "1.2.840.113549.1.1.11", Attributes,
                _ => new byte[modulusBits / 8]));
        SignatureFinding finding = await ValidateAsync(cms, new TrustMaterial([Pki.Root.Certificate]), 0);
        finding.Reason.Code.ShouldBe(unknown ? "algorithm-unknown" : "signature-wrong");
        Verdicts.Of(FileState.Read, [finding]).ShouldBe(unknown ? Verdict.Untrusted : Verdict.Invalid);
    }

    [Fact]
    public void An_issuer_whose_key_cannot_be_used_is_an_unknown_algorithm_of_the_path()
    {
        using var brainpool = ECDsa.Create(ECCurve.NamedCurves.brainpoolP256r1);
        TestIdentity ca = Pki.Issue("CN=Brainpool CA", publicKey: new PublicKey(brainpool));
        TestIdentity leaf = Pki.Issue("CN=L", issuer: new TestIdentity(ca.Certificate, brainpool));
        PathValidator
            .Validate(
                leaf.Certificate, new TrustMaterial([Pki.Root.Certificate], [ca.Certificate, Pki.Ca.Certificate]),
                new PathOptions { At = TestPki.Now })
            .Reason.Code.ShouldBe("path-algorithm-unknown");
    }

    [Fact]
    public async Task An_anchor_that_signed_is_found_when_the_message_does_not_enclose_it()
    {
        using var key = RSA.Create(2048);
        CertificateRequest request = TestPki.Request("CN=Self", key);
        X509Certificate2 self = request.CreateSelfSigned(TestPki.Now.AddYears(-1), TestPki.Now.AddYears(1));
        var cms = HandMade.SignedData(
            new(self, HandMade.Sha256, "1.2.840.113549.1.1.11", Attributes,
            set => key.SignData(set!, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)));
        // A certificate with another serial number is enclosed in place of the signer's.
        var at = cms.AsSpan().IndexOf(self.RawData);
        cms[at + self.RawData.AsSpan().IndexOf(self.SerialNumberBytes.Span) + 1] ^= 1;
        (await ValidateAsync(cms, new TrustMaterial([Pki.Root.Certificate]), 0)).Reason.Code.ShouldNotBe("valid");
        (await ValidateAsync(cms, new TrustMaterial([self]), 0)).Reason.Code.ShouldBe("valid");
    }

    private static byte[] Odd(int bits)
    {
        var number = new byte[(bits + 7) / 8];
        new Random(bits).NextBytes(number);
        number[0] = (byte)(0x80 >> ((8 - (bits % 8)) % 8));
        number[^1] |= 1;
        return number;
    }

    private static void Attributes(AsnWriter writer)
    {
        HandMade.Attribute(writer, "1.2.840.113549.1.9.3", w => w.WriteObjectIdentifier("1.2.840.113549.1.7.1"));
        HandMade.Attribute(writer, "1.2.840.113549.1.9.4", w => w.WriteOctetString(SHA256.HashData(Content)));
    }

    private static byte[] Sign(TestIdentity signer, IReadOnlyList<byte[]> crls) =>
        HandMade.SignedData(
            new(signer.Certificate, HandMade.Sha256, "1.2.840.113549.1.1.11", Attributes,
            set => signer.Rsa.SignData(set!, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1))
            {
                Crls = crls,
            });

    /// <summary>A list of the issuing CA of more than 1 MiB.</summary>
    private static byte[] LongCrl()
    {
        var builder = new CertificateRevocationListBuilder();
        for (var i = 0; i < 30_000; i++)
        {
            builder.AddEntry(
                [0x60, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, (byte)(i >> 8), (byte)i], TestPki.Now);
        }

        var list = builder.Build(
            Pki.Ca.Certificate.SubjectName, TestPki.Generator(Pki.Ca.Key), 1, TestPki.Now.AddDays(7),
            HashAlgorithmName.SHA256,
            X509AuthorityKeyIdentifierExtension.CreateFromSubjectKeyIdentifier(
                Pki.Ca.Certificate.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Single()),
            TestPki.Now.AddDays(-1));
        list.Length.ShouldBeGreaterThan(1 << 20);
        return list;
    }

    private static async Task<SignatureFinding> ValidateAsync(byte[] cms, TrustMaterial material, int maxCrls)
    {
        using CmsSignedData data = await CmsSignedData.ReadAsync(new MemoryStream(cms));
        var options = new ValidationOptions
        {
            Trust = material,
            At = TestPki.Now,
            MaxEnclosedCrlBytes = maxCrls,
            CheckRevocation = maxCrls > 0,
        };
        return (await SignatureValidator.ValidateAsync(data, new MemoryStream(Content), options))
            .ShouldHaveSingleItem();
    }
}
