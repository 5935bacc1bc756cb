using System.Text;

namespace SecureMail.TestKit;

/// <summary>
/// Changes a message as attackers, relays and broken writers do: octets, lines, header fields, parts, and the octets of
/// a signature inside its base64. The same seed message and number give the same octets on every machine.
/// </summary>
internal static class MailMutator
{
    private static readonly string[] Fields =
    [
        "Content-Type: text/html", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64",
        "Content-Transfer-Encoding: quoted-printable", "Content-Transfer-Encoding: 8bit", "From: evil@x.vn",
        "From: vanthu@tinhuy.vn", "Subject: Pay 9999", "Content-Type: multipart/mixed; boundary=w",
        "Content-Type: application/pkcs7-mime; smime-type=signed-data", "Content-Disposition: inline; filename=a.html",
        "Content-Type: application/octet-stream; name=smime.p7s", "X: y", "Sender: evil@x.vn", "MIME-Version: 1.0",
    ];

    private static readonly string[] Texts =
    [
        "Pay 9999 to Mallory.", "<p>Pay 9999 to Mallory.</p>", "--w", "--w--", "------A1B2", "------A1B2--", "--M1",
        "--M1--", "--", "-----BEGIN CMS-----", "-----END CMS-----", "\0\0\0\0", " \t ", "From me Mon Jun  1", "\uFEFF",
    ];

    private static readonly (string Old, string New)[] Replacements =
    [
        ("multipart/signed", "multipart/mixed"), ("multipart/mixed", "multipart/alternative"),
        ("application/pkcs7-signature", "text/html"), ("application/pkcs7-signature", "application/x-pkcs7-signature"),
        ("application/pkcs7-mime", "application/pkcs7-signature"),
        ("application/pkcs7-mime", "application/octet-stream"),
        ("application/octet-stream", "text/plain"), ("boundary=", "boundary=\"evil\"; x-boundary="),
        ("boundary=", "Boundary = "), ("boundary=", "boundary=evil; boundary="), ("; ", ";; "), ("; ", " "),
        ("; ", ";"),
        (":", " :"), (": ", ":"), ("Content-Type:", "content-type:"), ("Content-Type:", "X-Type:"),
        ("Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: base64 (c);"),
        ("Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: 7bit"),
        ("Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: \"Base64\""),
        ("protocol=", "x-protocol="), ("micalg=sha-256", "micalg=md5"), ("name=", "name*=utf-8''x; y="),
        ("text/plain", "text/html"), ("=", "= "), ("--\r\n", "-- \r\n"), ("\r\n\r\n", "\r\n \r\n"), ("\r\n", "\n"),
        ("\r\n", "\r\n\r\n"), ("\r\n", "\r\r\n"), ("=\r\n", "\r\n"), ("Pay 100", "Pay 900"), (" ", "\t"),
        ("\r\n ", " "),
    ];

    /// <summary>One mutant of a message.</summary>
    public static byte[] Mutate(byte[] mail, ulong number)
    {
        var random = new SplitMix(number);
        var text = Encoding.Latin1.GetString(mail);
        for (var changes = 1 + random.Below(3); changes > 0; changes--)
        {
            text = Change(text, random);
        }

        return Encoding.Latin1.GetBytes(text);
    }

    private static string Change(string text, SplitMix random)
    {
        if (text.Length == 0)
        {
            return "\n";
        }

        var at = random.Below(text.Length);
        switch (random.Below(18))
        {
            case 0:
                return Put(text, at, 1, ((char)(text[at] ^ (1 << random.Below(8)))).ToString());
            case 1:
                return Put(text, at, 0, ((char)random.Below(256)).ToString());
            case 2:
                return Put(text, at, Math.Min(1 + random.Below(4), text.Length - at), "");
            case 3:
                return Put(text, LineAt(text, at), 0, Pick(Fields, random) + "\r\n");
            case 4:
                return Put(text, LineAt(text, at), 0, Pick(Texts, random) + "\r\n");
            case 5:
                return Put(text, at, 0, Pick(Texts, random));
            case 6:
                return text + Pick(Texts, random) + (random.Below(2) == 0 ? "\r\n" : "");
            case 7:
                return Pick(Texts, random) + (random.Below(2) == 0 ? "\r\n" : "") + text;
            case 8:
                var (line, end) = (LineAt(text, at), EndOfLine(text, at));
                return random.Below(2) == 0
                    ? Put(text, line, end - line, "")
                    : Put(text, LineAt(text, random.Below(text.Length)), 0, text[line..end]);
            case 9 or 10 or 11:
                return Replace(text, random);
            case 12:
                return text.Replace("\r\n", "\n", StringComparison.Ordinal);
            case 13:
                return ChangePart(text, random);
            case 14 or 15:
                return ChangeSignature(text, random);
            case 16:
                return Wrap(text, random);
            default:
                return text[..at];
        }
    }

