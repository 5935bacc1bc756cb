using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Trust;

namespace SecureMail.Tests.Trust;

public sealed class TrustFuzzTests
{
    private static readonly TestPki Pki = TestPki.Shared;

    [Fact]
    public void A_mutated_certificate_is_validated_and_never_trusted()
    {
        TestIdentity rich = Pki.Issue("CN=Rich,O=A,C=VN", ["a@a.vn"], edit: r =>
        {
            r.CertificateExtensions.Add(
                new X509Extension("2.5.29.32", Convert.FromHexString("300b300906072a864886f70d01"), critical: false));
            r.CertificateExtensions.Add(
                new X509Extension(
                    "2.5.29.30", Convert.FromHexString("3010a00e300c810a2e64616e6775792e766e"), critical: false));
            r.CertificateExtensions.Add(
                new X509Extension("2.5.29.36", Convert.FromHexString("3006800100810100"), critical: false));
        });
        var material = new TrustMaterial([Pki.Root.Certificate], [Pki.Ca.Certificate], Pki.Crls());
        byte[][] corpus = [rich.Certificate.RawData, Pki.Ca.Certificate.RawData, Pki.Root.Certificate.RawData];
        Fuzz.Run(corpus, 5, 6000, input =>
        {
            X509Certificate2 certificate;
            try
            {
                certificate = X509CertificateLoader.LoadCertificate(input);
            }
            catch (CryptographicException)
            {
                return; // the platform reads it first; what it refuses never reaches us
            }
            using (certificate)
            {
                PathResult result = PathValidator.Validate(certificate, material, PathValidatorTests.Options());
                // Octets behind the certificate are dropped by the platform: then it is the certificate itself.
                if (!corpus.Any(c => c.AsSpan().SequenceEqual(certificate.RawData)))
                {
                    result.Status.ShouldBe(PathStatus.Invalid);
                }
                // And as an issuer it must not break the search.
                PathValidator.Validate(
                    rich.Certificate, new TrustMaterial([certificate], [certificate], Pki.Crls()),
                    PathValidatorTests.Options());
                _ = CertificateAddresses.Of(certificate);
            }
        });
    }

    [Fact]
    public void A_mutated_revocation_list_says_nothing_new()
    {
        TestIdentity leaf = Pki.Issue("CN=L");
        var root = Pki.Crl(Pki.Root);
        var good = Pki.Crl(
            revoked: [leaf.Certificate], revokedAt: TestPki.Now.AddDays(-1),
            reason: X509RevocationReason.KeyCompromise);
        Fuzz.Run([good], 6, 10_000, input =>
        {
            PathResult result = PathValidator.Validate(
                leaf.Certificate, new TrustMaterial([Pki.Root.Certificate], [Pki.Ca.Certificate], [root, input]),
                PathValidatorTests.Options());
            result.Status.ShouldNotBe(PathStatus.Valid);
        });
    }
}
