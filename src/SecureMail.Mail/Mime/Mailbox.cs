using System.Buffers;
using System.Text;

namespace SecureMail.Mail.Mime;

/// <summary>
/// One address (RFC 5322 §3.4): the name shown and the address meant. Groups are flattened. The structure is read
/// before any encoded word is decoded (RFC 2047 §6.2), so a name can never turn into an address.
/// </summary>
public sealed record Mailbox
{
    /// <summary>Addresses in one field. The largest dispatch goes to some 3,300 agencies.</summary>
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

    /// <summary>The decoded name, or null.</summary>
    public string? DisplayName { get; }

    /// <summary>Unquoted.</summary>
    public string LocalPart { get; }

    /// <summary>As received; an address literal with its brackets.</summary>
    public string Domain { get; }

    /// <summary>The address as SMTP and headers carry it, the local part quoted where it must be.</summary>
    public string Address => $"{(IsDotAtom(LocalPart) ? LocalPart : MimeContentType.Quote(LocalPart))}@{Domain}";

    /// <summary>Whether both name one mailbox: domains without case (RFC 5321 §2.4), local parts too, as every agency's
    /// server does.</summary>
    public bool IsSameAddressAs(Mailbox other) =>
        LocalPart.Equals(other.LocalPart, StringComparison.OrdinalIgnoreCase)
        && Domain.Equals(other.Domain, StringComparison.OrdinalIgnoreCase);

    /// <summary>One bare address, with nothing around it.</summary>
    /// <exception cref="MimeException">InvalidAddress.</exception>
    public static Mailbox Parse(string address)
    {
        var (local, domain) = SplitAddress(address);
        return new Mailbox(null, local, domain);
    }

    /// <summary>An address list as From, To or Cc carry it.</summary>
    /// <exception cref="MimeException">Malformed, InvalidAddress, TooManyAddresses, TooDeep.</exception>
    public static IReadOnlyList<Mailbox> ParseList(string value)
    {
        var lexer = new HeaderLexer(value);
        List<Mailbox> found = [];
        var inGroup = false;
        while (!lexer.AtEnd)
        {
            if (lexer.TryTake(',')) // RFC 5322 §4.4: empty members were legal once and still occur
            {
                continue;
            }

            if (inGroup && lexer.TryTake(';'))
            {
                inGroup = false;
                continue;
            }

            var phrase = Phrase(ref lexer, out var words, out var quoted);
            if (lexer.TryTake('<'))
            {
                found.Add(AngleAddress(ref lexer, phrase));
            }
            else if (lexer.TryTake(':'))
            {
                if (inGroup || words == 0)
                {
                    throw new MimeException(MimeReason.Malformed, "An address group stands where none may.");
                }

                inGroup = true;
                continue;
            }
            else if (lexer.Peek() == '@')
            {
                found.Add(Bare(ref lexer, phrase, words, quoted));
            }
            else
            {
                throw new MimeException(
                    MimeReason.InvalidAddress, "An address list holds something that is no address.");
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
                MimeReason.InvalidAddress, "An address beyond US-ASCII cannot be sent (SMTPUTF8 is not spoken).");
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

    /// <summary>Words, quoted strings and dots up to what is neither; decoded afterwards. <paramref name="words"/>
    /// counts them.</summary>
    private static string Phrase(ref HeaderLexer lexer, out int words, out bool quoted)
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
                word = lexer.Quoted();
            }
            else if (next == '.')
            {
                word = lexer.TryTake('.') ? "." : "";
            }
            else if (HeaderLexer.IsAtext(next))
            {
                word = lexer.Atom();
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

    private static Mailbox AngleAddress(ref HeaderLexer lexer, string phrase)
    {
        var local = LocalPartOf(ref lexer);
        lexer.Expect('@');
        var domain = DomainOf(ref lexer);
        lexer.Expect('>');
        var name = EncodedWord.Decode(phrase);
        return new Mailbox(name.Length == 0 ? null : name, local, domain);
    }

    /// <summary>An address without angle brackets: its local part was read as a phrase, and must have been one word or
    /// a dotted atom.</summary>
    private static Mailbox Bare(ref HeaderLexer lexer, string phrase, int words, bool quoted)
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
        return new Mailbox(null, local, DomainOf(ref lexer));
    }

    private static (string LocalPart, string Domain) SplitAddress(string address)
    {
        if (address.AsSpan().ContainsAny(NeverInOneAddress) && !address.StartsWith('"') && !address.EndsWith(']'))
        {
            throw new MimeException(MimeReason.InvalidAddress, "That is not one address.");
        }

        var lexer = new HeaderLexer(address);
        var local = LocalPartOf(ref lexer);
        if (!lexer.TryTake('@'))
        {
            throw new MimeException(MimeReason.InvalidAddress, "An address has no '@'.");
        }

        var domain = DomainOf(ref lexer);
        if (!lexer.AtEnd)
        {
            throw new MimeException(MimeReason.InvalidAddress, "Something stands behind an address.");
        }

        return (local, domain);
    }

    private static string LocalPartOf(ref HeaderLexer lexer)
    {
        string local;
        if (lexer.Peek() == '"')
        {
            local = lexer.Quoted();
        }
        else
        {
            var text = new StringBuilder(lexer.Atom());
            while (lexer.TryTake('.'))
            {
                text.Append('.').Append(lexer.Atom());
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
        // RFC 5321 §4.5.3.1.1: 64 octets. Controls are legal nowhere.
        if (local.Length == 0 || Encoding.UTF8.GetByteCount(local) > 64 || local.Any(char.IsControl))
        {
            throw new MimeException(
                MimeReason.InvalidAddress,
                "The local part of an address is empty, longer than 64 octets or holds controls.");
        }
    }

    private static string DomainOf(ref HeaderLexer lexer)
    {
        string domain;
        if (lexer.Peek() == '[')
        {
            domain = lexer.DomainLiteral();
            if (domain.AsSpan(1, domain.Length - 2).ContainsAnyExcept(AddressLiteral))
            {
                throw new MimeException(MimeReason.InvalidAddress, "An address literal holds more than an address.");
            }
        }
        else
        {
            var text = new StringBuilder(lexer.Atom());
            while (lexer.TryTake('.'))
            {
                text.Append('.').Append(lexer.Atom());
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
            throw new MimeException(MimeReason.InvalidAddress, "The domain of an address is longer than 255 octets.");
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
