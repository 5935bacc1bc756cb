using System.Security.Cryptography;
using System.Text;

namespace SecureMail.Pkcs11;

/// <summary>
/// A PIN or password as an editor wrote it into a file. PKCS #11 2.40 §5.6.8: a PIN is UTF-8. A byte order mark and
/// line ends are the editor's and no part of a PIN: sent to a token, they would spend one of its few tries. A file in
/// UTF-16, which has a byte order mark, is turned into UTF-8.
/// </summary>
public static class SecretText
{
    /// <summary>The secret in UTF-8, without byte order mark and line ends behind. The array given is wiped unless it
    /// is the one returned.</summary>
    public static byte[] Decode(byte[] written)
    {
        ArgumentNullException.ThrowIfNull(written);
        switch (written)
        {
            case [0xEF, 0xBB, 0xBF, .. var rest]:
                return Replace(written, rest.AsSpan().TrimEnd("\r\n"u8).ToArray(), rest);
            case [0xFF, 0xFE, ..] when TryDecode(written, Encoding.Unicode) is { } decoded:
                return Replace(written, decoded);
            case [0xFE, 0xFF, ..] when TryDecode(written, Encoding.BigEndianUnicode) is { } decoded:
                return Replace(written, decoded);
            default:
                return written;
        }
    }

    private static byte[]? TryDecode(byte[] written, Encoding encoding)
    {
        // The reader of the file may have taken the bytes of a line end away, and with them half of a character.
        var whole = written.AsSpan(2, (written.Length & ~1) - 2);
        var characters = new char[encoding.GetCharCount(whole)];
        encoding.GetChars(whole, characters);
        var decoded = Encoding.UTF8.GetBytes(characters.AsSpan().TrimEnd("\r\n").ToArray());
        characters.AsSpan().Clear();
        return decoded;
    }

    private static byte[] Replace(byte[] written, byte[] decoded, byte[]? part = null)
    {
        CryptographicOperations.ZeroMemory(written);
        CryptographicOperations.ZeroMemory(part);
        return decoded;
    }
}
