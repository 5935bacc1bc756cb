using System.Buffers;
using System.Text;

namespace SecureMail.Mail.Mime;

/// <summary>Tokens, quoted strings and comments of structured header values (RFC 2045 §5.1, RFC 5322 §3.2), without
/// recursion.</summary>
internal ref struct HeaderLexer(string text)
{
    private const int MaxCommentDepth = 20;

    // RFC 2045 §5.1: any printable US-ASCII character except space and tspecials.
    private static readonly SearchValues<char> TokenChars = SearchValues.Create(
        "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz{|}~");

    // RFC 5322 §3.2.3
    private static readonly SearchValues<char> AtextChars = SearchValues.Create(
        "!#$%&'*+-/=?0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz{|}~");

    // A value without quotes ends before these, where it may hold no blanks.
    private static readonly SearchValues<char> ValueEnds = SearchValues.Create("; \t\"(");

    private readonly string _text = text;
    private int _position;

    public static bool IsToken(ReadOnlySpan<char> text) => !text.IsEmpty && !text.ContainsAnyExcept(TokenChars);

    /// <summary>Whether the character is atext: RFC 5322 §3.2.3 with the additions of RFC 6532 §3.2.</summary>
    public static bool IsAtext(char c) => AtextChars.Contains(c) || (c >= 0x80 && !char.IsControl(c));

    public bool AtEnd
    {
        get
        {
            SkipBlank();
            return _position == _text.Length;
        }
    }

    /// <summary>Whether the last value read stood in quotes.</summary>
    public bool WasQuoted { get; private set; }

    /// <summary>Whether the next character is white space or begins a comment.</summary>
    public readonly bool IsAtBlank => _position < _text.Length && _text[_position] is ' ' or '\t' or '(';

    /// <summary>The next character after white space and comments; NUL at the end.</summary>
    public char Peek()
    {
        SkipBlank();
        return _position < _text.Length ? _text[_position] : '\0';
    }

    public bool TryTake(char c)
    {
        if (Peek() != c || _position == _text.Length)
        {
            return false;
        }

        _position++;
        return true;
    }

    public void Expect(char c)
    {
        if (!TryTake(c))
        {
            throw new MimeException(MimeReason.Malformed, $"A header field lacks '{c}' where its grammar needs it.");
        }
    }

    public string ReadToken()
    {
        SkipBlank();
        var rest = _text.AsSpan(_position);
        var length = rest.IndexOfAnyExcept(TokenChars);
        return Take(length < 0 ? rest.Length : length);
    }

    /// <summary>Reads the value of a parameter; empty when there is none.</summary>
    /// <param name="mayHoldBlanks">Whether a value without quotes may hold blanks, as file names do. It then reaches to
    /// the next ';'.</param>
    /// <exception cref="MimeException">A value without quotes has two readings: with blanks, or as several
    /// parameters.</exception>
    public string ReadValue(bool mayHoldBlanks)
    {
        WasQuoted = Peek() == '"';
        if (WasQuoted)
        {
            return ReadQuoted();
        }

        // Older clients leave spaces, slashes or 8-bit letters unquoted, so the text up to the next ';' or '"' is read
        // as it stands.
        var rest = _text.AsSpan(_position);
        var length = mayHoldBlanks ? rest.IndexOfAny(';', '"', '(') : rest.IndexOfAny(ValueEnds);
        var run = (length < 0 ? rest : rest[..length]).TrimEnd(" \t");
        if (mayHoldBlanks)
        {
            foreach (var word in run.SplitAny(' ', '\t'))
            {
                if (word.Start.Value > 0 && run[word].IndexOf('=') > 0)
                {
                    throw new MimeException(MimeReason.Malformed, "A header field lacks a semicolon or quotes.");
                }
            }
        }

        _position += run.Length;
        return run.ToString();
    }

    /// <summary>Reads a quoted string and returns it without its quotes and escapes.</summary>
    public string ReadQuoted()
    {
        Expect('"');
        var value = new StringBuilder();
        while (_position < _text.Length)
        {
            var c = _text[_position++];
            switch (c)
            {
                case '"':
                    return value.ToString();
                case '\\' when _position < _text.Length:
                    value.Append(_text[_position++]);
                    break;
                default:
                    value.Append(c);
                    break;
            }
        }

        throw new MimeException(MimeReason.Malformed, "A quoted string in a header field does not end.");
    }

    /// <summary>Reads the longest atom here (RFC 5322 §3.2.3); empty when there is none.</summary>
    public string ReadAtom()
    {
        SkipBlank();
        var end = _position;
        while (end < _text.Length && IsAtext(_text[end]))
        {
            end++;
        }

        var atom = _text[_position..end];
        _position = end;
        return atom;
    }

    /// <summary>Reads a domain literal, brackets included (RFC 5322 §3.4.1).</summary>
    public string ReadDomainLiteral()
    {
        SkipBlank();
        var end = _text.IndexOf(']', _position);
        if (end < 0)
        {
            throw new MimeException(MimeReason.InvalidAddress, "A domain literal does not end.");
        }

        var literal = _text[_position..(end + 1)];
        _position = end + 1;
        return literal;
    }

    private string Take(int length)
    {
        if (length == 0)
        {
            throw new MimeException(MimeReason.Malformed, "A header field lacks a token where its grammar needs one.");
        }

        var taken = _text.Substring(_position, length);
        _position += length;
        return taken;
    }

    private void SkipBlank()
    {
        var depth = 0;
        for (; _position < _text.Length; _position++)
        {
            var c = _text[_position];
            if (c == '(')
            {
                if (++depth > MaxCommentDepth)
                {
                    throw new MimeException(MimeReason.TooDeep, "Comments in a header field are nested too deep.");
                }
            }
            else if (depth > 0 && c == ')')
            {
                depth--;
            }
            else if (depth > 0 && c == '\\')
            {
                if (_position + 1 < _text.Length)
                {
                    _position++;
                }
            }
            else if (depth == 0 && c is not (' ' or '\t'))
            {
                return;
            }
        }

        if (depth > 0)
        {
            throw new MimeException(MimeReason.Malformed, "A comment in a header field does not end.");
        }
    }
}
