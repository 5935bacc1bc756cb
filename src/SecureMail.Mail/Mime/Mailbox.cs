using System.Buffers;
using System.Text;

namespace SecureMail.Mail.Mime;

/// <summary>
/// One mailbox (RFC 5322 §3.4): a display name and an address. Groups are flattened. The structure is parsed before any
/// encoded word is decoded (RFC 2047 §6.2), so an encoded name can never become an address.
/// </summary>
public sealed record Mailbox
{
    /// <summary>The most addresses in one field. The largest dispatch has about 3,300 recipients.</summary>
    internal const int MaxAddresses = 5000;

    private static readonly SearchValues<char> NeverInOneAddress = SearchValues.Create("\r\n\t\0()<>,;:");
    private static readonly SearchValues<char> AddressLiteral = SearchValues.Create("0123456789abcdefABCDEF.:IPv");

    /// <exception cref="MimeException">InvalidAddress or UnsafeHeader.</exception>
    public Mailbox(string? displayName, string address)
    {
        if (displayName is not null)
        {
            HeaderText.RequireSafe(displayName);
        }

        (LocalPart, Domain) = SplitAddress(address);
        DisplayName = string.IsNullOrEmpty(displayName) ? null : displayName;
    }

    private Mailbox(string? displayName, string localPart, string domain)
    {
        DisplayName = displayName;
        LocalPart = localPart;
        Domain = domain;
    }

    /// <summary>The decoded display name, or null.</summary>
    public string? DisplayName { get; }

    /// <summary>The local part without quotes.</summary>
    public string LocalPart { get; }

    /// <summary>The domain as received; an address literal has its brackets.</summary>
    public string Domain { get; }

    /// <summary>
    /// The address as SMTP and headers carry it. The local part is quoted where the grammar requires it.
    /// </summary>
    public string Address => $"{(IsDotAtom(LocalPart) ? LocalPart : MimeContentType.Quote(LocalPart))}@{Domain}";

    /// <summary>
    /// Whether both are the same address. Case is ignored in the domain (RFC 5321 §2.4) and in the local part, because
    /// every agency's server ignores it there too.
    /// </summary>
    public bool IsSameAddressAs(Mailbox other) =>
        LocalPart.Equals(other.LocalPart, StringComparison.OrdinalIgnoreCase)
        && Domain.Equals(other.Domain, StringComparison.OrdinalIgnoreCase);

    /// <summary>Reads one bare address without display name or angle brackets.</summary>
    /// <exception cref="MimeException">InvalidAddress.</exception>
    public static Mailbox Parse(string address)
    {
        var (local, domain) = SplitAddress(address);
        return new Mailbox(null, local, domain);
    }

    /// <summary>Reads an address list as From, To or Cc carry it.</summary>
    /// <exception cref="MimeException">Malformed, InvalidAddress, TooManyAddresses, TooDeep.</exception>
    public static IReadOnlyList<Mailbox> ParseList(string value)
    {
        var lexer = new HeaderLexer(value);
        List<Mailbox> found = [];
        var inGroup = false;
        while (!lexer.AtEnd)
        {
            if (lexer.TryTake(',')) // RFC 5322 §4.4: obsolete syntax allows empty list members, and they still occur
            {
                continue;
            }

            if (inGroup && lexer.TryTake(';'))
            {
                inGroup = false;
                continue;
            }

            var phrase = ReadPhrase(ref lexer, out var words, out var quoted);
            if (lexer.TryTake('<'))
            {
                found.Add(ReadAngleAddress(ref lexer, phrase));
            }
            else if (lexer.TryTake(':'))
            {
                if (inGroup || words == 0)
                {
                    throw new MimeException(MimeReason.Malformed, "An address group is nested or has no name.");
                }

                inGroup = true;
                continue;
            }
            else if (lexer.Peek() == '@')
            {
                found.Add(ReadBareAddress(ref lexer, phrase, words, quoted));
            }
            else
            {
                throw new MimeException(
                    MimeReason.InvalidAddress, "An address list holds something that is not an address.");
            }

            if (found.Count > MaxAddresses)
            {
                throw new MimeException(
                    MimeReason.TooManyAddresses, $"An address list has more than {MaxAddresses} addresses.");
            }

            if (!lexer.AtEnd && lexer.Peek() is not (',' or ';'))
            {
                throw new MimeException(MimeReason.Malformed, "Addresses in a list are not separated.");
            }
        }

        if (inGroup)
        {
            throw new MimeException(MimeReason.Malformed, "An address group does not end.");
        }

        return found;
    }

    public override string ToString() => Address;

    /// <summary>The tokens of a header value, for folding between them.</summary>
    internal List<string> ToTokens()
    {
        HeaderText.RequireSafe(Address);
        if (!Ascii.IsValid(Address))
        {
            throw new MimeException(
                MimeReason.InvalidAddress, "An address beyond US-ASCII cannot be sent: SMTPUTF8 is not supported.");
        }

        if (DisplayName is null)
        {
            return [Address];
        }

        var plain =
            DisplayName.AsSpan().IndexOfAnyExceptInRange(' ', '~') < 0
            && DisplayName.Length <= 60
            && !DisplayName.Contains("=?", StringComparison.Ordinal);
        List<string> tokens = plain ? [MimeContentType.Quote(DisplayName)] : EncodedWord.Encode(DisplayName);
        tokens.Add($"<{Address}>");
        return tokens;
    }