    /// <summary>Replaces one occurrence, or all.</summary>
    private static string Replace(string text, SplitMix random)
    {
        var (old, with) = Replacements[random.Below(Replacements.Length)];
        if (random.Below(4) == 0)
        {
            return text.Replace(old, with, StringComparison.Ordinal);
        }

        var from = text.IndexOf(old, random.Below(text.Length), StringComparison.Ordinal);
        from = from < 0 ? text.IndexOf(old, StringComparison.Ordinal) : from;
        return from < 0 ? text : Put(text, from, old.Length, with);
    }

    /// <summary>Adds, doubles or moves a part at a delimiter.</summary>
    private static string ChangePart(string text, SplitMix random)
    {
        List<int> delimiters = [];
        for (var i = text.IndexOf("\n--", StringComparison.Ordinal); i >= 0;
            i = text.IndexOf("\n--", i + 1, StringComparison.Ordinal))
        {
            delimiters.Add(i + 1);
        }

        if (delimiters.Count < 2)
        {
            return text;
        }

        var index = random.Below(delimiters.Count - 1);
        var (start, end) = (delimiters[index], delimiters[index + 1]);
        var delimiter = text[start..EndOfLine(text, start)];
        return random.Below(4) switch
        {
            0 => Put(text, start, 0, $"{delimiter}Content-Type: text/html\r\n\r\nPay 9999 to Mallory.\r\n"),
            1 => Put(text, end, 0, text[start..end]),
            2 => Put(text, start, end - start, ""),
            _ => Put(text, end, 0, $"{delimiter.TrimEnd()}--\r\nPay 9999 to Mallory.\r\n"),
        };
    }

    /// <summary>Decodes a block of base64, changes its octets and encodes it again.</summary>
    private static string ChangeSignature(string text, SplitMix random)
    {
        List<int> blocks = [];
        for (var i = text.IndexOf("\nMI", StringComparison.Ordinal); i >= 0;
            i = text.IndexOf("\nMI", i + 1, StringComparison.Ordinal))
        {
            blocks.Add(i + 1);
        }

        if (blocks.Count == 0)
        {
            return text;
        }

        var start = blocks[random.Below(blocks.Count)];
        var end = start;
        while (end < text.Length
            && (char.IsAsciiLetterOrDigit(text[end]) || text[end] is '+' or '/' or '=' or '\r' or '\n'))
        {
            end++;
        }

        List<byte> octets;
        try
        {
            octets = [.. Convert.FromBase64String(text[start..end])];
        }
        catch (FormatException)
        {
            return text;
        }

        if (octets.Count == 0)
        {
            return text;
        }

        var at = random.Below(octets.Count);
        switch (random.Below(7))
        {
            case 0:
                octets[at] ^= (byte)(1 << random.Below(8));
                break;
            case 1:
                octets[at] = (byte)random.Below(256);
                break;
            case 2:
                octets.AddRange(Enumerable.Repeat((byte)0, 1 + random.Below(20)));
                break;
            case 3:
                octets.AddRange(Encoding.Latin1.GetBytes(Pick(Texts, random)));
                break;
            case 4:
                octets.RemoveRange(at, Math.Min(octets.Count - at, 1 + random.Below(4)));
                break;
            case 5:
                octets.Insert(at, (byte)random.Below(256));
                break;
            default:
                octets.RemoveRange(at, octets.Count - at);
                break;
        }

        var encoded = Convert.ToBase64String([.. octets], Base64FormattingOptions.InsertLineBreaks);
        return Put(text, start, end - start, random.Below(5) == 0 ? encoded.TrimEnd('=') : encoded + "\r\n");
    }

    /// <summary>Puts the whole body into a part of a new multipart.</summary>
    private static string Wrap(string text, SplitMix random)
    {
        var at = text.IndexOf("Content-Type:", StringComparison.Ordinal);
        if (at < 0)
        {
            return text;
        }

        var beside = random.Below(2) == 0 ? "" : "--w\r\nContent-Type: text/plain\r\n\r\nPay 9999 to Mallory.\r\n";
        var (before, behind) = random.Below(2) == 0 ? (beside, "") : ("", beside);
        var subtype = random.Below(2) == 0 ? "mixed" : "related";
        return $"{text[..at]}Content-Type: multipart/{subtype}; "
            + $"boundary=w\r\n\r\n{before}--w\r\n{text[at..]}\r\n{behind}--w--\r\n";
    }

    private static string Put(string text, int at, int length, string with) =>
        string.Concat(text.AsSpan(0, at), with, text.AsSpan(at + length));

    private static int LineAt(string text, int at) => text.LastIndexOf('\n', at) + 1;

    private static int EndOfLine(string text, int at)
    {
        var end = text.IndexOf('\n', at);
        return end < 0 ? text.Length : end + 1;
    }

    private static string Pick(string[] list, SplitMix random) => list[random.Below(list.Length)];

    /// <summary>SplitMix64: the same numbers on every platform and version, which System.Random does not
    /// promise.</summary>
    private sealed class SplitMix(ulong state)
    {
        private ulong _state = state;

        public int Below(int limit)
        {
            _state += 0x9E3779B97F4A7C15;
            var z = (_state ^ (_state >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return (int)((z ^ (z >> 31)) % (ulong)limit);
        }
    }
}
