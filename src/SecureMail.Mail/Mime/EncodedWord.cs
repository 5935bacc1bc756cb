using System.Buffers.Text;
using System.Text;

namespace SecureMail.Mail.Mime;

/// <summary>
/// Reads and writes encoded words (RFC 2047). Reading joins the bytes of neighbouring words of one charset before
/// decoding, because older clients split a character between two words. Writing makes one run of UTF-8 base64 words, so
/// that spaces, NFC and NFD are restored exactly.
/// </summary>
internal static class EncodedWord
{
    /// <summary>
    /// Characters of a written word. RFC 2047 §2 allows 75; this limit is lower so that a word and the name of its
    /// field or parameter fit into a line of 76.
    /// </summary>
    private const int MaxWord = 56;

    private const string Prefix = "=?UTF-8?B?";

    /// <summary>Decodes every encoded word in the text and leaves the other text as it is. Never throws.</summary>
    public static string Decode(string text)
    {
        if (!text.Contains("=?", StringComparison.Ordinal))
        {
            return text;
        }

        var output = new StringBuilder(text.Length);
        var run = new List<byte>();
        Encoding? runCharset = null;
        var gapStart = -1; // white space after a word, dropped when another word follows (RFC 2047 §6.2)
        for (var i = 0; i < text.Length;)
        {
            if (text[i] == '=' && TryReadWord(text, i, out var length, out var charset, out var bytes))
            {
                if (runCharset is not null && !runCharset.Equals(charset))
                {
                    FlushRun();
                }

                runCharset = charset;
                run.AddRange(bytes);
                i += length;
                gapStart = i;
                continue;
            }

            if (gapStart >= 0 && text[i] is ' ' or '\t')
            {
                i++;
                continue;
            }

            FlushRun();
            if (gapStart >= 0)
            {
                output.Append(text, gapStart, i - gapStart);
            }

            gapStart = -1;
            output.Append(text[i++]);
        }

        FlushRun();
        if (gapStart >= 0)
        {
            output.Append(text, gapStart, text.Length - gapStart);
        }

        return output.ToString();

        void FlushRun()
        {
            if (runCharset is null)
            {
                return;
            }

            output.Append(runCharset.GetString(run.ToArray()));
            run.Clear();
            runCharset = null;
        }
    }

    /// <summary>The text as encoded words, to be separated by folding white space.</summary>
    /// <exception cref="MimeException">UnsafeHeader: a control character or half a surrogate pair.</exception>
    public static List<string> Encode(string text)
    {
        const int bytesPerWord = (MaxWord - 12) / 4 * 3; // 12: the prefix and "?="
        HeaderText.RequireSafe(text);
        List<string> words = [];
        var word = new byte[bytesPerWord];
        var used = 0;
        Span<byte> utf8 = stackalloc byte[4];
        foreach (var rune in text.EnumerateRunes())
        {
            // RFC 2047 §5: a word holds whole characters.
            var count = rune.EncodeToUtf8(utf8);
            if (used + count > word.Length)
            {
                Flush();
            }

            utf8[..count].CopyTo(word.AsSpan(used));
            used += count;
        }

        if (used > 0)
        {
            Flush();
        }

        return words;

        void Flush()
        {
            words.Add($"{Prefix}{Convert.ToBase64String(word, 0, used)}?=");
            used = 0;
        }
    }

    private static bool TryReadWord(string text, int start, out int length, out Encoding charset, out byte[] bytes)
    {
        length = 0;
        charset = Encoding.UTF8;
        bytes = [];
        if (start + 1 >= text.Length || text[start + 1] != '?')
        {
            return false;
        }

        var charsetEnd = text.IndexOf('?', start + 2);
        if (charsetEnd < 0 || charsetEnd - start > 60 || charsetEnd + 2 >= text.Length || text[charsetEnd + 2] != '?')
        {
            return false;
        }

        var end = text.IndexOf("?=", charsetEnd + 3, StringComparison.Ordinal);
        if (end < 0)
        {
            return false;
        }

        var payload = text.AsSpan(charsetEnd + 3, end - charsetEnd - 3);
        if (payload.ContainsAny(' ', '\t'))
        {
            return false;
        }

        // RFC 2231 §5: '*' and a language may follow the charset.
        var name = text.AsSpan(start + 2, charsetEnd - start - 2);
        var star = name.IndexOf('*');
        if (Charset.Find((star < 0 ? name : name[..star]).ToString()) is not { } found)
        {
            return false;
        }

        charset = found;
        length = end + 2 - start;
        return text[charsetEnd + 1] switch
        {
            'B' or 'b' => TryDecodeBase64(payload, out bytes),
            'Q' or 'q' => TryDecodeQ(payload, out bytes),
            _ => false,
        };
    }

    private static bool TryDecodeBase64(ReadOnlySpan<char> payload, out byte[] bytes)
    {
        bytes = [];
        if (!Ascii.IsValid(payload))
        {
            return false;
        }
        // Older software often omits the padding, so it is added here; the decoded bytes are the same.
        var padded = Encoding.ASCII.GetBytes(
            payload.TrimEnd('=').ToString() + new string('=', (4 - payload.TrimEnd('=').Length % 4) % 4));
        var buffer = new byte[Base64.GetMaxDecodedFromUtf8Length(padded.Length)];
        if (Base64.DecodeFromUtf8(padded, buffer, out _, out var written) != System.Buffers.OperationStatus.Done)
        {
            return false;
        }

        bytes = buffer[..written];
        return true;
    }

    private static bool TryDecodeQ(ReadOnlySpan<char> payload, out byte[] bytes)
    {
        bytes = [];
        var buffer = new List<byte>(payload.Length);
        for (var i = 0; i < payload.Length; i++)
        {
            switch (payload[i])
            {
                case '_':
                    buffer.Add((byte)' ');
                    break;
                case '=':
                    if (i + 2 >= payload.Length
                        || !char.IsAsciiHexDigit(payload[i + 1])
                        || !char.IsAsciiHexDigit(payload[i + 2]))
                    {
                        return false;
                    }

                    buffer.Add((byte)(Convert.FromHexString(payload.Slice(i + 1, 2))[0]));
                    i += 2;
                    break;
                case < (char)128 and var c:
                    buffer.Add((byte)c);
                    break;
                default:
                    return false;
            }
        }

        bytes = [.. buffer];
        return true;
    }
}
