using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Trust;

namespace SecureMail.Tests.Trust;

public sealed class PathValidatorTests
{
    private static readonly TestPki Pki = TestPki.Shared;

    [Fact]
    public void A_good_path_holds_leaf_first()
    {
        TestIdentity leaf = Pki.Issue("CN=Van thu,O=Dang uy", ["vanthu@a.vn"]);
        PathResult result = Validate(leaf);
        result.Status.ShouldBe(PathStatus.Valid, result.Reason.En);
        result.Path.Select(c => c.Subject).ShouldBe([leaf.Subject, Pki.Ca.Subject, Pki.Root.Subject]);
    }

    [Fact]
    public void A_path_to_nowhere_and_a_path_to_a_namesake_are_refused()
    {
        TestIdentity leaf = Pki.Issue("CN=Van thu");
        var stranger = new TestPki("Other");
        Fails(
            Validate(leaf, new TrustMaterial([stranger.Root.Certificate], [Pki.Ca.Certificate])),
            SubIndication.NoCertificateChainFound);
        Fails(Validate(leaf, new TrustMaterial([Pki.Root.Certificate])), SubIndication.NoCertificateChainFound);
        // The same names, other keys: only the signature tells.
        var namesake = new TestPki();
        Fails(
            Validate(leaf, new TrustMaterial([namesake.Root.Certificate], [namesake.Ca.Certificate])),
            SubIndication.CertificateChainGeneralFailure, "path-signature-wrong");
    }

    [Fact]
    public void The_right_one_of_two_issuers_of_one_name_is_found()
    {
        TestIdentity leaf = Pki.Issue("CN=Van thu");
        var namesake = new TestPki();
        var material = new TrustMaterial(
            [namesake.Root.Certificate, Pki.Root.Certificate], [namesake.Ca.Certificate, Pki.Ca.Certificate],
            Pki.Crls());
        Validate(leaf, material).Status.ShouldBe(PathStatus.Valid);
    }

    [Fact]
    public void Time_outside_validity_is_named_for_leaf_and_issuer()
    {
        Fails(
            Validate(Pki.Issue("CN=L", notAfter: TestPki.Now.AddDays(-1))), SubIndication.OutOfBoundsNoPoe,
            "certificate-expired");
        Fails(
            Validate(Pki.Issue("CN=L", notBefore: TestPki.Now.AddDays(1))), SubIndication.NotYetValid,
            "certificate-not-yet-valid");
        TestIdentity oldCa = Pki.IssueCa("CN=Old CA", Pki.Root, notAfter: TestPki.Now.AddDays(-1));
        Fails(
            Validate(Pki.Issue("CN=L", issuer: oldCa, notBefore: TestPki.Now.AddYears(-1)), With(oldCa)),
            SubIndication.OutOfBoundsNoPoe);
        TestIdentity oldRoot = TestPki.SelfSigned("CN=Old Root", notAfter: TestPki.Now.AddDays(-1));
        Fails(
            Validate(Pki.Issue("CN=L", issuer: oldRoot), new TrustMaterial([oldRoot.Certificate])),
            SubIndication.OutOfBoundsNoPoe);
    }

    [Fact]
    public void An_issuer_must_be_a_CA_and_allowed_to_sign_certificates()
    {
        TestIdentity notCa = Pki.IssueCa("CN=Not CA", Pki.Root, isCa: false);
        Fails(
            Validate(Pki.Issue("CN=L", issuer: notCa), With(notCa)), SubIndication.ChainConstraintsFailure,
            "issuer-not-ca");
        TestIdentity noSign = Pki.IssueCa("CN=No sign", Pki.Root, usage: X509KeyUsageFlags.CrlSign);
        Fails(
            Validate(Pki.Issue("CN=L", issuer: noSign), With(noSign)), SubIndication.ChainConstraintsFailure,
            "issuer-not-ca");
        // A leaf that issues a leaf.
        TestIdentity leaf = Pki.Issue("CN=Leaf", key: TestKey.P256);
        Fails(
            Validate(
                Pki.Issue("CN=Forged", issuer: leaf),
                new TrustMaterial([Pki.Root.Certificate], [Pki.Ca.Certificate, leaf.Certificate])),
            SubIndication.ChainConstraintsFailure,
            "issuer-not-ca");
    }

