using System.Security.Cryptography;
using Net.Pkcs11Interop.Common;

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
        ulong secret = 0;
        return _key.Token.Execute(
            (functions, session, key) => Derive(functions, session, key, point, field, out secret),
            "C_DeriveKey",
            (functions, session) =>
            {
                // Destroy the session object, because it would otherwise exist as long as the session, which is reused.
                try
                {
                    return ReadSecret(TokenObjects.Read(functions, session, secret, CKA.CKA_VALUE), field);
                }
                finally
                {
                    functions.DestroyObject(session, secret);
                }
            });
    }

    private static ulong Derive(
        Cryptoki functions, ulong session, ulong key, byte[] point, int field, out ulong secret)
    {
        TemplateAttribute[] template =
        [
            new(CKA.CKA_CLASS, (ulong)CKO.CKO_SECRET_KEY),
            new(CKA.CKA_KEY_TYPE, (ulong)CKK.CKK_GENERIC_SECRET),
            new(CKA.CKA_TOKEN, false),
            new(CKA.CKA_SENSITIVE, false),
            new(CKA.CKA_EXTRACTABLE, true),
            new(CKA.CKA_VALUE_LEN, (ulong)field),
        ];
        var result = functions.DeriveKey(session, new EcdhMechanism(point), key, template, out secret);
        // PKCS #11 2.40 §2.3.8: a token must take the raw point. Some tokens take only its DER encoding (OCTET STRING,
        // as in CKA_EC_POINT).
        if (result is Ckr.MechanismParamInvalid or Ckr.ArgumentsBad)
        {
            byte[] encoded = point.Length < 0x80
                ? [0x04, (byte)point.Length, .. point]
                : [0x04, 0x81, (byte)point.Length, .. point];
            result = functions.DeriveKey(session, new EcdhMechanism(encoded), key, template, out secret);
        }

        if (result is Ckr.MechanismParamInvalid or Ckr.ArgumentsBad or Ckr.DataInvalid or Ckr.DataLenRange)
        {
            throw new CryptographicException("The other key was refused by the token.");
        }

        return result;
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
