using System.Formats.Asn1;
using System.Security.Cryptography;

namespace SecureMail.Libcrypto;

/// <summary>
/// A private key of X25519 (RFC 7748 §6.1) in the host's libcrypto, because .NET 10 has no type for it. Public keys
/// have the raw form of the RFC, 32 bytes. <see cref="TryDerive"/> may be called from many threads at once.
/// Left out: X448, and storing a key (the caller keeps its bytes).
/// </summary>
public sealed class X25519Key : AsymmetricAlgorithm
{
    /// <summary>Bytes of a private key, of a public key and of a shared secret.</summary>
    public const int Size = 32;

    /// <summary>id-X25519 (RFC 8410 §3).</summary>
    public const string AlgorithmOid = "1.3.101.110";

    private readonly Interop.KeyHandle _key;

    private X25519Key(ReadOnlySpan<byte> privateKey)
    {
        KeySizeValue = 8 * Size;
        _key = Interop.CheckHandle(
            Interop.EVP_PKEY_new_raw_private_key(Interop.EVP_PKEY_X25519, 0, privateKey, Size),
            "loading an X25519 key");
        var publicKey = new byte[Size];
        nuint length = Size;
        Interop.Check(Interop.EVP_PKEY_get_raw_public_key(_key, publicKey, ref length), "reading an X25519 public key");
        PublicKey = publicKey;
    }

    /// <summary>The public key, 32 bytes.</summary>
    public ReadOnlyMemory<byte> PublicKey { get; }

    /// <summary>A new key from the system's random source.</summary>
    public static X25519Key Generate()
    {
        Span<byte> seed = stackalloc byte[Size];
        RandomNumberGenerator.Fill(seed);
        try
        {
            return new X25519Key(seed);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(seed);
        }
    }

    /// <summary>The key of 32 raw bytes (RFC 7748 §5; clamped in use).</summary>
    /// <exception cref="ArgumentException">The length is not 32.</exception>
    public static X25519Key FromRaw(ReadOnlySpan<byte> privateKey) =>
        privateKey.Length == Size
            ? new X25519Key(privateKey)
            : throw new ArgumentException($"an X25519 key is {Size} bytes long", nameof(privateKey));

    /// <summary>The key of an unencrypted PKCS#8 PrivateKeyInfo, DER (RFC 8410 §7).</summary>
    /// <exception cref="CryptographicException">It is not an X25519 key.</exception>
    public static X25519Key FromPkcs8(ReadOnlyMemory<byte> pkcs8)
    {
        byte[]? raw = null;
        try
        {
            AsnReader info = new AsnReader(pkcs8, AsnEncodingRules.DER).ReadSequence();
            info.ReadInteger();
            if (info.ReadSequence().ReadObjectIdentifier() != AlgorithmOid)
            {
                throw new CryptographicException("not an X25519 key");
            }

            raw = AsnDecoder.ReadOctetString(info.ReadOctetString(), AsnEncodingRules.DER, out _);
            return raw.Length == Size ? new X25519Key(raw) : throw new CryptographicException("not an X25519 key");
        }
        catch (AsnContentException e)
        {
            throw new CryptographicException("not an X25519 key", e);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(raw);
        }
    }

    /// <summary>
    /// Derives the secret shared with the owner of a public key. Returns false when the public key is not 32 bytes long
    /// or has a low order, because the secret would then be zero for every private key (RFC 7748 §6.1).
    /// </summary>
    /// <param name="publicKey">May be hostile input.</param>
    /// <param name="secret">32 bytes; the caller wipes them.</param>
    /// <exception cref="ArgumentException">The secret is not 32 bytes long.</exception>
    public bool TryDerive(ReadOnlySpan<byte> publicKey, Span<byte> secret)
    {
        if (secret.Length != Size)
        {
            throw new ArgumentException($"an X25519 secret is {Size} bytes long", nameof(secret));
        }

        if (publicKey.Length != Size)
        {
            return false;
        }

        using Interop.KeyHandle peer = Interop.CheckHandle(
            Interop.EVP_PKEY_new_raw_public_key(Interop.EVP_PKEY_X25519, 0, publicKey, Size),
            "loading an X25519 public key");
        using Interop.KeyContextHandle context = Interop.CheckHandle(
            Interop.EVP_PKEY_CTX_new_from_pkey(0, _key, 0), "allocating a key context");
        Interop.Check(Interop.EVP_PKEY_derive_init(context), "starting X25519");
        nuint length = Size;
        if (Interop.EVP_PKEY_derive_set_peer(context, peer) == 1
            && Interop.EVP_PKEY_derive(context, secret, ref length) == 1
            && length == Size
            && secret.IndexOfAnyExcept((byte)0) >= 0)
        {
            return true;
        }
        Interop.ERR_clear_error();
        CryptographicOperations.ZeroMemory(secret);
        return false;
    }

    /// <summary>Frees the key; libcrypto wipes it.</summary>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _key.Dispose();
        }

        base.Dispose(disposing);
    }
}
