using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace SecureMail.Pkcs11;

/// <summary>
/// An elliptic-curve key on a token, for key agreement (CKM_ECDH1_DERIVE with CKD_NULL, PKCS #11 2.40 §2.3.8). The
/// token computes the shared secret; the caller derives keys from it, because tokens do not implement the key
/// derivation functions of CMS.
/// </summary>
internal sealed class TokenEcdh : ECDiffieHellman
{
    private readonly TokenEcKey _key;
    private readonly ECDiffieHellman _public;

    public TokenEcdh(TokenEcKey key)
    {
        _key = key;
        _public = Create(key.ExportParameters(false));
        KeySizeValue = key.KeySize;
        LegalKeySizesValue = key.LegalKeySizes;
    }

    public override ECDiffieHellmanPublicKey PublicKey => _public.PublicKey;

    /// <summary>The shared secret: the X coordinate, as long as a field element.</summary>
    /// <exception cref="CryptographicException">The other key is on another curve, or the token rejects it as
    /// invalid.</exception>
    /// <exception cref="Pkcs11Exception">Another error of the token.</exception>
    public override byte[] DeriveRawSecretAgreement(ECDiffieHellmanPublicKey otherPartyPublicKey)
    {
        ArgumentNullException.ThrowIfNull(otherPartyPublicKey);
        var q = otherPartyPublicKey.ExportParameters().Q;
        var field = _key.FieldSize;
        if (q.X?.Length != field || q.Y?.Length != field)
        {
            throw new CryptographicException("The other key is on another curve.");
        }

        byte[] point = [0x04, .. q.X, .. q.Y];
        CULong secret = default;
        return _key.Token.Execute(
            (functions, session, key) => Derive(functions, session, key, point, field, out secret),
            "C_DeriveKey",
            (functions, session) =>
            {
                // Destroy the session object, because it would otherwise exist as long as the session, which is reused.
                try
                {
                    return ReadSecret(TokenObjects.Read(functions, session, secret, Ck.AttributeValue), field);
                }
                finally
                {
                    functions.DestroyObject(session, secret);
                }
            });
    }

    private static unsafe ulong Derive(
        Cryptoki functions, CULong session, CULong key, byte[] point, int field, out CULong secret)
    {
        var result = DeriveFrom(point, out secret);
        // PKCS #11 2.40 §2.3.8: a token must take the raw point. Some tokens take only its DER encoding (OCTET STRING,
        // as in CKA_EC_POINT).
        if (result is Ckr.MechanismParamInvalid or Ckr.ArgumentsBad)
        {
            result = DeriveFrom(
                point.Length < 0x80 ? [0x04, (byte)point.Length, .. point] : [0x04, 0x81, (byte)point.Length, .. point],
                out secret);
        }

        if (result is Ckr.MechanismParamInvalid or Ckr.ArgumentsBad or Ckr.DataInvalid or Ckr.DataLenRange)
        {
            throw new CryptographicException("The other key was refused by the token.");
        }

        return result;

        ulong DeriveFrom(byte[] publicData, out CULong derived)
        {
            var (objectClass, keyType, length, no, yes) = (
                new CULong(Ck.ObjectSecretKey), new CULong(Ck.KeyGenericSecret), new CULong((uint)field), (byte)0,
                (byte)1);
            CkAttribute[] template =
            [
                new()
                {
                    Type = new CULong(Ck.AttributeClass),
                    Value = &objectClass,
                    Length = new CULong((uint)sizeof(CULong)),
                },
                new()
                {
                    Type = new CULong(Ck.AttributeKeyType),
                    Value = &keyType,
                    Length = new CULong((uint)sizeof(CULong)),
                },
                new()
                {
                    Type = new CULong(Ck.AttributeToken),
                    Value = &no,
                    Length = new CULong(1),
                },
                new()
                {
                    Type = new CULong(Ck.AttributeSensitive),
                    Value = &no,
                    Length = new CULong(1),
                },
                new()
                {
                    Type = new CULong(Ck.AttributeExtractable),
                    Value = &yes,
                    Length = new CULong(1),
                },
                new()
                {
                    Type = new CULong(Ck.AttributeValueLength),
                    Value = &length,
                    Length = new CULong((uint)sizeof(CULong)),
                },
            ];
            fixed (byte* other = publicData)
            {
                var parameters = new CkEcdh1DeriveParams
                {
                    Derivation = new CULong(Ck.DerivationNull),
                    PublicDataLength = new CULong((uint)publicData.Length),
                    PublicData = other,
                };
                return functions.DeriveKey(
                    session,
                    new CkMechanism
                    {
                        Mechanism = new CULong(Ck.MechanismEcdh1Derive),
                        Parameter = &parameters,
                        ParameterLength = new CULong((uint)sizeof(CkEcdh1DeriveParams)),
                    },
                    key,
                    template,
                    out derived);
            }
        }
    }

    /// <summary>The secret as a field element, padded when the token left out leading zero bytes.</summary>
    /// <exception cref="Pkcs11Exception">SECRET_LENGTH.</exception>
    private static byte[] ReadSecret(byte[]? secret, int field)
    {
        if (secret is null || secret.Length == 0 || secret.Length > field)
        {
            throw new Pkcs11Exception(
                Pkcs11Fault.DeviceError, "SECRET_LENGTH",
                "the secret of C_DeriveKey cannot be read or is longer than the field");
        }

        if (secret.Length == field)
        {
            return secret;
        }

        var padded = new byte[field];
        TokenEcKey.PadLeft(secret, padded);
        CryptographicOperations.ZeroMemory(secret);
        return padded;
    }

    public override ECParameters ExportParameters(bool includePrivateParameters) =>
        _key.ExportParameters(includePrivateParameters);

    public override void ImportParameters(ECParameters parameters) => throw TokenKey.NotReplaceable();

    public override void GenerateKey(ECCurve curve) => throw TokenKey.NotReplaceable();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _public.Dispose();
            _key.Dispose();
        }

        base.Dispose(disposing);
    }
}
