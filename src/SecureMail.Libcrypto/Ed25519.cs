using System.Security.Cryptography;
using Org.BouncyCastle.Crypto.Parameters;
using Curve = Org.BouncyCastle.Math.EC.Rfc8032.Ed25519;

namespace SecureMail.Libcrypto;

/// <summary>
/// Pure Ed25519 (RFC 8032 §5.1) by BouncyCastle, because .NET 10 has no type for it, and libcrypto accepts public keys
/// of low order, under which anybody makes signatures that verify. Keys have the raw form of the RFC: a seed of 32
/// bytes and a public key of 32 bytes. <see cref="VerificationKey.TryEd25519"/> verifies. Safe to call from many
/// threads.
/// Left out: Ed25519ph and Ed25519ctx, because nothing here uses them.
/// </summary>
public static class Ed25519
{
    /// <summary>Bytes of the private key as in RFC 8032 §5.1.5, before it is hashed.</summary>
    public const int SeedSize = 32;

    /// <summary>Bytes of an encoded public point.</summary>
    public const int PublicKeySize = 32;

    /// <summary>Bytes of a signature, R || S.</summary>
    public const int SignatureSize = 64;

    /// <summary>A new private key: 32 bytes from the system's random source. The caller keeps the key and wipes
    /// it.</summary>
    public static byte[] GenerateSeed() => RandomNumberGenerator.GetBytes(SeedSize);

    /// <summary>The public key of a seed, 32 bytes.</summary>
    /// <exception cref="ArgumentException">The seed is not 32 bytes long.</exception>
    public static byte[] PublicKeyOf(ReadOnlySpan<byte> seed) =>
        WithCopy(
            seed,
            key =>
            {
                var publicKey = new byte[PublicKeySize];
                Curve.GeneratePublicKey(key, 0, publicKey, 0);
                return publicKey;
            });

    /// <summary>The signature of a message, 64 bytes. The same message and seed always give the same
    /// signature.</summary>
    /// <exception cref="ArgumentException">The seed is not 32 bytes long.</exception>
    public static byte[] Sign(ReadOnlySpan<byte> seed, ReadOnlySpan<byte> message)
    {
        var signed = message.ToArray();
        return WithCopy(
            seed,
            key =>
            {
                var signature = new byte[SignatureSize];
                Curve.Sign(key, 0, signed, 0, signed.Length, signature, 0);
                return signature;
            });
    }

    /// <summary>BouncyCastle's key objects keep a copy of the seed that nobody can wipe, so its functions on arrays are
    /// used.</summary>
    private static byte[] WithCopy(ReadOnlySpan<byte> seed, Func<byte[], byte[]> use)
    {
        if (seed.Length != SeedSize)
        {
            throw new ArgumentException($"an Ed25519 seed is {SeedSize} bytes long", nameof(seed));
        }

        var copy = seed.ToArray();
        try
        {
            return use(copy);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(copy);
        }
    }
}

/// <summary>
/// An Ed25519 public key, decoded once. RFC 8032 §5.1.7 lets a verifier multiply the equation by eight, as BouncyCastle
/// does, or not, as libcrypto and Go do. The owner of a key can make signatures that the first accepts and the second
/// refuses. The key and R must therefore be points of the group of the base point, where both come to the same outcome,
/// because what is accepted here must convince others later.
/// </summary>
internal sealed class Ed25519VerificationKey : VerificationKey
{
    private readonly Ed25519PublicKeyParameters _key;

    private Ed25519VerificationKey(Ed25519PublicKeyParameters key) => _key = key;

    public static Ed25519VerificationKey? TryMake(ReadOnlySpan<byte> publicKey) =>
        publicKey.Length == Ed25519.PublicKeySize
        && Curve.ValidatePublicKeyFullExport(publicKey.ToArray(), 0) is { } point
            ? new Ed25519VerificationKey(new Ed25519PublicKeyParameters(point))
            : null;

    public override bool VerifyEd25519(ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature) =>
        signature.Length == Ed25519.SignatureSize
        && _key.Verify(Curve.Algorithm.Ed25519, null, message, signature)
        && Curve.ValidatePublicKeyFull(signature[..32].ToArray(), 0);
}