    [Fact]
    public void A_path_longer_than_an_authority_allows_is_refused()
    {
        TestIdentity limited = Pki.IssueCa("CN=Limited", Pki.Root, pathLength: 0);
        TestIdentity below = Pki.IssueCa("CN=Below", limited);
        Fails(
            Validate(Pki.Issue("CN=L", issuer: below), With(limited, below)), SubIndication.ChainConstraintsFailure,
            "path-too-long");
        Validate(Pki.Issue("CN=L", issuer: limited), With(limited)).Status.ShouldBe(PathStatus.Valid);
    }

    [Fact]
    public void An_unknown_critical_extension_is_refused_and_an_uncritical_one_is_not()
    {
        foreach (var critical in new[] { true, false })
        {
            TestIdentity leaf = Pki.Issue("CN=L", edit: r =>
                r.CertificateExtensions.Add(new X509Extension("1.2.3.4.5", [0x05, 0x00], critical)));
            if (critical)
            {
                Fails(Validate(leaf), SubIndication.ChainConstraintsFailure, "critical-extension-unknown");
            }
            else
            {
                Validate(leaf).Status.ShouldBe(PathStatus.Valid);
            }
        }
    }

    [Fact]
    public void Weak_keys_in_a_path_are_refused()
    {
        Fails(
            Validate(Pki.Issue("CN=L", key: TestKey.Rsa1024)), SubIndication.CryptoConstraintsFailure,
            "path-algorithm-weak");
        TestIdentity weakCa = Pki.IssueCa("CN=Weak CA", Pki.Root, TestKey.Rsa1024);
        Fails(
            Validate(Pki.Issue("CN=L", issuer: weakCa), With(weakCa)), SubIndication.CryptoConstraintsFailure,
            "path-algorithm-weak");
        X509Certificate2 certificate = TestPki
            .Request("CN=L", TestPki.Key(TestKey.Rsa2048))
            .Create(
                Pki.Ca.Certificate.SubjectName, new Sha1Generator((ECDsa)Pki.Ca.Key), TestPki.Now.AddDays(-1),
                TestPki.Now.AddDays(1), [7]);
        Fails(
            Validate(new TestIdentity(certificate, Pki.Ca.Key)), SubIndication.CryptoConstraintsFailure,
            "path-algorithm-weak");
    }

    [Theory]
    [InlineData("permitted", "a.vn", "x@a.vn", true)]
    [InlineData("permitted", "a.vn", "x@A.VN", true)]
    [InlineData("permitted", "a.vn", "x@sub.a.vn", false)]
    [InlineData("permitted", ".a.vn", "x@sub.a.vn", true)]
    [InlineData("permitted", ".a.vn", "x@a.vn", false)]
    [InlineData("permitted", "x@a.vn", "x@a.vn", true)]
    [InlineData("permitted", "x@a.vn", "y@a.vn", false)]
    [InlineData("permitted", "a.vn", "x@evila.vn", false)]
    [InlineData("excluded", "a.vn", "x@a.vn", false)]
    [InlineData("excluded", ".a.vn", "x@sub.a.vn", false)]
    [InlineData("excluded", "a.vn", "x@b.vn", true)]
    public void Name_constraints_hold_for_addresses(string kind, string constraint, string address, bool allowed)
    {
        TestIdentity ca = Constrained(kind, new Asn1Tag(TagClass.ContextSpecific, 1), constraint);
        PathResult result = Validate(Pki.Issue("CN=L", [address], issuer: ca), With(ca));
        if (allowed)
        {
            result.Status.ShouldBe(PathStatus.Valid, result.Reason.En);
        }
        else
        {
            Fails(result, SubIndication.ChainConstraintsFailure, "name-not-allowed");
        }
    }

