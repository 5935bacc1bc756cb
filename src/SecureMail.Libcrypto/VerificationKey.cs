using System.Security.Cryptography;

namespace SecureMail.Libcrypto;

/// <summary>
/// A public key that verifies signatures: RSA (PKCS#1 v1.5, and PSS with any salt length) and ECDSA on a named curve by
/// libcrypto, Ed25519 and DSA by BouncyCastle. It is made from the numbers of the key and kept, so that nothing is
/// encoded and decoded again: an RSA key costs 5 µs, while .NET's <see cref="RSA"/> and libcrypto's decoder cost 150
/// µs, six times the cost of the verification. .NET's types also have no Ed25519 and only one salt length (that of the
/// hash), while `openssl cms` and several national tokens write the longest salt that fits. Safe to use from many
/// threads at once. An invalid key (a point off its curve) gives null, and a malformed signature, or one of another
/// kind of key, gives false, not exceptions, because hostile input is expected.
/// Left out: private keys.
/// </summary>
public abstract class VerificationKey : IDisposable
{
    private protected VerificationKey() { }

    /// <summary>An RSA key (RFC 8017 §3.1).</summary>
    /// <param name="modulus">Unsigned, big-endian.</param>
    /// <param name="exponent">Unsigned, big-endian.</param>
    /// <returns>Null when the numbers are not those of a key.</returns>
    public static VerificationKey? TryRsa(ReadOnlySpan<byte> modulus, ReadOnlySpan<byte> exponent) =>
        LibcryptoVerificationKey.TryMakeRsa(modulus, exponent);

    /// <summary>A key on a named curve (RFC 5480 §2.1.1.1).</summary>
    /// <param name="curve">The curve's object identifier: P-256, P-384 or P-521.</param>
    /// <param name="point">The encoded point (SEC 1 §2.3.3).</param>
    /// <returns>Null for another curve, and for a point that is not on the curve.</returns>
    public static VerificationKey? TryEc(string curve, ReadOnlySpan<byte> point) =>
        LibcryptoVerificationKey.TryMakeEc(curve, point);

    /// <summary>An Ed25519 key (RFC 8032 §5.1.5), 32 bytes.</summary>
    /// <returns>Null for another length, for bytes that are not a point in its one encoding, and for a point outside
    /// the group of the base point, as those of low order are.</returns>
    public static VerificationKey? TryEd25519(ReadOnlySpan<byte> publicKey) =>
        Ed25519VerificationKey.TryMake(publicKey);

    /// <summary>A DSA key (FIPS 186-4 §4), for old certificates and messages. Numbers are unsigned,
    /// big-endian.</summary>
    /// <returns>Null for a p above 3072 bits or below 512, a q of other than 160, 224 or 256 bits, and for numbers that
    /// are not those of a key.</returns>
    public static VerificationKey? TryDsa(
        ReadOnlySpan<byte> p, ReadOnlySpan<byte> q, ReadOnlySpan<byte> g, ReadOnlySpan<byte> y) =>
        DsaVerificationKey.TryMake(p, q, g, y);

    /// <summary>Whether the value is an RSASSA-PKCS1-v1_5 signature (RFC 8017 §8.2) over the hash.</summary>
    public virtual bool VerifyRsaPkcs1(
        ReadOnlySpan<byte> hash, HashAlgorithmName hashAlgorithm, ReadOnlySpan<byte> signature) => false;

    /// <summary>Whether the value is an RSASSA-PSS signature (RFC 8017 §8.1.2) over the hash.</summary>
    /// <param name="hash">The digest that was signed.</param>
    /// <param name="hashAlgorithm">The algorithm that made it: SHA1, SHA256, SHA384 or SHA512.</param>
    /// <param name="maskHash">The hash of the mask generation function MGF1.</param>
    /// <param name="saltLength">Bytes of salt, from the parameters of the signature algorithm.</param>
    /// <param name="signature">The signature value.</param>
    public virtual bool VerifyRsaPss(
        ReadOnlySpan<byte> hash, HashAlgorithmName hashAlgorithm, HashAlgorithmName maskHash, int saltLength,
        ReadOnlySpan<byte> signature) => false;

    /// <summary>Whether the value is an ECDSA signature, DER SEQUENCE { r, s }, over the hash.</summary>
    public virtual bool VerifyEcdsa(ReadOnlySpan<byte> hash, ReadOnlySpan<byte> signature) => false;

    /// <summary>Whether the value is a pure Ed25519 signature (RFC 8032 §5.1.7) over the message itself. S below the
    /// order, and R a point of the group in its one encoding, so that every verifier comes to the same
    /// outcome.</summary>
    public virtual bool VerifyEd25519(ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature) => false;

    /// <summary>Whether the value is a DSA signature, DER SEQUENCE { r, s } (RFC 3279 §2.2.2), over the
    /// hash.</summary>
    public virtual bool VerifyDsa(ReadOnlySpan<byte> hash, ReadOnlySpan<byte> signature) => false;

    /// <summary>Frees the key. Do not dispose a shared key; the garbage collector frees it.</summary>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    private protected virtual void Dispose(bool disposing) { }
}
