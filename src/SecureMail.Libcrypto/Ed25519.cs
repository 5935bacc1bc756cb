using System.Security.Cryptography;

namespace SecureMail.Libcrypto;

/// <summary>
/// Pure Ed25519 (RFC 8032 §5.1) by the host's libcrypto, because .NET 10 has no type for it. Keys have the raw form of
/// the RFC: a seed of 32 bytes and a public key of 32 bytes. Safe to call from many threads.
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
    public static byte[] PublicKeyOf(ReadOnlySpan<byte> seed)
    {
        using Interop.KeyHandle key = PrivateKey(seed);
        var publicKey = new byte[PublicKeySize];
        nuint length = PublicKeySize;
        Interop.Check(Interop.EVP_PKEY_get_raw_public_key(key, publicKey, ref length), "reading an Ed25519 public key");
        return publicKey;
    }

    /// <summary>The signature of a message, 64 bytes. The same message and seed always give the same
    /// signature.</summary>
    /// <exception cref="ArgumentException">The seed is not 32 bytes long.</exception>
    public static byte[] Sign(ReadOnlySpan<byte> seed, ReadOnlySpan<byte> message)
    {
        using Interop.KeyHandle key = PrivateKey(seed);
        using Interop.DigestHandle context = Interop.CheckHandle(
            Interop.EVP_MD_CTX_new(), "allocating a digest context");
        Interop.Check(Interop.EVP_DigestSignInit(context, 0, 0, 0, key), "starting an Ed25519 signature");
        var signature = new byte[SignatureSize];
        nuint length = SignatureSize;
        Interop.Check(
            Interop.EVP_DigestSign(context, signature, ref length, NotNull(message), (nuint)message.Length),
            "signing with Ed25519");
        return signature;
    }

    /// <summary>
    /// Whether the signature is valid for this key and message. A signature or key that is not well formed (wrong
    /// length, S out of range by RFC 8032 §5.1.7, a point not on the curve) gives false and no exception, because
    /// hostile input is expected.
    /// </summary>
    public static bool Verify(ReadOnlySpan<byte> publicKey, ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature)
    {
        if (publicKey.Length != PublicKeySize || signature.Length != SignatureSize)
        {
            return false;
        }

        using Interop.KeyHandle key = Interop.EVP_PKEY_new_raw_public_key(
            Interop.EVP_PKEY_ED25519, 0, publicKey, PublicKeySize);
        if (key.IsInvalid)
        {
            Interop.ERR_clear_error();
            return false;
        }
        using Interop.DigestHandle context = Interop.CheckHandle(
            Interop.EVP_MD_CTX_new(), "allocating a digest context");
        Interop.Check(Interop.EVP_DigestVerifyInit(context, 0, 0, 0, key), "starting an Ed25519 verification");
        var valid =
            Interop.EVP_DigestVerify(context, signature, SignatureSize, NotNull(message), (nuint)message.Length) == 1;
        if (!valid)
        {
            Interop.ERR_clear_error();
        }

        return valid;
    }

    private static Interop.KeyHandle PrivateKey(ReadOnlySpan<byte> seed)
    {
        if (seed.Length != SeedSize)
        {
            throw new ArgumentException($"an Ed25519 seed is {SeedSize} bytes long", nameof(seed));
        }

        return Interop.CheckHandle(
            Interop.EVP_PKEY_new_raw_private_key(Interop.EVP_PKEY_ED25519, 0, seed, SeedSize),
            "loading an Ed25519 key");
    }

    /// <summary>Replaces an empty span, because it marshals as a null pointer, which OpenSSL reads as "no message
    /// given".</summary>
    private static ReadOnlySpan<byte> NotNull(ReadOnlySpan<byte> message) => message.IsEmpty ? [0] : message;
}
