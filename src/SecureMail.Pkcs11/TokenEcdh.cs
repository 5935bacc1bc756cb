using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace SecureMail.Pkcs11;

/// <summary>
/// An elliptic-curve key on a token, for agreeing on keys (CKM_ECDH1_DERIVE with CKD_NULL, PKCS #11 2.40 §2.3.8). The
/// token multiplies; what is made of the shared secret is the caller's business, for tokens know none of CMS's
/// derivations.
/// </summary>
internal sealed class TokenEcdh : ECDiffieHellman
{
    private readonly TokenKey _key;
    private readonly ECDiffieHellman _public;

    public TokenEcdh(TokenKey key, ECParameters publicKey)
    {
        _key = key;
        _public = Create(publicKey);
        KeySizeValue = _public.KeySize;
        LegalKeySizesValue = [new KeySizes(KeySizeValue, KeySizeValue, 0)];
    }

    public override ECDiffieHellmanPublicKey PublicKey => _public.PublicKey;

    /// <summary>The shared secret: the X coordinate, as long as the field.</summary>
    /// <exception cref="CryptographicException">The other key is on another curve, or the token takes it for no key at
    /// all.</exception>
    /// <exception cref="Pkcs11Exception">What the token answers otherwise.</exception>
    public override byte[] DeriveRawSecretAgreement(ECDiffieHellmanPublicKey otherPartyPublicKey)
    {
        ArgumentNullException.ThrowIfNull(otherPartyPublicKey);
        var q = otherPartyPublicKey.ExportParameters().Q;
        var field = (KeySize + 7) / 8;
        if (q.X?.Length != field || q.Y?.Length != field)
        {
            throw new CryptographicException("The other key is on another curve.");
        }

        byte[] point = [0x04, .. q.X, .. q.Y];
        CULong secret = default;
        return _key.Use(
            (functions, session, key) => Derive(functions, session, key, point, field, out secret),
            "C_DeriveKey",
            (functions, session) =>
            {
                // A session object: it would go with the session, but sessions are kept.
                try
                {
                    return Padded(TokenObjects.Read(functions, session, secret, Ck.AttributeValue), field);
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
        var result = Try(point, out secret);
        // PKCS #11 2.40 §2.3.8: a token must take the bare octets; some take only their DER (OCTET STRING, as
        // CKA_EC_POINT is).
        if (result is Ckr.MechanismParamInvalid or Ckr.ArgumentsBad)
        {
            result = Try(
                point.Length < 0x80 ? [0x04, (byte)point.Length, .. point] : [0x04, 0x81, (byte)point.Length, .. point],
                out secret);
        }

        if (result is Ckr.MechanismParamInvalid or Ckr.ArgumentsBad or Ckr.DataInvalid or Ckr.DataLenRange)
        {
            throw new CryptographicException("The other key was refused by the token.");
        }

        return result;

        ulong Try(byte[] octets, out CULong made)
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
            fixed (byte* other = octets)
            {
                var parameters = new CkEcdh1DeriveParams
                {
                    Derivation = new CULong(Ck.DerivationNull),
                    PublicDataLength = new CULong((uint)octets.Length),
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
                    out made);
            }
        }
    }

    /// <summary>Some tokens take the secret for a number and leave out its leading zeroes.</summary>
    private static byte[] Padded(byte[]? secret, int field)
    {
        if (secret is null || secret.Length == 0 || secret.Length > field)
        {
            throw new Pkcs11Exception(
                Pkcs11Fault.DeviceError, "SECRET_LENGTH",
                "C_DeriveKey gave a secret that cannot be read or of another length than the field");
        }

        if (secret.Length == field)
        {
            return secret;
        }

        var padded = new byte[field];
        secret.CopyTo(padded, field - secret.Length);
        CryptographicOperations.ZeroMemory(secret);
        return padded;
    }

    /// <exception cref="CryptographicException">The private key was asked for.</exception>
    public override ECParameters ExportParameters(bool includePrivateParameters) =>
        includePrivateParameters
            ? throw new CryptographicException("A private key does not leave its token.")
            : _public.ExportParameters(false);

    public override void ImportParameters(ECParameters parameters) =>
        throw new CryptographicException("A key on a token cannot be replaced.");

    public override void GenerateKey(ECCurve curve) =>
        throw new CryptographicException("A key on a token cannot be replaced.");

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _public.Dispose();
        }

        base.Dispose(disposing);
    }
}
