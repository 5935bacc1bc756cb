using System.Security.Cryptography;

namespace SecureMail.Ledger;

/// <summary>
/// Salted commitments: what an entry says of a document without saying which document it is.
/// The salt lies beside the opened content and dies with it; then the commitment can be tied to nothing,
/// while the ledger stays whole (documents of the Party are recalled and destroyed, the record of it stays).
/// </summary>
public static class Commitment
{
    public const int SaltSize = 32;

    private const string Prefix = "sha256:";
    private const int TextLength = 7 + 64;

    public static byte[] NewSalt() => RandomNumberGenerator.GetBytes(SaltSize);

    /// <summary>HMAC-SHA256(salt, digest) as <c>sha256:</c> and 64 lower-case hexadecimal digits.</summary>
    /// <param name="salt">32 octets from <see cref="NewSalt"/>.</param>
    /// <param name="digest">The SHA-256 of what is committed to, 32 octets.</param>
    public static string Of(ReadOnlySpan<byte> salt, ReadOnlySpan<byte> digest)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(salt.Length, SaltSize, nameof(salt));
        ArgumentOutOfRangeException.ThrowIfNotEqual(digest.Length, SHA256.HashSizeInBytes, nameof(digest));
        return Prefix + Convert.ToHexStringLower(HMACSHA256.HashData(salt, digest));
    }

    internal static bool IsWellFormed(ReadOnlySpan<char> text) =>
        text.Length == TextLength
        && text.StartsWith(Prefix, StringComparison.Ordinal)
        && LedgerEntry.IsLowerHex(text[Prefix.Length..]);
}
