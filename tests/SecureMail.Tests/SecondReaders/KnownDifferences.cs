using System.Text;
using System.Text.RegularExpressions;

namespace SecureMail.Tests.SecondReaders;

/// <summary>
/// What the second readers do not read although it has one reading, undone in a message. docs/reading.md lists each
/// with
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
        var octets = Convert.FromBase64String(Pad(block));
        return RepairDigest(octets) ? Convert.ToBase64String(octets) + block[block.TrimEnd().Length..] : Pad(block);
    }

    /// <summary>Puts a known digest in place of an unknown one in digestAlgorithms (RFC 5652 §5.1), which says nothing
    /// that the signer does not say again.</summary>
    private static bool RepairDigest(byte[] cms)
    {
        var at = cms.AsSpan(0, Math.Min(cms.Length, 64)).IndexOf(
            (ReadOnlySpan<byte>)[0x31, 0x0D, 0x30, 0x0B, 0x06, 0x09]);
        if (at < 0 || cms.Length < at + 15)
        {
            return false;
        }

        var identifier = cms.AsSpan(at + 6, 9);
        var last = identifier[8] is 2 or 3 ? identifier[8] : (byte)1;
        byte[] known = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last];
        if (identifier.SequenceEqual(known))
        {
            return false;
        }

        known.CopyTo(identifier);
        return true;
    }

    private static string Pad(string block)
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
