using System.Security.Cryptography;

namespace SecureMail.Pkcs11;

/// <summary>
/// What <see cref="TokenEcdsa"/> and <see cref="TokenEcdh"/> share, because their base classes are different types of
/// .NET: the key on the token, its public key, and the form of field elements.
/// </summary>
internal sealed class TokenEcKey : IDisposable
{
    private readonly ECDsa _public;

    public TokenEcKey(TokenKey token, ECParameters publicKey)
    {
        Token = token;
        _public = ECDsa.Create(publicKey);
    }

    public TokenKey Token { get; }

    /// <summary>Bits of the field.</summary>
    public int KeySize => _public.KeySize;

    /// <summary>Bytes of a field element: of a coordinate, of r and of s.</summary>
    public int FieldSize => (KeySize + 7) / 8;

    /// <summary>The one size of this key, for <see cref="AsymmetricAlgorithm.LegalKeySizes"/>.</summary>
    public KeySizes[] LegalKeySizes => [new KeySizes(KeySize, KeySize, 0)];

    public bool VerifyHash(byte[] hash, byte[] signature) => _public.VerifyHash(hash, signature);

    /// <summary>The public key.</summary>
    /// <exception cref="CryptographicException">The private key was requested.</exception>
    public ECParameters ExportParameters(bool includePrivateParameters) =>
        includePrivateParameters ? throw TokenKey.NotExportable() : _public.ExportParameters(false);

    /// <summary>A number as a field element: zero bytes are put before it, because some tokens leave out the leading
    /// zero bytes.</summary>
    /// <param name="number">Big-endian, not longer than the field.</param>
    /// <param name="field">Zeroes, <see cref="FieldSize"/> bytes.</param>
    public static void PadLeft(ReadOnlySpan<byte> number, Span<byte> field) =>
        number.CopyTo(field[(field.Length - number.Length)..]);

    public void Dispose() => _public.Dispose();
}
