using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;

namespace SecureMail.Mail.Mime;

/// <summary>
/// A media type and its parameters (RFC 2045 §5.1). Parameters are decoded (RFC 2231), their names are lower case,
/// their values are unchanged.
/// </summary>
public sealed class MimeContentType
{
    private const int MaxParameters = 100;

    // The parameters that hold text. The values of all others are tokens or media types, and have no blanks.
    private static readonly HashSet<string> TextParameters = ["filename", "name", "description"];

    private MimeContentType(string mediaType, IReadOnlyDictionary<string, string> parameters)
    {
        MediaType = mediaType;
        Parameters = parameters;
    }

    /// <summary>"type/subtype", lower case.</summary>
    public string MediaType { get; }

    public IReadOnlyDictionary<string, string> Parameters { get; }

    /// <summary>Makes a type to write, with its parameters in order.</summary>
    /// <exception cref="MimeException">UnsafeHeader: the text is not a media type, or a value may not be written into a
    /// header.</exception>
    public static MimeContentType Of(string mediaType, params ReadOnlySpan<(string Name, string Value)> parameters)
    {
        var slash = mediaType.IndexOf('/', StringComparison.Ordinal);
        if (slash < 0
            || !HeaderLexer.IsToken(mediaType.AsSpan(0, slash))
            || !HeaderLexer.IsToken(mediaType.AsSpan(slash + 1)))
        {
            throw new MimeException(MimeReason.UnsafeHeader, "The text is not a media type.");
        }

        var map = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (name, value) in parameters)
        {
            HeaderText.RequireSafe(value);
            if (!HeaderLexer.IsToken(name))
            {
                throw new MimeException(MimeReason.UnsafeHeader, "The text is not a parameter name.");
            }

            map.Add(ToLower(name), value);
        }

