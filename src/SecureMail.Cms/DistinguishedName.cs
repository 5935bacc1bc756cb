using System.Formats.Asn1;
using System.Globalization;
using System.Text;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// An X.501 name, compared by RFC 5280 §7.1 and written by RFC 4514. Comparison ignores the string type, case, and
/// leading, trailing and repeated blanks. Unicode is not normalised, so two encodings of one letter differ, and the
/// comparison fails closed.
/// </summary>
public sealed class DistinguishedName
{
    /// <summary>Attributes of a name at most; real names have a dozen.</summary>
    private const int MaxAttributes = 256;

    /// <summary>Bytes of a name at most; the upper bounds of RFC 5280 Appendix A allow a few kilobytes.</summary>
    internal const int MaxSize = 32 * 1024;

    private readonly List<List<(string Type, string? Value, byte[] Encoded)>> _rdns;
    private string[]? _rdnKeys;

    private DistinguishedName(List<List<(string, string?, byte[])>> rdns) => _rdns = rdns;

    /// <summary>A comparison key: two names match exactly when their keys are equal.</summary>
    public string Key => field ??= string.Join('\u0001', RdnKeys);

    public bool IsEmpty => _rdns.Count == 0;

    private string[] RdnKeys => _rdnKeys ??= [.. _rdns.Select(RdnKey)];

    /// <summary>Reads a name.</summary>
    /// <param name="encoded">The Name.</param>
    /// <param name="rules">DER in certificates and CRLs; BER where CMS names a certificate.</param>
    /// <exception cref="AsnContentException">The bytes are not a Name, or it has more than 256 attributes or 32
    /// KiB.</exception>
    public static DistinguishedName Read(
        ReadOnlyMemory<byte> encoded, AsnEncodingRules rules = AsnEncodingRules.DER)
    {
        if (encoded.Length > MaxSize)
        {
            throw new AsnContentException("A name is too long.");
        }

        var rdns = new List<List<(string, string?, byte[])>>();
        var count = 0;
        var sequence = new AsnReader(encoded, rules).ReadSequence();
        while (sequence.HasData)
        {
            var rdn = new List<(string, string?, byte[])>();
            var set = sequence.ReadSetOf(skipSortOrderValidation: true);
            while (set.HasData)
            {
                if (++count > MaxAttributes)
                {
                    throw new AsnContentException("A name has too many attributes.");
                }

                var attribute = set.ReadSequence();
                var type = Oids.Read(attribute);
                var value = attribute.ReadEncodedValue().ToArray();
                rdn.Add((type, Text(value, rules), value));
            }
            rdns.Add(rdn);
        }
        return new DistinguishedName(rdns);
    }

    public bool Matches(DistinguishedName other) => Key == other.Key;

    /// <summary>Whether this name is within the subtree of another (RFC 5280 §4.2.1.10).</summary>
    public bool IsWithin(DistinguishedName subtree) =>
        subtree.RdnKeys.Length <= RdnKeys.Length
        && RdnKeys.AsSpan(0, subtree.RdnKeys.Length).SequenceEqual(subtree.RdnKeys);

    /// <summary>The values of PKCS#9 emailAddress, which old certificates use.</summary>
    public IEnumerable<string> Emails() =>
        from rdn in _rdns
        from attribute in rdn
        where attribute.Type == "1.2.840.113549.1.9.1" && attribute.Value is not null
        select attribute.Value;

