using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace SecureMail.Pkcs11;

/// <summary>An elliptic-curve key on a token, for ECDSA. Signatures are r || s (IEEE P1363), as .NET has them and as
/// CKM_ECDSA gives them.</summary>
internal sealed class TokenEcdsa : ECDsa
{
    private readonly TokenKey _key;
    private readonly ECDsa _public;

    public TokenEcdsa(TokenKey key, ECParameters publicKey)
    {
        _key = key;
        _public = Create(publicKey);
        KeySizeValue = _public.KeySize;
        LegalKeySizesValue = [new KeySizes(KeySizeValue, KeySizeValue, 0)];
    }

    /// <exception cref="Pkcs11Exception">What the token answers.</exception>
    public override byte[] SignHash(byte[] hash) =>
        _key.Use(
            (functions, session, key) =>
                functions.SignInit(session, new CkMechanism { Mechanism = new CULong(Ck.MechanismEcdsa) }, key),
            "C_SignInit",
            (functions, session) =>
            {
                var field = (KeySize + 7) / 8;
                var signature = new byte[2 * field];
                // FIPS 186-4 §6.4: of a hash longer than the order the leftmost bits count; some tokens leave the
                // cutting to us.
                Cryptoki.Check(
                    functions.Sign(session, hash.AsSpan(0, Math.Min(hash.Length, field)), signature, out var written),
                    "C_Sign");
                return Pad(signature.AsSpan(0, written), field);
            });

    /// <summary>r and s to the length of the order: they are of equal length (PKCS #11 2.40 §2.3.1), which a token may
    /// take from the values.</summary>
    private static byte[] Pad(ReadOnlySpan<byte> signature, int field)
    {
        var half = signature.Length / 2;
        if (half is 0 || half > field || signature.Length % 2 != 0)
        {
            throw new Pkcs11Exception(
                Pkcs11Fault.DeviceError, "SIGNATURE_LENGTH", "C_Sign gave a signature of odd length");
        }

        var padded = new byte[2 * field];
        signature[..half].CopyTo(padded.AsSpan(field - half));
        signature[half..].CopyTo(padded.AsSpan((2 * field) - half));
        return padded;
    }

    public override bool VerifyHash(byte[] hash, byte[] signature) => _public.VerifyHash(hash, signature);

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
