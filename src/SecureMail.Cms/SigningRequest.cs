using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Cms;

/// <summary>How a signature value is computed.</summary>
public enum SignatureScheme
{
    /// <summary>RSASSA-PKCS1-v1_5 (RFC 8017 §8.2).</summary>
    RsaPkcs1,

    /// <summary>RSASSA-PSS (RFC 8017 §8.1), mask and salt from the same hash (RFC 4056 §2.2).</summary>
    RsaPss,

    /// <summary>ECDSA (RFC 5753 §2.1) on the named curve of the certificate.</summary>
    Ecdsa,
}

/// <summary>Who signs and how.</summary>
/// <param name="Certificate">The signer's certificate; its private key is not needed.</param>
/// <param name="Chain">Certificates to send along, without the signer's; the anchor may be left out.</param>
/// <param name="Digest">SHA256, SHA384 or SHA512, for the content and for the signed attributes.</param>
/// <param name="Scheme">Must fit the key of the certificate.</param>
/// <param name="SigningTime">The time the signer claims, or null to claim none. It is no evidence.</param>
public sealed record SigningRequest(
    X509Certificate2 Certificate,
    IReadOnlyList<X509Certificate2> Chain,
    HashAlgorithmName Digest,
    SignatureScheme Scheme,
    DateTimeOffset? SigningTime);