    /// <summary>
    /// The name by RFC 4514: the last RDN first, joined by commas. An attribute type without short name is written as
    /// its object identifier and its value in hexadecimal.
    /// </summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        for (var i = _rdns.Count - 1; i >= 0; i--)
        {
            if (text.Length > 0)
            {
                text.Append(',');
            }

            text.AppendJoin(
                '+',
                _rdns[i]
                    .Select(a =>
                        ShortName(a.Type) is { } name && a.Value is not null
                            ? $"{name}={Escape(a.Value)}"
                            : $"{a.Type}=#{Convert.ToHexStringLower(a.Encoded)}"));
        }
        return text.ToString();
    }

    private static string RdnKey(List<(string Type, string? Value, byte[] Encoded)> rdn) =>
        string.Join(
            '\u0002',
            rdn.Select(a =>
                    a.Value is null ? $"{a.Type}#{Convert.ToHexString(a.Encoded)}" : $"{a.Type}={Fold(a.Value)}")
                .Order(StringComparer.Ordinal));

    private static string Fold(string value)
    {
        var folded = new StringBuilder(value.Length);
        foreach (var c in value)
        {
            if (c is '\u0001' or '\u0002' or '\\')
            {
                // These separate the parts of a key, so a value that holds one must not look like two parts.
                folded.Append('\\').Append((int)c);
            }
            else if (!char.IsWhiteSpace(c))
            {
                folded.Append(char.ToUpperInvariant(c));
            }
            else if (folded.Length > 0 && folded[^1] != ' ')
            {
                folded.Append(' ');
            }
        }
        return folded.ToString().TrimEnd(' ');
    }

    private static string? Text(byte[] value, AsnEncodingRules rules)
    {
        try
        {
            var reader = new AsnReader(value, rules);
            var tag = reader.PeekTag();
            if (tag.TagClass != TagClass.Universal)
            {
                return null;
            }

            switch ((UniversalTagNumber)tag.TagValue)
            {
                case UniversalTagNumber.UTF8String:
                case UniversalTagNumber.PrintableString:
                case UniversalTagNumber.IA5String:
                case UniversalTagNumber.TeletexString:
                case UniversalTagNumber.BMPString:
                case UniversalTagNumber.NumericString:
                case UniversalTagNumber.VisibleString:
                    return reader.ReadCharacterString((UniversalTagNumber)tag.TagValue);
                case UniversalTagNumber.UniversalString:
                    var encoding = new UTF32Encoding(
                        bigEndian: true, byteOrderMark: false, throwOnInvalidCharacters: true);
                    return encoding.GetString(reader.PeekContentBytes().Span);
                default:
                    return null;
            }
        }
        catch (Exception e) when (e is AsnContentException or DecoderFallbackException)
        {
            return null; // characters outside the declared type: the value is compared and written as bytes
        }
    }

    private static string? ShortName(string type) =>
        type switch
        {
            "2.5.4.3" => "CN",
            "2.5.4.4" => "sn",
            "2.5.4.5" => "serialNumber",
            "2.5.4.6" => "C",
            "2.5.4.7" => "L",
            "2.5.4.8" => "ST",
            "2.5.4.9" => "STREET",
            "2.5.4.10" => "O",
            "2.5.4.11" => "OU",
            "2.5.4.12" => "title",
            "2.5.4.42" => "givenName",
            "2.5.4.97" => "organizationIdentifier",
            "0.9.2342.19200300.100.1.1" => "UID",
            "0.9.2342.19200300.100.1.25" => "DC",
            "1.2.840.113549.1.9.1" => "emailAddress",
            _ => null,
        };

    /// <summary>
    /// Escapes a value by RFC 4514 §2.4. Control characters are escaped too, so that a name cannot forge lines where it
    /// is shown.
    /// </summary>
    private static string Escape(string value)
    {
        var text = new StringBuilder(value.Length + 8);
        for (var i = 0; i < value.Length; i++)
        {
            var c = value[i];
            var edgeSpace = c == ' ' && (i == 0 || i == value.Length - 1);
            if (
                char.IsControl(c)
                || char.GetUnicodeCategory(c)
                    is UnicodeCategory.Format
                        or UnicodeCategory.LineSeparator
                        or UnicodeCategory.ParagraphSeparator)
            {
                foreach (var b in Encoding.UTF8.GetBytes([c]))
                {
                    text.Append(CultureInfo.InvariantCulture, $"\\{b:x2}");
                }

                continue;
            }
            if (edgeSpace || c is '"' or '+' or ',' or ';' or '<' or '>' or '\\' || (c == '#' && i == 0))
            {
                text.Append('\\');
            }

            text.Append(c);
        }
        return text.ToString();
    }
}
