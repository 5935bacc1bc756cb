namespace SecureMail.Trust;

/// <summary>
/// The revocation status of certificates by the CRLs given (RFC 5280 §6.3), for one call of
/// <see cref="PathValidator.Validate"/>. Results of CRL signatures are kept, because several certificates of a path can
/// have the same CRL.
/// </summary>
/// <param name="at">The validation time.</param>
/// <param name="tryCountVerification">Counts one signature verification; false when the limit is reached.</param>
/// <param name="hasPathTo">Whether a CRL signer has a valid path of its own to an anchor.</param>
internal sealed class RevocationChecker(
    TrustMaterial material, TrustMaterial? extra, DateTimeOffset at,
    Func<List<ParsedCertificate>, bool> tryCountVerification,
    Func<ParsedCertificate, ParsedCertificate, bool> hasPathTo)
{
    private readonly Dictionary<(CertificateRevocationList, ParsedCertificate), bool> _crlSignatures = [];
    private readonly Dictionary<ParsedCertificate, bool> _trustedCrlSigners = [];

    /// <summary>The status of a certificate of the path, by the first CRL that revokes it or else by any that shows it
    /// is not revoked.</summary>
    /// <param name="issuer">The certificate above it in the path.</param>
    /// <param name="path">The whole path, leaf first and anchor last.</param>
    public RevocationStatus StatusOf(
        ParsedCertificate certificate, ParsedCertificate issuer, List<ParsedCertificate> path)
    {
        var status = RevocationStatus.Unknown;
        foreach (var crl in material.CrlsOf(certificate.Issuer).Concat(extra?.CrlsOf(certificate.Issuer) ?? []))
        {
            var byThis = crl.StatusOf(certificate, at);
            // A CRL that would not change the status need not be verified.
            if (byThis == RevocationStatus.Unknown || byThis == status || !IsAuthentic(crl, issuer, path))
            {
                continue;
            }

            if (byThis == RevocationStatus.Revoked)
            {
                return byThis;
            }

            status = byThis;
        }

        return status;
    }

    /// <summary>
    /// Checks §6.3.3 (f), (g): the CRL is signed by the issuer's key in the path, or by another key of that name whose
    /// certificate has a valid path of its own to the same anchor. A CA has such a key after a key change, or for its
    /// CRLs only.
    /// </summary>
    private bool IsAuthentic(CertificateRevocationList crl, ParsedCertificate issuer, List<ParsedCertificate> path)
    {
        if (IsSignedBy(crl, issuer, path))
        {
            return true;
        }

        var others = material
            .AnchorsNamed(crl.Issuer)
            .Concat(material.IntermediatesNamed(crl.Issuer))
            .Concat(extra?.IntermediatesNamed(crl.Issuer) ?? []);
        foreach (var other in others)
        {
            if (!other.IsSameAs(issuer) && IsSignedBy(crl, other, path) && IsTrustedSigner(other, path[^1]))
            {
                return true;
            }
        }

        return false;
    }

    private bool IsSignedBy(CertificateRevocationList crl, ParsedCertificate signer, List<ParsedCertificate> path)
    {
        if (!_crlSignatures.TryGetValue((crl, signer), out var signed))
        {
            _crlSignatures[(crl, signer)] = signed = tryCountVerification(path) && crl.IsSignedBy(signer);
        }

        return signed;
    }

    private bool IsTrustedSigner(ParsedCertificate signer, ParsedCertificate anchor)
    {
        if (!_trustedCrlSigners.TryGetValue(signer, out var trusted))
        {
            _trustedCrlSigners[signer] = trusted = hasPathTo(signer, anchor);
        }

        return trusted;
    }
}
