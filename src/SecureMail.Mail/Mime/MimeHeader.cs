using System.Text;

namespace SecureMail.Mail.Mime;

/// <summary>One header field: the bytes as received, and its name and value.</summary>
public sealed class MimeHeader
{
    private string? _text;

    private MimeHeader(byte[] raw, long offset, string name, string value)
    {
        Raw = raw;
        Offset = offset;
        Name = name;
        Value = value;
    }

    /// <summary>The name as received; compare with <see cref="Is"/>.</summary>
    public string Name { get; }

    /// <summary>Offset of the field in the received bytes.</summary>
    public long Offset { get; }

    /// <summary>The whole field as received: name, colon, folding and the last line end.</summary>
    public ReadOnlyMemory<byte> Raw { get; }

    /// <summary>
    /// The value unfolded (RFC 5322 §2.2.3), trimmed and read as UTF-8 (RFC 6532). Encoded words are not decoded.
    /// </summary>
    public string Value { get; }

    /// <summary>
    /// The value with its encoded words decoded (RFC 2047). It is for people and for unstructured fields only, because
    /// address lists must be parsed before they are decoded.
    /// </summary>
    public string Text => _text ??= EncodedWord.Decode(Value);

    public bool Is(string name) => Name.Equals(name, StringComparison.OrdinalIgnoreCase);

    /// <summary>The field that the value of this one is (HP-Outer, RFC 9788 §2.2); null where the value is not
    /// "Name: value".</summary>
    public MimeHeader? Nested()
    {
        try
        {
            return Read(Encoding.UTF8.GetBytes(Value), Offset);
        }
        catch (MimeException)
        {
            return null;
        }
    }

    internal static MimeHeader Read(byte[] raw, long offset)
    {
        // RFC 5322 §2.2: a field name is printable US-ASCII without colon. §4.5: blanks may stand before the colon.
        var colon = raw.AsSpan().IndexOf((byte)':');
        var name = colon < 0 ? [] : raw.AsSpan(0, colon).TrimEnd(" \t"u8);
        if (name.IsEmpty || name.IndexOfAnyExceptInRange((byte)33, (byte)126) >= 0)
        {
            throw new MimeException(MimeReason.Malformed, "A header line is not \"Name: value\".");
        }

        var builder = new StringBuilder(raw.Length);
        foreach (var c in Encoding.UTF8.GetString(raw, colon + 1, raw.Length - colon - 1))
        {
            if (c is not ('\r' or '\n'))
            {
                builder.Append(c);
            }
        }

        return new MimeHeader(raw, offset, Encoding.ASCII.GetString(name), builder.ToString().Trim(' ', '\t'));
    }
}
