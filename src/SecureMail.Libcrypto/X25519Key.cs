using System.Formats.Asn1;
using System.Security.Cryptography;
using Curve = Org.BouncyCastle.Math.EC.Rfc7748.X25519;

namespace SecureMail.Libcrypto;

/// <summary>
/// A private key of X25519 (RFC 7748 §6.1) by BouncyCastle, because .NET 10 has no type for it. Public keys have the
/// raw form of the RFC, 32 bytes. <see cref="TryDerive"/> may be called from many threads at once.
/// Left out: X448, and storing a key (the caller keeps its bytes).
/// </summary>
public sealed class X25519Key : AsymmetricAlgorithm
{
    /// <summary>Bytes of a private key, of a public key and of a shared secret.</summary>
    public const int Size = 32;

    /// <summary>id-X25519 (RFC 8410 §3).</summary>
    public const string AlgorithmOid = "1.3.101.110";

    private readonly byte[] _key;
    private bool _disposed;

    private X25519Key(ReadOnlySpan<byte> privateKey)
    {
        KeySizeValue = 8 * Size;
        _key = privateKey.ToArray();
        var publicKey = new byte[Size];
        Curve.GeneratePublicKey(_key, 0, publicKey, 0);
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

        ObjectDisposedException.ThrowIf(_disposed, this);
        var agreed = new byte[Size];
        try
        {
            // RFC 7748 §6.1: false when all bytes of the secret are zero.
            var shared = Curve.CalculateAgreement(_key, 0, publicKey.ToArray(), 0, agreed, 0);
            agreed.CopyTo(secret);
            return shared;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(agreed);
        }
    }

    /// <summary>Wipes the key.</summary>
    protected override void Dispose(bool disposing)
    {
        _disposed = true;
        CryptographicOperations.ZeroMemory(_key);
        base.Dispose(disposing);
    }
}
