using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Trust;

namespace SecureMail.Gateway.Keys;

/// <summary>
/// Chooses which of an agency's certificates is used now: the path must be valid and the certificate not revoked; the
/// youngest comes first. An expired certificate never stands in the way of a valid one.
/// </summary>
internal sealed class CertificateChoice(GatewayTrust trust, TimeProvider time)
{
    /// <summary>Null when the addressee has none that may be encrypted to.</summary>
    public X509Certificate2? BestForEncryption(Agency agency) =>
        Valid(agency, CertificateUse.Encrypt, EnvelopeRecipient.RequiredKeyUsage).FirstOrDefault()?.Path[0];

    /// <summary>The agency's valid certificates for a use that signs, best first: each a path, leaf first.</summary>
    /// <param name="use">One of <see cref="CertificateUse"/>.</param>
    public IReadOnlyList<PathResult> ForSigning(Agency agency, string use) =>
        [
            .. Valid(agency, use, _ => X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.NonRepudiation),
        ];

    // Revocation that cannot be checked now does not stop a dispatch, because the addressee validates for itself. A
    // revoked certificate stops it.
    private IEnumerable<PathResult> Valid(
        Agency agency, string use, Func<X509Certificate2, X509KeyUsageFlags> usage) =>
        agency.CertificatesFor(use)
            .Where(c => c.HoldsAt(time.GetUtcNow()))
            .Select(c => c.Certificate)
            .Where(c =>
                c.Extensions.OfType<X509KeyUsageExtension>()
                    .All(e => (e.KeyUsages & usage(c)) != X509KeyUsageFlags.None))
            .Select(c => PathValidator.Validate(c, trust.Material, new PathOptions { At = time.GetUtcNow() }))
            .Where(p => p.Status is PathStatus.Valid or PathStatus.Indeterminate)
            .OrderBy(p => p.Status == PathStatus.Valid ? 0 : 1)
            .ThenByDescending(p => p.Path[0].NotBefore);
}
