using System.Globalization;
using System.Text;

namespace SecureMail.Mail.Smtp;

/// <summary>
/// One reply (RFC 5321 §4.2) with its enhanced status code (RFC 3463). The server writes it and the client reads it.
/// </summary>
public sealed record SmtpReply
{
    internal const int MaxLines = 100;
    private const int MaxLineLength = 2000;

    /// <param name="code">200 to 599.</param>
    /// <param name="enhanced">The enhanced status code, such as "5.7.1", or null where none is allowed (greeting, EHLO,
    /// 354).</param>
    /// <param name="lines">US-ASCII without control characters. Any other character is replaced, because a reply may
    /// quote what a peer sent.</param>
    public SmtpReply(int code, string? enhanced, params IReadOnlyList<string> lines)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(code, 200);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(code, 599);
        Code = code;
        Enhanced = enhanced;
        Lines = lines.Count == 0 ? [""] : [.. lines.Select(Clean)];
    }

    public int Code { get; }

    public string? Enhanced { get; }

    /// <summary>The text line by line, without codes.</summary>
    public IReadOnlyList<string> Lines { get; }

    public bool IsPositive => Code is >= 200 and < 400;

    public bool IsTransient => Code is >= 400 and < 500;

    public bool IsPermanent => Code >= 500;

    public override string ToString() =>
        $"{Code} {(Enhanced is null ? "" : Enhanced + " ")}{string.Join(" / ", Lines)}";

    internal byte[] ToWire()
    {
        var text = new StringBuilder();
        for (var i = 0; i < Lines.Count; i++)
        {
            text.Append(CultureInfo.InvariantCulture, $"{Code}{(i + 1 < Lines.Count ? '-' : ' ')}");
            if (Enhanced is not null)
            {
                text.Append(Enhanced).Append(' ');
            }

            text.Append(Lines[i]).Append("\r\n");
        }

        return Encoding.ASCII.GetBytes(text.ToString());
    }

    /// <summary>
    /// Splits one reply line into its code, whether more lines follow, and its text. False when the line is not a reply
    /// line.
    /// </summary>
    internal static bool TryParseLine(ReadOnlySpan<byte> line, out int code, out bool more, out string text)
    {
        code = 0;
        more = false;
        text = "";
        // RFC 5321 §4.2: three digits, then a space, a hyphen or nothing.
        if (line.Length < 3
            || line.Length > MaxLineLength
            || line[0] is < (byte)'2' or > (byte)'5'
            || !char.IsAsciiDigit((char)line[1])
            || !char.IsAsciiDigit((char)line[2]))
        {
            return false;
        }

        if (line.Length > 3 && line[3] is not ((byte)' ' or (byte)'-'))
        {
            return false;
        }

        code = ((line[0] - '0') * 100) + ((line[1] - '0') * 10) + line[2] - '0';
        more = line.Length > 3 && line[3] == '-';
        text = line.Length > 4 ? Encoding.UTF8.GetString(line[4..]) : "";
        return true;
    }

    /// <summary>
    /// Makes a reply of the lines read. An enhanced code at the beginning of the first line is removed from each line
    /// (RFC 2034 §4).
    /// </summary>
    internal static SmtpReply FromLines(int code, List<string> lines)
    {
        var first = lines[0];
        var space = first.IndexOf(' ', StringComparison.Ordinal);
        var candidate = space < 0 ? first : first[..space];
        var parts = candidate.Split('.');
        var isEnhanced =
            parts.Length == 3
            && candidate[0] == code.ToString(CultureInfo.InvariantCulture)[0]
            && parts.All(p => p.Length is > 0 and <= 3 && p.All(char.IsAsciiDigit));
        if (!isEnhanced)
        {
            return new SmtpReply(code, null, lines);
        }

        return new SmtpReply(
            code,
            candidate,
            [
                .. lines.Select(l =>
                    l.StartsWith(candidate, StringComparison.Ordinal) ? l[candidate.Length..].TrimStart() : l),
            ]);
    }

    private static string Clean(string line) =>
        line.AsSpan().IndexOfAnyExceptInRange(' ', '~') < 0
            ? line
            : string.Concat(line.Select(c => c is >= ' ' and <= '~' ? c : '?'));
}
