using System.Security.Cryptography;

namespace SecureMail.Libcrypto;

/// <summary>An RSA or elliptic-curve key in the host's libcrypto.</summary>
internal sealed class LibcryptoVerificationKey : VerificationKey
{
    /// <summary>Bytes of a modulus at most, because a larger one makes a verification too expensive. libcrypto has the
    /// same bound.</summary>
    private const int MaxModulusSize = 16 * 1024 / 8;

    private readonly Interop.KeyHandle _key;
    private readonly Kind _kind;

    private LibcryptoVerificationKey(Interop.KeyHandle key, Kind kind)
    {
        _key = key;
        _kind = kind;
    }

    private enum Kind
    {
        Rsa,
        Ec,
    }

    public static unsafe LibcryptoVerificationKey? TryMakeRsa(ReadOnlySpan<byte> modulus, ReadOnlySpan<byte> exponent)
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

    public static unsafe LibcryptoVerificationKey? TryMakeEc(string curve, ReadOnlySpan<byte> point)
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

    public override bool VerifyRsaPkcs1(
        ReadOnlySpan<byte> hash, HashAlgorithmName hashAlgorithm, ReadOnlySpan<byte> signature)
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

    public override bool VerifyRsaPss(
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

    public override bool VerifyEcdsa(ReadOnlySpan<byte> hash, ReadOnlySpan<byte> signature)
    {
        using Interop.KeyContextHandle? context = BeginVerification(Kind.Ec, hash, signature);
        return context is not null
            && ClearErrorsUnless(
                Interop.EVP_PKEY_verify(context, signature, (nuint)signature.Length, hash, (nuint)hash.Length) == 1);
    }

    private protected override void Dispose(bool disposing)
    {
        _key.Dispose();
        base.Dispose(disposing);
    }

    private static unsafe LibcryptoVerificationKey? FromData(string type, Interop.Parameter* parameters, Kind kind)
    {
        using Interop.KeyContextHandle context = Interop.CheckHandle(
            Interop.EVP_PKEY_CTX_new_from_name(0, type, 0), "allocating a key context");
        Interop.Check(Interop.EVP_PKEY_fromdata_init(context), "starting a key");
        if (Interop.EVP_PKEY_fromdata(context, out Interop.KeyHandle key, Interop.EVP_PKEY_PUBLIC_KEY, parameters) == 1)
        {
            return new LibcryptoVerificationKey(key, kind);
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
