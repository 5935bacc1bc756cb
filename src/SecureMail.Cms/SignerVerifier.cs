using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>The result of the verification of one signer. It tells nothing about trust.</summary>
/// <param name="Signer">The signer as read.</param>
/// <param name="DigestMatches">Whether the content is the signed content; null when that could not be computed.</param>
/// <param name="SignatureMatches">Whether the signature value verifies with the certificate; null when that could not
/// be computed.</param>
/// <param name="Problems">All other problems; empty for a good signature.</param>
public sealed record SignerVerification(
    CmsSignerInfo Signer, bool? DigestMatches, bool? SignatureMatches, IReadOnlyList<SignerProblem> Problems)
{
    internal CmsCertificate? Candidate { get; init; }

    /// <summary>
    /// The certificate with which the value verified. When there is none, the certificate with the identifier of the
    /// signer; null when it was not found or the platform cannot read it. It may be shared: do not dispose it.
    /// </summary>
    public X509Certificate2? Certificate => Candidate?.Certificate;

    /// <summary>The received content was signed by the key of <see cref="Certificate"/>, and there is no
    /// problem.</summary>
    public bool Intact => DigestMatches == true && SignatureMatches == true && Problems.Count == 0;
}

/// <summary>Verifies one signer of a SignedData (RFC 5652 §5.4 and §5.6).</summary>
internal static class SignerVerifier
{
    /// <summary>Certificates tried for one signer at most, because an attacker may send many with one issuer and serial
    /// number.</summary>
    private const int MaxCandidates = 8;

    /// <summary>Verifies digest, attributes and signature value.</summary>
    /// <param name="content">The digests of the content; null when there is no content.</param>
    /// <param name="whole">The content itself, for a signature over it; null when it was not kept.</param>
    /// <param name="certificates">The certificates to search for that of the signer.</param>
    public static SignerVerification Verify(
        CmsSignerInfo signer, ContentHash? content, byte[]? whole, List<CmsCertificate> certificates)
    {
        List<SignerProblem> problems = [.. signer.Problems];
        if (content is null)
        {
            problems.Add(SignerProblem.ContentMissing);
        }

        List<CmsCertificate> candidates = FindCandidates(signer, certificates);
        if (candidates.Count == 0)
        {
            problems.Add(SignerProblem.CertificateMissing);
        }

        if (signer.DigestAlgorithm is not { } digest)
        {
            return new SignerVerification(signer, null, null, problems) { Candidate = candidates.FirstOrDefault() };
        }

        var contentDigest = content?.Digest(digest);
        bool? digestMatches = null;
        if (signer.EncodedSignedAttributes is not null)
        {
            if (contentDigest is not null && signer.MessageDigest is not null)
            {
                digestMatches = CryptographicOperations.FixedTimeEquals(contentDigest, signer.MessageDigest);
            }
        }
        else if (content is not null && LooksLikeSignedAttributes(content.Prefix))
        {
            problems.Add(SignerProblem.ContentIsSignedAttributes);
        }

        CmsCertificate? match = null;
        bool? signatureMatches = null;
        if (signer.SignatureAlgorithm is { } algorithm && candidates.Count > 0)
        {
            var pure = algorithm.Scheme == SignatureScheme.Ed25519;
            // Ed25519 signs the attributes or the content itself (RFC 8419 §3); the other schemes sign the hash.
            var signed =
                signer.EncodedSignedAttributes is { } encoded ? SignedForm(encoded) : pure ? whole : contentDigest;
            if (!candidates.Exists(c => c.Key is not null))
            {
                // Nothing was computed, so the value is not wrong: the key is of a kind, on a curve, with parameters or
                // of a size that is not supported.
                problems.Add(SignerProblem.SignatureAlgorithmUnsupported);
            }
            else if (signed is not null)
            {
                match = FindMatch(signed)
                    ?? (signer.ReceivedSignedAttributes is { } received ? FindMatch(SignedForm(received)) : null);
                signatureMatches = match is not null;
                // Without signed attributes the value is over the content itself, so both results are the same.
                if (signer.EncodedSignedAttributes is null)
                {
                    digestMatches = signatureMatches;
                }
            }
            else if (pure && content is not null)
            {
                problems.Add(SignerProblem.ContentTooLong);
            }

            byte[] SignedForm(byte[] attributes) =>
                pure ? attributes : CryptographicOperations.HashData(digest, attributes);

            CmsCertificate? FindMatch(byte[] over) =>
                candidates.Find(c =>
                    algorithm.IsCompatibleWith(c)
                    && (
                        pure
                            ? algorithm.VerifyMessage(c, over, signer.SignatureValue.Span)
                            : algorithm.Verify(c, over, digest, signer.SignatureValue.Span)));
        }
        CmsCertificate? certificate = match ?? candidates.FirstOrDefault();
        if (certificate is not null && !signer.MatchesSigningCertificates(certificate))
        {
            problems.Add(SignerProblem.SigningCertificateContradicts);
        }

        if (certificate?.Key is not null
            && signer.SignatureAlgorithm is { } used
            && !used.IsCompatibleWith(certificate))
        {
            problems.Add(SignerProblem.AlgorithmsContradict);
        }

        return new SignerVerification(signer, digestMatches, signatureMatches, problems) { Candidate = certificate };
    }

    /// <summary>The certificates with the identifier of the signer, without duplicates; those that match its
    /// signing-certificate attributes first.</summary>
    private static List<CmsCertificate> FindCandidates(CmsSignerInfo signer, List<CmsCertificate> certificates)
    {
        var found = new List<CmsCertificate>(1);
        foreach (CmsCertificate certificate in certificates)
        {
            if (signer.IsIdentifiedBy(certificate)
                && !found.Exists(c => c.Encoded.Span.SequenceEqual(certificate.Encoded.Span)))
            {
                found.Add(certificate);
            }
        }
        return found.Count < 2
            ? found
            : [.. found.OrderByDescending(signer.MatchesSigningCertificates).Take(MaxCandidates)];
    }

    /// <summary>Whether this is a SET whose first kilobytes contain the object identifier of message-digest, as in
    /// signed attributes.</summary>
    private static bool LooksLikeSignedAttributes(ReadOnlySpan<byte> prefix)
    {
        ReadOnlySpan<byte> messageDigestOid = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x04];
        return prefix is [Der.Set, ..] && prefix.IndexOf(messageDigestOid) >= 0;
    }
}