    /// <summary>
    /// Reads words, quoted strings and dots up to any other token, without decoding encoded words.
    /// <paramref name="words"/> is their number.
    /// </summary>
    private static string ReadPhrase(ref HeaderLexer lexer, out int words, out bool quoted)
    {
        var text = new StringBuilder();
        words = 0;
        quoted = false;
        while (!lexer.AtEnd)
        {
            var next = lexer.Peek();
            string word;
            if (next == '"')
            {
                word = lexer.ReadQuoted();
            }
            else if (next == '.')
            {
                word = lexer.TryTake('.') ? "." : "";
            }
            else if (HeaderLexer.IsAtext(next))
            {
                word = lexer.ReadAtom();
            }
            else
            {
                break;
            }

            quoted |= next == '"';
            if (text.Length > 0 && word != ".")
            {
                text.Append(' ');
            }

            text.Append(word);
            words++;
        }

        return text.ToString();
    }

    private static Mailbox ReadAngleAddress(ref HeaderLexer lexer, string phrase)
    {
        var local = ReadLocalPart(ref lexer);
        lexer.Expect('@');
        var domain = ReadDomain(ref lexer);
        lexer.Expect('>');
        var name = EncodedWord.Decode(phrase);
        return new Mailbox(name.Length == 0 ? null : name, local, domain);
    }

    /// <summary>
    /// Reads an address without angle brackets. Its local part was read as a phrase, which must be one quoted string or
    /// one dotted atom.
    /// </summary>
    private static Mailbox ReadBareAddress(ref HeaderLexer lexer, string phrase, int words, bool quoted)
    {
        if (words == 0)
        {
            throw new MimeException(MimeReason.InvalidAddress, "An address has no local part.");
        }

        var local = quoted ? phrase : phrase.Replace(" ", "", StringComparison.Ordinal);
        if (quoted ? words != 1 : !IsDotAtom(local) || words != 2 * local.Split('.').Length - 1)
        {
            throw new MimeException(
                MimeReason.InvalidAddress, "An address is preceded by words that do not belong to it.");
        }

        lexer.Expect('@');
        CheckLocalPart(local);
        return new Mailbox(null, local, ReadDomain(ref lexer));
    }

    private static (string LocalPart, string Domain) SplitAddress(string address)
    {
        if (address.AsSpan().ContainsAny(NeverInOneAddress) && !address.StartsWith('"') && !address.EndsWith(']'))
        {
            throw new MimeException(MimeReason.InvalidAddress, "The text is not one address.");
        }

        var lexer = new HeaderLexer(address);
        var local = ReadLocalPart(ref lexer);
        if (!lexer.TryTake('@'))
        {
            throw new MimeException(MimeReason.InvalidAddress, "An address has no '@'.");
        }

        var domain = ReadDomain(ref lexer);
        if (!lexer.AtEnd)
        {
            throw new MimeException(MimeReason.InvalidAddress, "An address is followed by other text.");
        }

        return (local, domain);
    }

    private static string ReadLocalPart(ref HeaderLexer lexer)
    {
        string local;
        if (lexer.Peek() == '"')
        {
            local = lexer.ReadQuoted();
        }
        else
        {
            var text = new StringBuilder(lexer.ReadAtom());
            while (lexer.TryTake('.'))
            {
                text.Append('.').Append(lexer.ReadAtom());
            }

            local = text.ToString();
            if (!IsDotAtom(local))
            {
                throw new MimeException(
                    MimeReason.InvalidAddress, "The local part of an address is neither dotted atoms nor quoted.");
            }
        }

        CheckLocalPart(local);
        return local;
    }

    private static void CheckLocalPart(string local)
    {
        // RFC 5321 §4.5.3.1.1: at most 64 octets. Control characters are legal nowhere.
        if (local.Length == 0 || Encoding.UTF8.GetByteCount(local) > 64 || local.Any(char.IsControl))
        {
            throw new MimeException(
                MimeReason.InvalidAddress,
                "The local part of an address is empty, longer than 64 bytes or holds control characters.");
        }
    }

    private static string ReadDomain(ref HeaderLexer lexer)
    {
        string domain;
        if (lexer.Peek() == '[')
        {
            domain = lexer.ReadDomainLiteral();
            if (domain.AsSpan(1, domain.Length - 2).ContainsAnyExcept(AddressLiteral))
            {
                throw new MimeException(MimeReason.InvalidAddress, "An address literal holds more than an address.");
            }
        }
        else
        {
            var text = new StringBuilder(lexer.ReadAtom());
            while (lexer.TryTake('.'))
            {
                text.Append('.').Append(lexer.ReadAtom());
            }

            domain = text.ToString();
            if (!domain.Split('.').All(IsLabel))
            {
                throw new MimeException(MimeReason.InvalidAddress, "The domain of an address is not a domain name.");
            }
        }

        // RFC 5321 §4.5.3.1.2
        if (Encoding.UTF8.GetByteCount(domain) > 255)
        {
            throw new MimeException(MimeReason.InvalidAddress, "The domain of an address is longer than 255 bytes.");
        }

        return domain;
    }

    private static bool IsLabel(string label) =>
        label.Length is > 0 and <= 63
        && label[0] != '-'
        && label[^1] != '-'
        && label.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' || c >= 0x80);

    private static bool IsDotAtom(string text) =>
        text.Length > 0 && text.Split('.').All(atom => atom.Length > 0 && atom.All(HeaderLexer.IsAtext));
}
