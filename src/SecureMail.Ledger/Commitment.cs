using System.Security.Cryptography;

namespace SecureMail.Ledger;

/// <summary>
/// Salted commitments: an entry commits to a document without telling which document it is. The salt is stored beside
/// the opened content and destroyed with it. After that nobody can tie the commitment to a document, and the ledger is
/// unchanged. Documents of the Party are recalled and destroyed, and the record of that stays.
/// </summary>
public static class Commitment
{
    public const int SaltSize = 32;

    private const string Prefix = "sha256:";
    private const int TextLength = 7 + 64;

    public static byte[] NewSalt() => RandomNumberGenerator.GetBytes(SaltSize);

    /// <summary>HMAC-SHA256(salt, digest) as <c>sha256:</c> and 64 lower-case hexadecimal digits.</summary>
    /// <param name="salt">32 bytes from <see cref="NewSalt"/>.</param>
    /// <param name="digest">The SHA-256 of the content, 32 bytes.</param>
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
