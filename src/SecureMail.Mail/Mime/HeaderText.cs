using System.Text;

namespace SecureMail.Mail.Mime;

/// <summary>
/// Writes header fields: lines of at most 76 characters, US-ASCII only, and no character that could begin another
/// field. Signed parts carry these fields, so they give a relay no reason to change them.
/// </summary>
internal static class HeaderText
{
    private const int MaxLine = 76;

    /// <summary>Refuses text that no outgoing header may hold.</summary>
    /// <exception cref="MimeException">UnsafeHeader.</exception>
    public static void RequireSafe(string text)
    {
        for (var i = 0; i < text.Length; i++)
        {
            // RFC 5322 §2.2: CR and LF end a field, so text that holds them could add a field.
            if (char.IsControl(text[i]) && text[i] != '\t')
            {
                throw new MimeException(
                    MimeReason.UnsafeHeader, "A header or an address holds a CR, LF, NUL or other control character.");
            }

            if (char.IsSurrogate(text[i])
                && !(char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[++i])))
            {
                throw new MimeException(
                    MimeReason.UnsafeHeader, "A header holds half a surrogate pair, which UTF-8 cannot encode.");
            }
        }
    }

    /// <summary>The tokens of free text: its words when it is plain, otherwise encoded words (RFC 2047).</summary>
    public static List<string> TokensOf(string text)
    {
        RequireSafe(text);
        return IsPlain(text) ? [.. text.Split(' ')] : EncodedWord.Encode(text);
    }

    /// <summary>Refuses a field whose name or value may not be written.</summary>
    /// <exception cref="MimeException">UnsafeHeader: a token is not printable US-ASCII or longer than a
    /// line.</exception>
    public static void RequireField(string name, IReadOnlyList<string> tokens)
    {
        RequireName(name);
        foreach (var token in tokens)
        {
            RequireSafe(token);
            if (!Ascii.IsValid(token) || token.Length > 900)
            {
                throw new MimeException(
                    MimeReason.UnsafeHeader, "A header token is not US-ASCII or is longer than 900 characters.");
            }
        }
    }

    /// <summary>The field "Name: value" with CRLF, folded between tokens.</summary>
    public static string Fold(string name, IReadOnlyList<string> tokens)
    {
        var output = new StringBuilder(name).Append(':');
        var column = output.Length;
        foreach (var token in tokens)
        {
            if (token.Length == 0)
            {
                continue; // an empty value: a space after the colon would be a trailing blank
            }

            if (column + 1 + token.Length > MaxLine && column > 0)
            {
                output.Append("\r\n");
                column = 0;
            }

            output.Append(' ').Append(token);
            column += 1 + token.Length;
        }

        return output.Append("\r\n").ToString();
    }

    private static void RequireName(string name)
    {
        if (name.Length is 0 or > 70
            || name.AsSpan().IndexOfAnyExceptInRange('!', '~') >= 0
            || name.Contains(':', StringComparison.Ordinal))
        {
            throw new MimeException(MimeReason.UnsafeHeader, "A header name is not printable US-ASCII.");
        }
    }

    /// <summary>
    /// Whether the text can be folded at its spaces and read back unchanged: single spaces, no long word, nothing that
    /// looks like an encoded word.
    /// </summary>
    private static bool IsPlain(string text) =>
        text.AsSpan().IndexOfAnyExceptInRange(' ', '~') < 0
        && !text.Contains("=?", StringComparison.Ordinal)
        && !text.StartsWith(' ')
        && !text.EndsWith(' ')
        && !text.Contains("  ", StringComparison.Ordinal)
        && text.Split(' ').All(word => word.Length <= 60);
}
