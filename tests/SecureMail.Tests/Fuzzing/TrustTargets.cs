using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Org.BouncyCastle.Asn1;
using Org.BouncyCastle.Pkix;
using Org.BouncyCastle.Security.Certificates;
using Org.BouncyCastle.X509;
using SecureMail.Cms;
using SecureMail.TestKit.Mutators;
using SecureMail.Trust;

namespace SecureMail.Tests.Fuzzing;

/// <summary>
/// Certificates and revocation lists. A mutant's signature is wrong, and then the validator looks no further. So a
/// mutant is also signed anew by its issuer, with the keys of tests/vectors/cms/recipients, and what we accept then
/// BouncyCastle must accept too.
/// </summary>
internal static class TrustTargets
{
    private static readonly DateTimeOffset At = new(2026, 6, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly Mutator[] Der = [DerMutator.Mutate];

    static TrustTargets() => SecureMail.Libcrypto.BouncyCastle.Configure();

    /// <summary>A certificate that we read, the platform and BouncyCastle read to the same fields.</summary>
    public static FuzzTarget Certificate { get; } =
        new("certificate", "a certificate (RFC 5280 §4)", _ => ReaderOfCertificates())
        {
            Refusals = [typeof(CryptographicException)],
            Mutators = [DerMutator.Mutate, DerMutator.Mutate, OctetMutator.Mutate],
        };

    /// <summary>A path of a CA and a leaf that we call valid, BouncyCastle calls valid: names, name constraints,
    /// policies, usages.</summary>
    public static FuzzTarget Path { get; } =
        new("path", "a CA certificate and a leaf below it, signed anew (RFC 5280 §6)", _ => ReaderOfPaths())
        {
            Refusals = [typeof(AsnContentException), typeof(CryptographicException)],
            Mutators = Der,
            Mutants = 200,
        };

    /// <summary>A list that is not signed says nothing new. Of a list that is signed, what we take for "not revoked"
    /// BouncyCastle does not read as revoked.</summary>
    public static FuzzTarget Crl { get; } =
        new("crl", "a revocation list (RFC 5280 §5), as it is and signed anew", _ => ReaderOfCrls())
        {
            Refusals = [typeof(AsnContentException)],
            Mutators = [DerMutator.Mutate, DerMutator.Mutate, OctetMutator.Mutate],
            Mutants = 500,
        };

    /// <summary>What is found in a file stands in it, and is found again when it is written as PEM.</summary>
    public static FuzzTarget TrustFile { get; } =
        new("trust-file", "a file of anchors, intermediates or revocation lists: DER, PEM, p7b", ReaderOfTrustFiles)
        {
            Refusals = [typeof(InvalidDataException)],
            Mutators = [OctetMutator.Mutate, LineMutator.Mutate, DerMutator.Mutate],
            Vectors = ["cms/*.pem", "cms/*.crl", "cms/peers/*.crl", "cms/attached-revoked.der"],
            Mutants = 500,
        };

    private static PathOptions Options => new() { At = At, CheckRevocation = false };

    private static FuzzRead ReaderOfCertificates()
    {
        var parser = new X509CertificateParser();
        var ecdsa = new byte[] { 0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01 };
        return input =>
        {
            if (CmsCertificate.TryRead(input) is { } cms)
            {
                cms.Key?.VerifyEcdsa(new byte[32], ecdsa).ShouldBeFalse();
                cms.Key?.VerifyRsaPkcs1(new byte[32], HashAlgorithmName.SHA256, new byte[256]).ShouldBeFalse();
                cms.Key?.VerifyEd25519([1], new byte[64]).ShouldBeFalse();
                cms.SubjectKeyIdentifier();
                cms.RsaModulusSize();
            }

            // The platform reads a certificate first. What it refuses never reaches us.
            using var certificate = X509CertificateLoader.LoadCertificate(input);
            if (ParsedCertificate.TryRead(certificate) is not { } ours)
            {
                return null;
            }

            _ = CertificateAddresses.Of(certificate);
            Convert.FromHexString(ours.Serial).ShouldBe(certificate.SerialNumberBytes.ToArray());
            ours.NotBefore.UtcDateTime.ShouldBe(certificate.NotBefore.ToUniversalTime());
            ours.NotAfter.UtcDateTime.ShouldBe(certificate.NotAfter.ToUniversalTime());
            if (UnlessUnreadable(() => parser.ReadCertificate(certificate.RawData)) is not { } theirs)
            {
                return $"by us alone, critical {ours.HasUnknownCriticalExtension}";
            }

            // Ours are the octets that were signed. BouncyCastle writes its own, without unused bits that are set.
            input.AsSpan().IndexOf(ours.Tbs.Span).ShouldBeGreaterThan(0);
            theirs.GetTbsCertificate().ShouldBe(Rewritten(ours.Tbs));
            theirs.CertificateStructure.SubjectPublicKeyInfo.GetDerEncoded()
                .ShouldBe(Rewritten(ours.SubjectPublicKeyInfo));
            (theirs.GetBasicConstraints() >= 0).ShouldBe(ours.IsCa);
            if (theirs.GetKeyUsage() is { } bits)
            {
                bits.ElementAtOrDefault(5).ShouldBe(ours.KeyUsage!.Value.HasFlag(KeyUsages.KeyCertSign));
                bits.ElementAtOrDefault(6).ShouldBe(ours.KeyUsage!.Value.HasFlag(KeyUsages.CrlSign));
                bits.ElementAtOrDefault(0).ShouldBe(ours.KeyUsage!.Value.HasFlag(KeyUsages.DigitalSignature));
            }
            else
            {
                ours.KeyUsage.ShouldBeNull();
            }

            return $"v{ours.Version}, ca {ours.IsCa}, usages {ours.KeyUsage}, names {ours.AlternativeNames.Count > 0}, "
                + $"unknown critical {ours.HasUnknownCriticalExtension}";
        };
    }

    private static FuzzRead ReaderOfPaths()
    {
        var (rootKey, caKey) = (KeyOf("p256"), KeyOf("p384"));
        var root = RootOf(rootKey);
        var material = new TrustMaterial([root]);
        var parser = new X509CertificateParser();
        var anchor = new HashSet<TrustAnchor> { new(parser.ReadCertificate(root.RawData), null) };
        return input =>
        {
            var pair = new AsnReader(input, AsnEncodingRules.BER).ReadSequence();
            var ca = X509CertificateLoader.LoadCertificate(Signed(pair.ReadEncodedValue(), rootKey));
            var leaf = X509CertificateLoader.LoadCertificate(Signed(pair.ReadEncodedValue(), caKey));
            using (ca)
            using (leaf)
            {
                var intermediates = new TrustMaterial([root], [ca]);
                // The order of the two must not matter either: the pair may be read as a loop.
                PathValidator.Validate(ca, new TrustMaterial([root], [leaf, ca]), Options);
                var result = PathValidator.Validate(leaf, intermediates, Options);
                if (result.Status != PathStatus.Valid)
                {
                    PathValidator.Validate(leaf, material, Options).Status.ShouldNotBe(PathStatus.Valid);
                    throw new RefusedException(result.Reason.Code);
                }

                if (Reason(leaf, ca) is { } reason)
                {
                    throw new ShouldAssertException($"BouncyCastle refuses the path: {reason}");
                }

                return $"{result.Path.Count} certificates, {Math.Min(result.Policies.Count, 4)} policies";
            }
        };

        string? Reason(X509Certificate2 leaf, X509Certificate2 ca)
        {
            var chain = new[] { leaf, ca }
                .Select(c => UnlessUnreadable(() => parser.ReadCertificate(c.RawData)))
                .OfType<Org.BouncyCastle.X509.X509Certificate>()
                .ToList();
            if (chain.Count < 2)
            {
                return null;
            }

            try
            {
                new PkixCertPathValidator().Validate(
                    new PkixCertPath(chain),
                    new PkixParameters(anchor) { IsRevocationEnabled = false, Date = At.UtcDateTime });
                return null;
            }
            catch (PkixCertPathValidatorException e)
            {
                // It reads the names in an extension as text, and refuses octets that are none. We compare such a name
                // by its octets.
                return e.Message.EndsWith("could not be decoded.", StringComparison.Ordinal)
                    // No name is below the empty name to it; RFC 5280 §4.2.1.10 has them all there.
                    || (e.Message.StartsWith("Subtree check", StringComparison.Ordinal) && NamesTheEmptyName(ca))
                    // A line end in a name is a blank (RFC 4518 §2.2); to it, it is another name.
                    || (e.Message.StartsWith("IssuerName(", StringComparison.Ordinal) && e.Message.Any(char.IsControl))
                    ? null
                    : e.Message;
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                // It fails otherwise at what it cannot read, such as a leaf's key of an unknown curve.
                return null;
            }
        }
    }

    /// <summary>Whether a directoryName in it has no parts, or a subtree of names of hosts no labels.</summary>
    private static bool NamesTheEmptyName(X509Certificate2 certificate)
    {
        ReadOnlySpan<byte> directory = [0xA4, 0x02, 0x30, 0x00];
        ReadOnlySpan<byte> host = [0x30, 0x02, 0x82, 0x00];
        var octets = certificate.RawDataMemory.Span;
        return octets.IndexOf(directory) >= 0 || octets.IndexOf(host) >= 0;
    }

    /// <summary>What BouncyCastle reads; null where it reads nothing, because there it has no other opinion.</summary>
    private static T? UnlessUnreadable<T>(Func<T> read)
        where T : class
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is CertificateException or CrlException)
        {
            return null;
        }
    }

    private static FuzzRead ReaderOfCrls()
    {
        var key = KeyOf("p384");
        using var rootKey = KeyOf("p256");
        var root = RootOf(rootKey);
        var pair = new AsnReader(
            Vectors.Read("fuzz/path", "plain.der"), AsnEncodingRules.DER).ReadSequence();
        var ca = X509CertificateLoader.LoadCertificate(Signed(pair.ReadEncodedValue(), rootKey));
        var leaf = X509CertificateLoader.LoadCertificate(Signed(pair.ReadEncodedValue(), key));
        var (issuer, subject) = (ParsedCertificate.TryRead(ca)!, ParsedCertificate.TryRead(leaf)!);
        var bouncy = new X509CrlParser();
        var theirs = new X509CertificateParser().ReadCertificate(leaf.RawData);
        var signedByCa = Crl.Samples().Where(c => CertificateRevocationList.TryRead(c)?.IsSignedBy(issuer) == true)
            .Select(TbsOf)
            .ToList();
        signedByCa.Count.ShouldBeGreaterThan(0);
        return input =>
        {
            if (CertificateRevocationList.TryRead(input) is { } asItCame)
            {
                // Only what the issuer signed counts: a mutant with another TBS has a wrong signature.
                (asItCame.IsSignedBy(issuer) && !signedByCa.Contains(TbsOf(input))).ShouldBeFalse();
            }

            var signed = Signed(input, key);
            if (CertificateRevocationList.TryRead(signed) is not { } ours || !ours.IsSignedBy(issuer))
            {
                return null;
            }

            var status = ours.StatusOf(subject, At);
            if (status == RevocationStatus.NotRevoked)
            {
                var entry = UnlessUnreadable(() => bouncy.ReadCrl(signed))?.GetRevokedCertificate(theirs.SerialNumber);
                if (entry is not null && entry.RevocationDate <= At.UtcDateTime)
                {
                    throw new ShouldAssertException("BouncyCastle reads the certificate as revoked");
                }
            }

            return $"{status}, next {ours.NextUpdate is not null}";
        };
    }

    private static FuzzRead ReaderOfTrustFiles(string folder)
    {
        var file = System.IO.Path.Combine(folder, "trust");
        var again = System.IO.Path.Combine(folder, "again.pem");
        return input =>
        {
            File.WriteAllBytes(file, input);
            List<byte[]> crls = SecureMail.Trust.TrustFile.ReadCrls(
                file, d => CertificateRevocationList.TryRead(d) is null ? null : d.ToArray());
            if (crls.Count > 0)
            {
                var pem = crls.Select(c => PemEncoding.WriteString("X509 CRL", c) + "\n");
                File.WriteAllText(again, string.Concat(pem));
                TrustMaterial.Load([], null, [again]).CrlCount.ShouldBe(crls.Count);
                return $"{Math.Min(crls.Count, 3)} lists";
            }

            var certificates = TrustMaterial.LoadCertificates(file);
            File.WriteAllText(again, string.Concat(certificates.Select(c => c.ExportCertificatePem() + "\n")));
            TrustMaterial.LoadCertificates(again).Select(c => c.Thumbprint)
                .ShouldBe(certificates.Select(c => c.Thumbprint));
            return $"{Math.Min(certificates.Count, 3)} certificates";
        };
    }

    private static X509Certificate2 RootOf(ECDsa key)
    {
        var name = new X500DistinguishedName(Vectors.Read("fuzz/distinguished-name", "root.der"));
        var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, critical: true));
        request.CertificateExtensions.Add(
            new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        return request.Create(
            request.SubjectName, X509SignatureGenerator.CreateForECDsa(key), At.AddYears(-5), At.AddYears(20), [1]);
    }

    private static ECDsa KeyOf(string name)
    {
        var key = ECDsa.Create();
        key.ImportFromPem(System.Text.Encoding.ASCII.GetString(Vectors.Read("cms/recipients", name + ".key")));
        return key;
    }

    private static byte[] Rewritten(ReadOnlyMemory<byte> encoded) =>
        Asn1Object.FromByteArray(encoded.ToArray()).GetDerEncoded();

    private static string TbsOf(byte[] signed) =>
        Convert.ToHexString(new AsnReader(signed, AsnEncodingRules.BER).ReadSequence().ReadEncodedValue().Span);

    /// <summary>A certificate or list with its first part as it is, in BER too, and a signature of this key over
    /// it.</summary>
    /// <exception cref="AsnContentException">It is no sequence that begins with an element.</exception>
    internal static byte[] Signed(ReadOnlyMemory<byte> certificateOrList, ECDsa key)
    {
        var tbs = new AsnReader(certificateOrList, AsnEncodingRules.BER).ReadSequence().ReadEncodedValue();
        var writer = new AsnWriter(AsnEncodingRules.BER);
        using (writer.PushSequence())
        {
            writer.WriteEncodedValue(tbs.Span);
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier("1.2.840.10045.4.3.2"); // ecdsa-with-SHA256
            }

            writer.WriteBitString(
                key.SignData(tbs.Span, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence));
        }

        return writer.Encode();
    }
}
