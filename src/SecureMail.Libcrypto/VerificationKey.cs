using System.Security.Cryptography;

namespace SecureMail.Libcrypto;

/// <summary>
/// A public key that verifies signatures: RSA (PKCS#1 v1.5, and PSS with any salt length), ECDSA on a named curve,
/// Ed25519. It is made from the numbers of the key, so that nothing is encoded and decoded again: an RSA key costs 5
/// µs, while .NET's <see cref="RSA"/> and libcrypto's decoder cost 150 µs, six times the cost of the verification.
/// .NET's types also have no Ed25519 and only one salt length (that of the hash), while `openssl cms` and several
/// national tokens write the longest salt that fits. Safe to use from many threads at once. An invalid key (a point off
/// its curve) gives null, and a malformed signature gives false, not exceptions, because hostile input is expected.
/// Left out: private keys.
/// </summary>
public sealed class VerificationKey : IDisposable
{
    /// <summary>Bytes of a modulus at most, because a larger one makes a verification too expensive. libcrypto has the
    /// same bound.</summary>
    private const int MaxModulusSize = 16 * 1024 / 8;

    private readonly Interop.KeyHandle _key;
    private readonly Kind _kind;

    private VerificationKey(Interop.KeyHandle key, Kind kind)
    {
        _key = key;
        _kind = kind;
    }

    private enum Kind
    {
        Rsa,
        Ec,
        Ed25519,
    }

    /// <summary>An RSA key (RFC 8017 §3.1).</summary>
    /// <param name="modulus">Unsigned, big-endian.</param>
    /// <param name="exponent">Unsigned, big-endian.</param>
    /// <returns>Null when the numbers are not those of a key.</returns>
    public static unsafe VerificationKey? TryRsa(ReadOnlySpan<byte> modulus, ReadOnlySpan<byte> exponent)
    {
        if (modulus.Length is 0 or > MaxModulusSize || exponent.IsEmpty || exponent.Length > modulus.Length)
        {
            return null;
        }
        // Integers in OSSL_PARAM have the byte order of the machine.
        var n = modulus.ToArray();
        var e = exponent.ToArray();
        if (BitConverter.IsLittleEndian)
        {
            Array.Reverse(n);
            Array.Reverse(e);
        }
        fixed (
            byte* nName = "n\0"u8,
                eName = "e\0"u8,
                nData = n,
                eData = e)
        {
            Interop.Parameter* parameters = stackalloc Interop.Parameter[3];
            parameters[0] = new Interop.Parameter
            {
                Key = nName,
                Type = Interop.Parameter.UnsignedInteger,
                Data = nData,
                DataSize = (nuint)n.Length,
            };
            parameters[1] = new Interop.Parameter
            {
                Key = eName,
                Type = Interop.Parameter.UnsignedInteger,
                Data = eData,
                DataSize = (nuint)e.Length,
            };
            parameters[2] = default;
            return FromData("RSA", parameters, Kind.Rsa);
        }
    }

    /// <summary>A key on a named curve (RFC 5480 §2.1.1.1).</summary>
    /// <param name="curve">The curve's object identifier: P-256, P-384 or P-521.</param>
    /// <param name="point">The encoded point (SEC 1 §2.3.3).</param>
    /// <returns>Null for another curve, and for a point that is not on the curve.</returns>
    public static unsafe VerificationKey? TryEc(string curve, ReadOnlySpan<byte> point)
    {
        ReadOnlySpan<byte> group = curve switch
        {
            "1.2.840.10045.3.1.7" => "prime256v1\0"u8,
            "1.3.132.0.34" => "secp384r1\0"u8,
            "1.3.132.0.35" => "secp521r1\0"u8,
            _ => [],
        };
        if (group.IsEmpty || point.Length is 0 or > 133)
        {
            return null;
        }

        fixed (
            byte* groupName = "group\0"u8,
                pubName = "pub\0"u8,
                groupData = group,
                pubData = point)
        {
            Interop.Parameter* parameters = stackalloc Interop.Parameter[3];
            parameters[0] = new Interop.Parameter
            {
                Key = groupName,
                Type = Interop.Parameter.Utf8String,
                Data = groupData,
                DataSize = (nuint)group.Length - 1,
            };
            parameters[1] = new Interop.Parameter
            {
                Key = pubName,
                Type = Interop.Parameter.OctetString,
                Data = pubData,
                DataSize = (nuint)point.Length,
            };
            parameters[2] = default;
            return FromData("EC", parameters, Kind.Ec);
        }
    }

    /// <summary>An Ed25519 key (RFC 8032 §5.1.5), 32 bytes; null for another length.</summary>
    public static VerificationKey? TryEd25519(ReadOnlySpan<byte> publicKey)
    {
        if (publicKey.Length != Ed25519.PublicKeySize)
        {
            return null;
        }

        return FromHandle(
            Interop.EVP_PKEY_new_raw_public_key(Interop.EVP_PKEY_ED25519, 0, publicKey, Ed25519.PublicKeySize),
            Kind.Ed25519);
    }

    /// <summary>Whether the value is an RSASSA-PKCS1-v1_5 signature (RFC 8017 §8.2) over the hash.</summary>
    public bool VerifyRsaPkcs1(ReadOnlySpan<byte> hash, HashAlgorithmName hashAlgorithm, ReadOnlySpan<byte> signature)
    {
        var digest = FindDigest(hashAlgorithm);
        using Interop.KeyContextHandle? context = BeginVerification(Kind.Rsa, hash, signature);
        return context is not null
            && digest != 0
            && ClearErrorsUnless(
                Interop.EVP_PKEY_CTX_set_rsa_padding(context, Interop.RSA_PKCS1_PADDING) == 1
                    && Interop.EVP_PKEY_CTX_set_signature_md(context, digest) == 1
                    && Interop.EVP_PKEY_verify(context, signature, (nuint)signature.Length, hash, (nuint)hash.Length)
                        == 1);
    }

