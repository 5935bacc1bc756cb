using System.Text;
using System.Text.RegularExpressions;

namespace SecureMail.Tests.SecondReaders;

/// <summary>
/// What the second readers do not read although it has one reading, undone in a message. docs/reading.md lists each with
/// its reason.
/// </summary>
internal static partial class KnownDifferences
{
    public static byte[] Undo(byte[] mail)
    {
        var text = QuotedEncoding().Replace(Encoding.Latin1.GetString(mail), "${field}${encoding}");
        text = WordWithoutValue().Replace(text, "");
        return Encoding.Latin1.GetBytes(CmsInBase64().Replace(text, block => Padded(block.Value)));
    }

    private static string Padded(string block)
    {
        var count = block.Count(c => char.IsAsciiLetterOrDigit(c) || c is '+' or '/');
        var end = block.TrimEnd().Length;
        return block[..end].TrimEnd('=', '\r', '\n', ' ', '\t') + new string('=', (4 - (count % 4)) % 4) + block[end..];
    }

    [GeneratedRegex(
        "(?<field>Content-Transfer-Encoding\\s*:\\s*)\"(?<encoding>[A-Za-z0-9-]+)\"", RegexOptions.IgnoreCase)]
    private static partial Regex QuotedEncoding();

    [GeneratedRegex("(?<=Content-Type:[^\\n]*);[ \\t]*[^\\s;=\"]+[ \\t]*(?=;)", RegexOptions.IgnoreCase)]
    private static partial Regex WordWithoutValue();

    [GeneratedRegex("(?<=\\n)MI[A-Za-z0-9+/=\\s]+")]
    private static partial Regex CmsInBase64();
}