        return new MimeContentType(ToLower(mediaType), map);
    }

    /// <summary>
    /// Reads a Content-Type value. Damage that leaves one reading is read: a missing semicolon after a value, several,
    /// a parameter without value, the same parameter twice with the same value.
    /// </summary>
    /// <exception cref="MimeException">Malformed, TooManyParameters.</exception>
    public static MimeContentType Parse(string value, bool encodedWordsInQuotes = true)
    {
        var lexer = new HeaderLexer(value);
        var type = lexer.ReadToken();
        lexer.Expect('/');
        var mediaType = ToLower($"{type}/{lexer.ReadToken()}");
        return new MimeContentType(mediaType, ReadParameters(ref lexer, encodedWordsInQuotes));
    }

    /// <summary>
    /// Reads a Content-Disposition value (RFC 2183). <see cref="MediaType"/> is then the disposition type.
    /// </summary>
    internal static MimeContentType ParseDisposition(string value, bool encodedWordsInQuotes)
    {
        var lexer = new HeaderLexer(value);
        return new MimeContentType(ToLower(lexer.ReadToken()), ReadParameters(ref lexer, encodedWordsInQuotes));
    }

    /// <summary>The tokens of a header value that carries this type and its parameters, for folding between
    /// them.</summary>
    internal List<string> ToTokens()
    {
        List<string> tokens = [MediaType];
        foreach (var (name, value) in Parameters)
        {
            Append(tokens, name, value, wordsForOlderClients: name == "name");
        }

        return tokens;
    }

    /// <summary>
    /// Adds "; name=value" in the form that the value needs. A value beyond US-ASCII is written by RFC 2231, or, with
    /// <paramref name="wordsForOlderClients"/>, as RFC 2047 words in quotes. No standard allows the latter form, but
    /// older clients understand no other.
    /// </summary>
    internal static void Append(List<string> tokens, string name, string value, bool wordsForOlderClients)
    {
        var plain =
            value.AsSpan().IndexOfAnyExceptInRange(' ', '~') < 0
            && value.Length <= 60
            && !value.Contains("=?", StringComparison.Ordinal);
        tokens[^1] += ";";
        if (plain)
        {
            tokens.Add($"{name}={(HeaderLexer.IsToken(value) ? value : Quote(value))}");
        }
        else if (wordsForOlderClients)
        {
            var words = EncodedWord.Encode(value);
            words[0] = $"{name}=\"{words[0]}";
            words[^1] += "\"";
            tokens.AddRange(words);
        }
        else
        {
            AppendExtended(tokens, name, value);
        }
    }

    internal static string Quote(string value) =>
        $"\"{value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\"";

    private static void AppendExtended(List<string> tokens, string name, string value)
    {
        const int room = 50;
        List<string> sections = [];
        var section = new StringBuilder("UTF-8''");
        Span<byte> utf8 = stackalloc byte[4];
        foreach (var rune in value.EnumerateRunes())
        {
            var count = rune.EncodeToUtf8(utf8);
            if (section.Length + 3 * count > room)
            {
                sections.Add(section.ToString());
                section.Clear();
            }

            foreach (var b in utf8[..count])
            {
                if (char.IsAsciiLetterOrDigit((char)b) || b is (byte)'.' or (byte)'-' or (byte)'_')
                {
                    section.Append((char)b);
                }
                else
                {
                    section.Append('%').Append(b.ToString("X2", CultureInfo.InvariantCulture));
                }
            }
        }

        sections.Add(section.ToString());
        for (var i = 0; i < sections.Count; i++)
        {
            var key = sections.Count == 1 ? $"{name}*" : string.Create(CultureInfo.InvariantCulture, $"{name}*{i}*");
            tokens.Add($"{key}={sections[i]}{(i + 1 < sections.Count ? ";" : "")}");
        }
    }

    private static Dictionary<string, string> ReadParameters(ref HeaderLexer lexer, bool encodedWordsInQuotes)
    {
        var raw = new Dictionary<string, string>(StringComparer.Ordinal);
        var count = 0;
        while (true)
        {
            // A reader that splits at semicolons takes what follows the type, or a value without quotes, for a part of
            // it.
            var separated = lexer.WasQuoted && lexer.IsAtBlank;
            var afterSemicolon = false;
            while (lexer.TryTake(';'))
            {
                separated = afterSemicolon = true;
            }

            if (lexer.AtEnd)
            {
                break;
            }

            if (++count > MaxParameters)
            {
                throw new MimeException(
                    MimeReason.TooManyParameters, $"A header field has more than {MaxParameters} parameters.");
            }

            var name = separated ? ToLower(lexer.ReadToken()) : "";
            if (!lexer.TryTake('='))
            {
                // A word without value says nothing. Without a semicolon before it, it may belong to the value before.
                if (afterSemicolon && (lexer.AtEnd || lexer.Peek() == ';'))
                {
                    continue;
                }

                throw new MimeException(MimeReason.Malformed, "Text follows the parameters of a header field.");
            }

            RequireName(name);
            var value = lexer.ReadValue(TextParameters.Contains(name.Split('*')[0]));
            if ((value.Length > 0 || lexer.WasQuoted) && !raw.TryAdd(name, value) && raw[name] != value)
            {
                throw new MimeException(MimeReason.Malformed, "A header field has a parameter twice.");
            }
        }

        return DecodeParameters(raw, encodedWordsInQuotes);
    }

    /// <summary>RFC 2231 §7: a name has none of "*", "'" and "%". Behind it stand "*", or "*" and a number, or both
    /// with "*" at the end.</summary>
    private static void RequireName(string name)
    {
        var star = name.IndexOf('*', StringComparison.Ordinal);
        if (name.AsSpan().ContainsAny('\'', '%')
            || star == 0
            || (star > 0 && name.AsSpan(star + 1).TrimEnd('*').ContainsAnyExceptInRange('0', '9')))
        {
            throw new MimeException(MimeReason.Malformed, "A header field has a parameter whose name is malformed.");
        }
    }

    /// <summary>
    /// Joins the sections of RFC 2231 parameters. The extended form takes precedence over the plain form of the same
    /// name.
    /// </summary>
    private static Dictionary<string, string> DecodeParameters(
        Dictionary<string, string> raw, bool encodedWordsInQuotes)
    {
        var result = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (key, value) in raw)
        {
            var star = key.IndexOf('*', StringComparison.Ordinal);
            if (star < 0)
            {
                result.TryAdd(key, encodedWordsInQuotes ? EncodedWord.Decode(value) : value);
            }
        }

        foreach (var key in raw.Keys)
        {
            var star = key.IndexOf('*', StringComparison.Ordinal);
            if (star > 0 && (key[star..] is "*" or "*0" or "*0*") && TryJoinSections(raw, key[..star], out var value))
            {
                // A file name is often given in both forms, the plain one without its marks. Any other parameter has
                // one value.
                if (!TextParameters.Contains(key[..star])
                    && result.TryGetValue(key[..star], out var plain)
                    && plain != value)
                {
                    throw new MimeException(MimeReason.Malformed, "A header field has a parameter twice.");
                }

                result[key[..star]] = value;
            }
        }

        return result;
    }

    private static bool TryJoinSections(
        Dictionary<string, string> raw, string name, [NotNullWhen(true)] out string? value)
    {
        value = null;
        var bytes = new List<byte>();
        string? charsetName = null;
        for (var i = 0; ; i++)
        {
            var key = string.Create(CultureInfo.InvariantCulture, $"{name}*{i}");
            var single = i == 0 && raw.ContainsKey($"{name}*");
            string? section;
            bool encoded;
            if (single)
            {
                (section, encoded) = (raw[$"{name}*"], true);
            }
            else if (raw.TryGetValue($"{key}*", out section))
            {
                encoded = true;
            }
            else if (raw.TryGetValue(key, out section))
            {
                encoded = false;
            }
            else
            {
                break;
            }

            if (i == 0 && encoded)
            {
                // RFC 2231 §4: charset'language'value
                var first = section.IndexOf('\'', StringComparison.Ordinal);
                var second = first < 0 ? -1 : section.IndexOf('\'', first + 1);
                if (second < 0)
                {
                    return false;
                }

                charsetName = section[..first];
                section = section[(second + 1)..];
            }

            if (encoded)
            {
                AddPercentDecoded(bytes, section);
            }
            else
            {
                bytes.AddRange(Encoding.UTF8.GetBytes(section));
            }

            if (single)
            {
                break;
            }
        }

        if (Charset.Find(charsetName is null or "" ? "utf-8" : charsetName) is not { } charset)
        {
            return false;
        }

        value = charset.GetString([.. bytes]);
        return true;
    }

    private static void AddPercentDecoded(List<byte> bytes, string section)
    {
        for (var i = 0; i < section.Length; i++)
        {
            if (section[i] == '%'
                && i + 2 < section.Length
                && char.IsAsciiHexDigit(section[i + 1])
                && char.IsAsciiHexDigit(section[i + 2]))
            {
                bytes.Add(Convert.FromHexString(section.AsSpan(i + 1, 2))[0]);
                i += 2;
            }
            else if (section[i] < 128)
            {
                bytes.Add((byte)section[i]);
            }
            else
            {
                bytes.AddRange("\uFFFD"u8);
            }
        }
    }

    [SuppressMessage(
        "Globalization", "CA1308",
        Justification = "Media types and parameter names are lower case by convention, and nothing is converted back.")]
    private static string ToLower(string text) => text.ToLowerInvariant();
}
