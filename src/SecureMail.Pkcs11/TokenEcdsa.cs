using System.Security.Cryptography;
using Net.Pkcs11Interop.Common;

namespace SecureMail.Pkcs11;

/// <summary>An elliptic-curve key on a token, for ECDSA. Signatures are r || s (IEEE P1363), the form of .NET and of
/// CKM_ECDSA.</summary>
internal sealed class TokenEcdsa : ECDsa
{
    private readonly TokenEcKey _key;

    public TokenEcdsa(TokenEcKey key)
    {
        _key = key;
        KeySizeValue = key.KeySize;
        LegalKeySizesValue = key.LegalKeySizes;
    }

    /// <exception cref="Pkcs11Exception">The error of the token.</exception>
    public override byte[] SignHash(byte[] hash) =>
        _key.Token.Execute(
            (functions, session, key) =>
                functions.SignInit(session, new Mechanism(CKM.CKM_ECDSA), key),
            "C_SignInit",
            (functions, session) =>
            {
                var field = _key.FieldSize;
                var signature = new byte[2 * field];
                // FIPS 186-4 §6.4: of a hash longer than the order the leftmost bits count. Truncate it here, because
                // some tokens do not.
                Cryptoki.Check(
                    functions.Sign(session, hash[..Math.Min(hash.Length, field)], signature, out var written),
                    "C_Sign");
                return Pad(signature.AsSpan(0, written), field);
            });

    /// <summary>Pads r and s to the length of the order. PKCS #11 2.40 §2.3.1: r and s have equal length; a token may
    /// take that length from the values.</summary>
    private static byte[] Pad(ReadOnlySpan<byte> signature, int field)
    {
        var half = signature.Length / 2;
        if (half is 0 || half > field || signature.Length % 2 != 0)
        {
            throw new Pkcs11Exception(
                Pkcs11Fault.DeviceError, "SIGNATURE_LENGTH", "the signature of C_Sign has an invalid length");
        }

        var padded = new byte[2 * field];
        TokenEcKey.PadLeft(signature[..half], padded.AsSpan(0, field));
        TokenEcKey.PadLeft(signature[half..], padded.AsSpan(field));
        return padded;
    }

    public override bool VerifyHash(byte[] hash, byte[] signature) => _key.VerifyHash(hash, signature);

    public override ECParameters ExportParameters(bool includePrivateParameters) =>
        _key.ExportParameters(includePrivateParameters);

    public override void ImportParameters(ECParameters parameters) => throw TokenKey.NotReplaceable();

    public override void GenerateKey(ECCurve curve) => throw TokenKey.NotReplaceable();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _key.Dispose();
        }

        base.Dispose(disposing);
    }
}
