using System.Formats.Asn1;
using System.Globalization;
using SecureMail.Cms;

namespace SecureMail.Trust;

internal enum NameKind
{
    Other = 0,
    Email = 1,
    Dns = 2,
    X400 = 3,
    Directory = 4,
    EdiParty = 5,
    Uri = 6,
    Ip = 7,
    RegisteredId = 8,
}

/// <summary>
/// One GeneralName (RFC 5280 §4.2.1.6). Text holds addresses, host names and URIs; Encoded holds the name as DER, and
/// is empty for a name taken from the subject. An e-mail address with characters beyond ASCII is an otherName
/// SmtpUTF8Mailbox (RFC 9598) and has the kind Email here.
/// </summary>
internal sealed record GeneralName(NameKind Kind, string? Text, DistinguishedName? Directory, byte[] Encoded)
{
    private const string SmtpUtf8Mailbox = "1.3.6.1.5.5.7.8.9";
    private const int MaxNames = 1024;

    /// <exception cref="AsnContentException">The sequence is not a GeneralNames, or it has more than 1024
    /// names.</exception>
    public static List<GeneralName> ReadAll(AsnReader sequence)
    {
        var names = new List<GeneralName>();
        while (sequence.HasData)
        {
            if (names.Count == MaxNames)
            {
                throw new AsnContentException("A certificate has too many names.");
            }

            names.Add(Read(sequence));
        }
        return names;
    }

    public static GeneralName Read(AsnReader reader)
    {
        var tag = reader.PeekTag();
        if (tag.TagClass != TagClass.ContextSpecific || tag.TagValue > 8)
        {
            throw new AsnContentException("A name is not a GeneralName.");
        }

        var kind = (NameKind)tag.TagValue;
        var encoded = reader.PeekEncodedValue().ToArray();
        switch (kind)
        {
            case NameKind.Email or NameKind.Dns or NameKind.Uri:
                return new GeneralName(
                    kind, reader.ReadCharacterString(UniversalTagNumber.IA5String, tag), null, encoded);
            case NameKind.Directory:
                return new GeneralName(
                    kind, null, DistinguishedName.Read(reader.ReadSequence(tag).ReadEncodedValue()), encoded);
            case NameKind.Other:
                var other = reader.ReadSequence(tag);
                if (Asn1Oid.Read(other) != SmtpUtf8Mailbox)
                {
                    return new GeneralName(kind, null, null, encoded);
                }

                return new GeneralName(
                    NameKind.Email,
                    other
                        .ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 0))
                        .ReadCharacterString(UniversalTagNumber.UTF8String),
                    null,
                    encoded);
            default:
                reader.ReadEncodedValue();
                return new GeneralName(kind, null, null, encoded);
        }
    }

    /// <summary>The bytes of an iPAddress name: 4 or 16, twice as many in a name constraint.</summary>
    public byte[] IpBytes() =>
        AsnDecoder.ReadOctetString(Encoded, AsnEncodingRules.DER, out _, new Asn1Tag(TagClass.ContextSpecific, 7));
}

/// <summary>
/// An e-mail address as local part and host. The host is in lower-case A-labels, so that all its spellings are equal.
/// </summary>
internal readonly record struct EmailAddress(string Local, string Host)
{
    private static readonly IdnMapping Idn = new();

    public static EmailAddress? Parse(string address)
    {
        var at = address.LastIndexOf('@');
        return at <= 0 || at == address.Length - 1
            ? null
            : new EmailAddress(address[..at], NormaliseHost(address[(at + 1)..]));
    }

    public static string NormaliseHost(string host)
    {
        try
        {
            return host.Any(c => c > 0x7F) ? Idn.GetAscii(host).ToLowerInvariant() : host.ToLowerInvariant();
        }
        catch (ArgumentException)
        {
            return host.ToLowerInvariant();
        }
    }
}