    [Theory]
    [InlineData("permitted", "a.vn", "mail.a.vn", true)]
    [InlineData("permitted", "a.vn", "a.vn", true)]
    [InlineData("permitted", "a.vn", "ba.vn", false)]
    [InlineData("excluded", "a.vn", "mail.a.vn", false)]
    public void Name_constraints_hold_for_hosts(string kind, string constraint, string host, bool allowed)
    {
        TestIdentity ca = Constrained(kind, new Asn1Tag(TagClass.ContextSpecific, 2), constraint);
        TestIdentity leaf = Pki.Issue("CN=L", issuer: ca, edit: r =>
        {
            var names = new SubjectAlternativeNameBuilder();
            names.AddDnsName(host);
            r.CertificateExtensions.Add(names.Build());
        });
        (Validate(leaf, With(ca)).Status == PathStatus.Valid).ShouldBe(allowed);
    }

    [Theory]
    [InlineData("permitted", "C=VN,O=Dang", "CN=L,O=Dang,C=VN", true)]
    [InlineData("permitted", "C=VN,O=Dang", "CN=L,O=ĐANG,C=VN", false)]
    [InlineData("permitted", "C=VN,O=Dang", "CN=L,O=dang  ,C=VN", true)]
    [InlineData("excluded", "C=VN,O=Dang", "CN=L,O=Dang,C=VN", false)]
    [InlineData("excluded", "C=VN,O=Dang", "CN=L,O=Khac,C=VN", true)]
    public void Name_constraints_hold_for_directory_names(string kind, string subtree, string subject, bool allowed)
    {
        var name = new X500DistinguishedName(string.Join(",", subtree.Split(',').Reverse())).RawData;
        TestIdentity ca = Constrained(kind, w =>
        {
            using (w.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 4)))
            {
                w.WriteEncodedValue(name);
            }
        });
        (Validate(Pki.Issue(subject, issuer: ca), With(ca)).Status == PathStatus.Valid).ShouldBe(allowed);
    }

    [Fact]
    public void Names_match_whatever_their_case_blanks_and_string_type()
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        using (writer.PushSetOf())
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier("2.5.4.3");
            writer.WriteCharacterString(UniversalTagNumber.PrintableString, " blank   CASE ");
        }
        TestIdentity ca = Pki.IssueCa("CN=Blank case", Pki.Root);
        CertificateRequest request = TestPki.Request("CN=L", TestPki.Key(TestKey.P256));
        X509Certificate2 leaf = request.Create(
            new X500DistinguishedName(writer.Encode()), TestPki.Generator(ca.Key), TestPki.Now.AddDays(-1),
            TestPki.Now.AddDays(1), [9]);
        Validate(new TestIdentity(leaf, ca.Key), With(ca)).Status.ShouldBe(PathStatus.Valid);
    }

    [Fact]
    public void Policies_are_processed_and_answered()
    {
        TestIdentity ca = Pki.IssueCa("CN=Policy CA", Pki.Root, edit: r =>
            r.CertificateExtensions.Add(Policies("1.2.3.1", "1.2.3.2")));
        TestIdentity leaf = Pki.Issue("CN=L", issuer: ca, edit: r =>
            r.CertificateExtensions.Add(Policies("1.2.3.2", "1.2.3.3")));
        PathOptions options = Options();
        Validate(leaf, With(ca), options).Policies.ShouldBe(["1.2.3.2"]);
        Validate(leaf, With(ca), options with { RequireExplicitPolicy = true }).Status.ShouldBe(PathStatus.Valid);
        Validate(
            leaf,
            With(ca),
            options with
            {
                RequireExplicitPolicy = true,
                Policies = new HashSet<string> { "1.2.3.2" },
            })
            .Status.ShouldBe(PathStatus.Valid);
        Fails(
            Validate(
                leaf,
                With(ca),
                options with
                {
                    RequireExplicitPolicy = true,
                    Policies = new HashSet<string> { "1.2.3.1" },
                }),
            SubIndication.ChainConstraintsFailure,
            "policy-not-allowed");
        Fails(
            Validate(Pki.Issue("CN=L"), options: options with { RequireExplicitPolicy = true }),
            SubIndication.ChainConstraintsFailure, "policy-not-allowed");
    }

    [Fact]
    public void Policy_mapping_is_followed_unless_it_is_inhibited()
    {
        TestIdentity ca = Pki.IssueCa("CN=Mapping CA", Pki.Root, edit: r =>
        {
            r.CertificateExtensions.Add(Policies("1.2.3.1"));
            r.CertificateExtensions.Add(
                new X509Extension(
                    "2.5.29.33",
                    Encode(w =>
                    {
                        using (w.PushSequence())
                        using (w.PushSequence())
                        {
                            w.WriteObjectIdentifier("1.2.3.1");
                            w.WriteObjectIdentifier("1.2.3.9");
                        }
                    }),
                    critical: true));
        });
        TestIdentity leaf = Pki.Issue("CN=L", issuer: ca, edit: r => r.CertificateExtensions.Add(Policies("1.2.3.9")));
        PathOptions options = Options() with { RequireExplicitPolicy = true };
        Validate(leaf, With(ca), options).Policies.ShouldBe(["1.2.3.1"]);
        Fails(
            Validate(leaf, With(ca), options with { InhibitPolicyMapping = true }),
            SubIndication.ChainConstraintsFailure, "policy-not-allowed");
    }

    [Fact]
    public void No_revocation_list_a_stale_one_and_a_forged_one_leave_it_undetermined()
    {
        TestIdentity leaf = Pki.Issue("CN=L");
        var rootCrl = Pki.Crl(Pki.Root);
        foreach (
            var crls in new byte[][][]
            {
                [],
                [rootCrl],
                [rootCrl, Pki.Crl(thisUpdate: TestPki.Now.AddDays(-9), nextUpdate: TestPki.Now.AddDays(-2))],
                [rootCrl, Pki.Crl(signWith: TestPki.Key(TestKey.P256, 5))],
                [rootCrl, [0x30, 0x00]],
            })
        {
            PathResult result = Validate(leaf, new TrustMaterial([Pki.Root.Certificate], [Pki.Ca.Certificate], crls));
            result.Status.ShouldBe(PathStatus.Indeterminate);
            result.SubIndication.ShouldBe(SubIndication.TryLater);
        }
        Validate(
            leaf,
            new TrustMaterial([Pki.Root.Certificate], [Pki.Ca.Certificate]),
            Options() with
            {
                CheckRevocation = false,
            })
            .Reason.Code.ShouldBe("valid-revocation-not-checked");
    }

    [Fact]
    public void A_revoked_certificate_is_not_trusted_from_its_date_on()
    {
        TestIdentity leaf = Pki.Issue("CN=L");
        var crl = Pki.Crl(
            revoked: [leaf.Certificate], revokedAt: TestPki.Now.AddDays(-10),
            reason: X509RevocationReason.KeyCompromise);
        var material = new TrustMaterial(
            [Pki.Root.Certificate], [Pki.Ca.Certificate],
            [Pki.Crl(Pki.Root, thisUpdate: TestPki.Now.AddDays(-30)), crl]);
        Fails(Validate(leaf, material), SubIndication.RevokedNoPoe, "certificate-revoked");
        Validate(leaf, material, Options() with { At = TestPki.Now.AddDays(-11) }).Status.ShouldBe(PathStatus.Valid);
        // A stale list still proves a revocation.
        var stale = Pki.Crl(
            revoked: [leaf.Certificate], thisUpdate: TestPki.Now.AddDays(-9), nextUpdate: TestPki.Now.AddDays(-8));
        Fails(
            Validate(leaf, new TrustMaterial([Pki.Root.Certificate], [Pki.Ca.Certificate], [Pki.Crl(Pki.Root), stale])),
            SubIndication.RevokedNoPoe);
        // An issuer that is revoked takes everything below with it.
        Fails(
            Validate(
                leaf,
                new TrustMaterial(
                    [Pki.Root.Certificate], [Pki.Ca.Certificate], [Pki.Crl(Pki.Root, [Pki.Ca.Certificate]), Pki.Crl()])
            ),
            SubIndication.RevokedNoPoe);
    }

    [Fact]
    public void A_revocation_list_of_a_CA_that_may_not_sign_lists_says_nothing()
    {
        TestIdentity ca = Pki.IssueCa("CN=No lists", Pki.Root, usage: X509KeyUsageFlags.KeyCertSign);
        TestIdentity leaf = Pki.Issue("CN=L", issuer: ca);
        Validate(leaf, new TrustMaterial([Pki.Root.Certificate], [ca.Certificate], [Pki.Crl(Pki.Root), Pki.Crl(ca)]))
            .Status.ShouldBe(PathStatus.Indeterminate);
    }

    [Fact]
    public void An_anchor_that_signs_is_trusted_for_itself_and_a_circle_ends()
    {
        TestIdentity self = TestPki.SelfSigned("CN=Self");
        Validate(self, new TrustMaterial([self.Certificate])).Status.ShouldBe(PathStatus.Valid);
        Fails(
            Validate(self, new TrustMaterial([Pki.Root.Certificate], [self.Certificate])),
            SubIndication.NoCertificateChainFound);

        // Two CAs that certify each other, and no anchor.
        TestIdentity one = TestPki.SelfSigned("CN=One");
        TestIdentity two = Pki.IssueCa("CN=Two", one);
        X509Certificate2 cross = TestPki
            .Request("CN=One", one.Key)
            .Create(
                two.Certificate.SubjectName, TestPki.Generator(two.Key), TestPki.Now.AddDays(-1),
                TestPki.Now.AddDays(1), [5]);
        TestIdentity leaf = Pki.Issue("CN=L", issuer: one);
        Validate(leaf, new TrustMaterial([Pki.Root.Certificate], [two.Certificate, cross]))
            .Status.ShouldBe(PathStatus.Invalid);
    }

    [Fact]
    public void A_thicket_of_namesakes_costs_a_bounded_number_of_signatures()
    {
        TestIdentity[] thicket = [.. Enumerable.Range(0, 60).Select(_ => TestPki.SelfSigned("CN=Thicket"))];
        var crossed = new List<X509Certificate2>();
        foreach (TestIdentity issuer in thicket)
        {
            for (var i = 0; i < 10; i++)
            {
                crossed.Add(
                    TestPki
                        .Request("CN=Thicket", thicket[i].Key)
                        .Create(
                            issuer.Certificate.SubjectName, TestPki.Generator(issuer.Key), TestPki.Now.AddDays(-1),
                            TestPki.Now.AddDays(1), [(byte)(i + 1)]));
            }
        }
        TestIdentity leaf = Pki.Issue("CN=L", issuer: thicket[0]);
        PathResult result = Validate(leaf, new TrustMaterial([Pki.Root.Certificate], crossed));
        result.Status.ShouldBe(PathStatus.Invalid);
        result.Reason.Code.ShouldBe("path-too-complex");
    }

    [Fact]
    public void Material_is_loaded_from_files_and_folders_in_PEM_and_DER()
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("trust");
        try
        {
            var root = Path.Combine(folder.FullName, "root.pem");
            var mixed = Path.Combine(folder.FullName, "ca.der");
            var crl = Path.Combine(folder.FullName, "ca.crl");
            var other = Path.Combine(folder.FullName, "notes.txt");
            File.WriteAllText(
                root, Pki.Root.Certificate.ExportCertificatePem() + "\n" + Pki.Ca.Certificate.ExportCertificatePem());
            File.WriteAllBytes(mixed, Pki.Ca.Certificate.RawData);
            File.WriteAllText(crl, PemEncoding.WriteString("X509 CRL", Pki.Crl()));
            File.WriteAllText(other, "no certificate");

            TrustMaterial.Load([root]).Anchors.Count.ShouldBe(2);
            TrustMaterial.Load([folder.FullName], [mixed], [crl]).CrlCount.ShouldBe(1);
            TrustMaterial.Load([folder.FullName]).Anchors.Count.ShouldBe(3);
            TrustMaterial.LoadCertificates(mixed).ShouldHaveSingleItem();
            Should.Throw<InvalidDataException>(() => TrustMaterial.Load([other]));
            Should.Throw<IOException>(() => TrustMaterial.Load([Path.Combine(folder.FullName, "absent")]));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    internal static PathOptions Options() => new() { At = TestPki.Now };

    private static TrustMaterial With(params TestIdentity[] authorities)
    {
        byte[][] crls = [Pki.Crl(Pki.Root), .. authorities.Select(a => Pki.Crl(a))];
        return new TrustMaterial([Pki.Root.Certificate], authorities.Select(a => a.Certificate), crls);
    }

    private static PathResult Validate(
        TestIdentity leaf, TrustMaterial? material = null, PathOptions? options = null) =>
        PathValidator.Validate(
            leaf.Certificate, material ?? new TrustMaterial([Pki.Root.Certificate], [Pki.Ca.Certificate], Pki.Crls()),
            options ?? Options());

    private static void Fails(PathResult result, SubIndication sub, string? code = null)
    {
        result.Status.ShouldBe(PathStatus.Invalid);
        result.SubIndication.ShouldBe(sub);
        if (code is not null)
        {
            result.Reason.Code.ShouldBe(code);
        }
    }

    private static TestIdentity Constrained(string kind, Asn1Tag tag, string text) =>
        Constrained(kind, w => w.WriteCharacterString(UniversalTagNumber.IA5String, text, tag));

    private static TestIdentity Constrained(string kind, Action<AsnWriter> name) =>
        Pki.IssueCa("CN=Constrained", Pki.Root, edit: r => r.CertificateExtensions.Add(
                new X509Extension(
                    "2.5.29.30",
                    Encode(w =>
                    {
                        using (w.PushSequence())
                        using (w.PushSequence(new Asn1Tag(TagClass.ContextSpecific, kind == "permitted" ? 0 : 1)))
                        using (w.PushSequence())
                        {
                            name(w);
                        }
                    }),
                    critical: true)));

    private static X509Extension Policies(params string[] policies) =>
        new(
            "2.5.29.32",
            Encode(w =>
            {
                using (w.PushSequence())
                {
                    foreach (var policy in policies)
                    {
                        using (w.PushSequence())
                        {
                            w.WriteObjectIdentifier(policy);
                        }
                    }
                }
            }),
            critical: true);

    private static byte[] Encode(Action<AsnWriter> write)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        write(writer);
        return writer.Encode();
    }

    /// <summary>ecdsa-with-SHA1, which the platform no longer writes.</summary>
    private sealed class Sha1Generator(ECDsa key) : X509SignatureGenerator
    {
        public override byte[] GetSignatureAlgorithmIdentifier(HashAlgorithmName hashAlgorithm) =>
            [0x30, 0x09, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x01];

        public override byte[] SignData(byte[] data, HashAlgorithmName hashAlgorithm) =>
            key.SignData(data, HashAlgorithmName.SHA1, DSASignatureFormat.Rfc3279DerSequence);

        protected override PublicKey BuildPublicKey() => new(key);
    }
}
