using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Cms;

/// <summary>How a signature value is computed.</summary>
public enum SignatureScheme
{
    /// <summary>RSASSA-PKCS1-v1_5 (RFC 8017 §8.2).</summary>
    RsaPkcs1,

    /// <summary>RSASSA-PSS (RFC 8017 §8.1); MGF1 with the same hash, and a salt as long as the hash (RFC 4056
    /// §2.2).</summary>
    RsaPss,

    /// <summary>ECDSA (RFC 5753 §2.1) on the named curve of the certificate.</summary>
    Ecdsa,

    /// <summary>Pure Ed25519 (RFC 8419) over <see cref="PreparedSignature.ToBeSigned"/> itself; the digest is
    /// SHA-512.</summary>
    Ed25519,

    /// <summary>DSA (RFC 5754 §3.1), in old messages and certificates. It is verified, never made.</summary>
    Dsa,
}

/// <summary>An attribute of a signer (RFC 5652 §5.3).</summary>
/// <param name="Oid">The type: an object identifier in dotted decimals.</param>
/// <param name="Values">The values, each as it was received; in DER for an attribute to be written.</param>
public sealed record CmsAttribute(string Oid, IReadOnlyList<ReadOnlyMemory<byte>> Values);

/// <summary>
/// Who signs and how. With a signing time the signature is CAdES-B-B (ETSI EN 319 122-1 §6.3). For PAdES leave the
/// signing time null, because EN 319 142-1 §6.3 does not allow it in the attributes; a PDF has it elsewhere.
/// </summary>
/// <param name="Certificate">The certificate of the signer; its private key is not needed.</param>
/// <param name="Chain">The other certificates to include; the trust anchor may be left out.</param>
/// <param name="Digest">SHA256, SHA384 or SHA512, for the content and for the signed attributes; SHA512 with
/// Ed25519.</param>
/// <param name="Scheme">Must fit the key of the certificate.</param>
/// <param name="SigningTime">The time that the signer claims, or null for none. It is not evidence.</param>
public sealed record SigningRequest(
    X509Certificate2 Certificate, IReadOnlyList<X509Certificate2> Chain, HashAlgorithmName Digest,
    SignatureScheme Scheme, DateTimeOffset? SigningTime)
{
    /// <summary>
    /// Signed attributes to write in addition to content type, message digest, signing time, signing certificate and
    /// algorithm protection; for example SMIMECapabilities.
    /// </summary>
    public IReadOnlyList<CmsAttribute> Attributes { get; init; } = [];
}