    /// <summary>Whether the value is an RSASSA-PSS signature (RFC 8017 §8.1.2) over the hash.</summary>
    /// <param name="hash">The digest that was signed.</param>
    /// <param name="hashAlgorithm">The algorithm that made it: SHA1, SHA256, SHA384 or SHA512.</param>
    /// <param name="maskHash">The hash of the mask generation function MGF1.</param>
    /// <param name="saltLength">Bytes of salt, from the parameters of the signature algorithm.</param>
    /// <param name="signature">The signature value.</param>
    public bool VerifyRsaPss(
        ReadOnlySpan<byte> hash, HashAlgorithmName hashAlgorithm, HashAlgorithmName maskHash, int saltLength,
        ReadOnlySpan<byte> signature)
    {
        var digest = FindDigest(hashAlgorithm);
        var mask = FindDigest(maskHash);
        using Interop.KeyContextHandle? context = BeginVerification(Kind.Rsa, hash, signature);
        // A setter fails when the key does not support the value, for example a salt that is too long: not valid then.
        return context is not null
            && digest != 0
            && mask != 0
            && saltLength >= 0
            && ClearErrorsUnless(
                Interop.EVP_PKEY_CTX_set_rsa_padding(context, Interop.RSA_PKCS1_PSS_PADDING) == 1
                    && Interop.EVP_PKEY_CTX_set_signature_md(context, digest) == 1
                    && Interop.EVP_PKEY_CTX_set_rsa_mgf1_md(context, mask) == 1
                    && Interop.EVP_PKEY_CTX_set_rsa_pss_saltlen(context, saltLength) == 1
                    && Interop.EVP_PKEY_verify(context, signature, (nuint)signature.Length, hash, (nuint)hash.Length)
                        == 1);
    }

    /// <summary>Whether the value is an ECDSA signature, DER SEQUENCE { r, s }, over the hash.</summary>
    public bool VerifyEcdsa(ReadOnlySpan<byte> hash, ReadOnlySpan<byte> signature)
    {
        using Interop.KeyContextHandle? context = BeginVerification(Kind.Ec, hash, signature);
        return context is not null
            && ClearErrorsUnless(
                Interop.EVP_PKEY_verify(context, signature, (nuint)signature.Length, hash, (nuint)hash.Length) == 1);
    }

    /// <summary>Whether the value is a pure Ed25519 signature (RFC 8032 §5.1.7) over the message itself.</summary>
    public bool VerifyEd25519(ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature)
    {
        if (_kind != Kind.Ed25519 || signature.Length != Ed25519.SignatureSize)
        {
            return false;
        }

        using Interop.DigestHandle context = Interop.CheckHandle(
            Interop.EVP_MD_CTX_new(), "allocating a digest context");
        Interop.Check(Interop.EVP_DigestVerifyInit(context, 0, 0, 0, _key), "starting an Ed25519 verification");
        // Replace an empty span, because it marshals as a null pointer, which libcrypto reads as "no message given".
        ReadOnlySpan<byte> nonNull = message.IsEmpty ? [0] : message;
        return ClearErrorsUnless(
            Interop.EVP_DigestVerify(context, signature, Ed25519.SignatureSize, nonNull, (nuint)message.Length) == 1);
    }

    /// <summary>Frees the key. Do not dispose a shared key; the garbage collector frees it.</summary>
    public void Dispose() => _key.Dispose();

    private static unsafe VerificationKey? FromData(string type, Interop.Parameter* parameters, Kind kind)
    {
        using Interop.KeyContextHandle context = Interop.CheckHandle(
            Interop.EVP_PKEY_CTX_new_from_name(0, type, 0), "allocating a key context");
        Interop.Check(Interop.EVP_PKEY_fromdata_init(context), "starting a key");
        if (Interop.EVP_PKEY_fromdata(context, out Interop.KeyHandle key, Interop.EVP_PKEY_PUBLIC_KEY, parameters) == 1)
        {
            return FromHandle(key, kind);
        }

        key.Dispose();
        Interop.ERR_clear_error();
        return null;
    }

    private static VerificationKey? FromHandle(Interop.KeyHandle key, Kind kind)
    {
        if (!key.IsInvalid)
        {
            return new VerificationKey(key, kind);
        }

        key.Dispose();
        Interop.ERR_clear_error();
        return null;
    }

    private static nint FindDigest(HashAlgorithmName name) =>
        name.Name is null ? 0 : Interop.EVP_get_digestbyname(name.Name);

    private Interop.KeyContextHandle? BeginVerification(
        Kind kind, ReadOnlySpan<byte> hash, ReadOnlySpan<byte> signature)
    {
        if (_kind != kind || hash.IsEmpty || signature.IsEmpty)
        {
            return null;
        }

        Interop.KeyContextHandle context = Interop.CheckHandle(
            Interop.EVP_PKEY_CTX_new_from_pkey(0, _key, 0), "allocating a key context");
        Interop.Check(Interop.EVP_PKEY_verify_init(context), "starting a verification");
        return context;
    }

    private static bool ClearErrorsUnless(bool valid)
    {
        if (!valid)
        {
            Interop.ERR_clear_error();
        }

        return valid;
    }
}
