using SecureMail.Mail.Mime;

namespace SecureMail.Smime;

/// <summary>
/// The header fields to show to a reader. They are those inside the signature where the message protects its header
/// (RFC 9788), otherwise those of the outer header.
/// </summary>
public sealed class MessageHeaders
{
    // From is not among them: a message whose outer From contradicts the protected one has no sender (SoleSender).
    private static readonly string[] Compared = ["Subject", "To", "Cc", "Date"];

    // RFC 9788 §3 (hcp_baseline), and what mail clients write instead.
    private static readonly string[] ObscuredSubjects = ["[...]", "..."];

    private MessageHeaders(MimePart source, MimePart? outer)
    {
        AreProtected = outer is not null;
        Contradicted = outer is null ? [] : ContradictedBy(outer, source);
        From = TryMailboxes(source, "From");
        To = TryMailboxes(source, "To");
        Subject = source.Header("Subject")?.Text ?? "";
        Date = source.Header("Date") is { } date && MailDate.TryParse(date.Value, out var read) ? read : null;
        MessageId = source.Header("Message-ID")?.Value;
        AutoSubmitted = source.Header("Auto-Submitted")?.Value;
        InReplyTo = source.Header("In-Reply-To")?.Value;
    }

    /// <summary>
    /// Whether the fields are inside the signature or the envelope. They are authentic only if the verdict is valid.
    /// </summary>
    public bool AreProtected { get; }

    /// <summary>
    /// The names of the fields of the outer header that contradict the protected ones: Subject, To, Cc, Date. A field
    /// that is missing outside, or names fewer addressees, contradicts nothing. Empty where the header is not
    /// protected.
    /// </summary>
    public IReadOnlyList<string> Contradicted { get; }

    /// <summary>Every mailbox of every From field; empty when one field does not parse.</summary>
    public IReadOnlyList<Mailbox> From { get; }

    public IReadOnlyList<Mailbox> To { get; }

    public string Subject { get; }

    public DateTimeOffset? Date { get; }

    public string? MessageId { get; }

    public string? AutoSubmitted { get; }

    public string? InReplyTo { get; }

    internal static MessageHeaders Of(MailMessage message, MimePart? payload)
    {
        if (payload is null || payload == message.Root)
        {
            return new MessageHeaders(message.Root, outer: null);
        }
        // RFC 9788 §2.1: the hp parameter says that the header fields of the payload are those of the message.
        if (payload.ContentType.Parameters.GetValueOrDefault("hp") is "cipher" or "clear")
        {
            return new MessageHeaders(payload, message.Root);
        }
        // RFC 8551 §3.1: the older form is a whole message as the payload that is marked as not forwarded.
        if (payload.ContentType is { MediaType: "message/rfc822" } type
            && type.Parameters.GetValueOrDefault("forwarded") == "no"
            && payload.Children.Count == 1)
        {
            return new MessageHeaders(payload.Children[0], message.Root);
        }

        return new MessageHeaders(message.Root, outer: null);
    }

    private static IReadOnlyList<string> ContradictedBy(MimePart outer, MimePart inner)
    {
        // RFC 9788 §2.2: what the sender wrote outside stands inside too, all of it. Where it does not, the sender
        // wrote the same outside as inside, as far as it stands inside.
        var repeated = inner.Headers.Where(h => h.Is("HP-Outer")).Select(h => h.Nested()).OfType<MimeHeader>().ToList();
        IReadOnlyList<MimeHeader> written = repeated.Count > 0 ? repeated : inner.Headers;
        return
        [
            .. Compared.Where(name =>
            {
                var came = outer.Headers.Where(h => h.Is(name)).ToList();
                var sent = written.Where(h => h.Is(name)).ToList();
                if (came.Count == 0 || (repeated.Count == 0 && sent.Count == 0))
                {
                    return false;
                }

                var isObscured =
                    repeated.Count == 0 && name == "Subject"
                    && came is [var subject] && ObscuredSubjects.Contains(subject.Text);
                return !isObscured && !Agree(name, came, sent);
            }),
        ];
    }

    private static bool Agree(string name, List<MimeHeader> came, List<MimeHeader> written)
    {
        if (name is "To" or "Cc" && AddressesOf(came) is { } addresses && AddressesOf(written) is { } known)
        {
            return addresses.IsSubsetOf(known);
        }

        if (
            name == "Date"
            && came is [var one] && MailDate.TryParse(one.Value, out var date)
            && written is [var other] && MailDate.TryParse(other.Value, out var claimed))
        {
            return date == claimed;
        }

        return came.Select(TextOf).SequenceEqual(written.Select(TextOf));
    }

    /// <summary>Null where a field is not an address list.</summary>
    private static HashSet<string>? AddressesOf(List<MimeHeader> fields)
    {
        try
        {
            return
            [
                .. fields
                    .SelectMany(f => Mailbox.ParseList(f.Value))
                    .Select(m => m.Address.ToUpperInvariant()),
            ];
        }
        catch (MimeException)
        {
            return null;
        }
    }

    // Relays fold a field anew, and blanks change with it.
    private static string TextOf(MimeHeader field) =>
        string.Join(' ', field.Text.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries));

    /// <summary>
    /// The one address that the message claims to be from. Null when there is none or more than one, or when the outer
    /// From differs from the protected one (RFC 9788 §4), because then neither may be shown as the signer.
    /// </summary>
    internal static Mailbox? SoleSender(MailMessage message, MessageHeaders shown)
    {
        if (shown.From.Count != 1)
        {
            return null;
        }
        // This is the inner entity of a message, saved as a file of its own: the outer header only describes the body
        // and names nobody. Any other message without outer From has no sender.
        if (
            shown.AreProtected
            && message.Headers.All(h =>
                h.Is("MIME-Version") || h.Name.StartsWith("Content-", StringComparison.OrdinalIgnoreCase)))
        {
            return shown.From[0];
        }

        var outer = TryMailboxes(message.Root, "From");
        return outer.Count == 1 && outer[0].IsSameAddressAs(shown.From[0]) ? shown.From[0] : null;
    }

    private static IReadOnlyList<Mailbox> TryMailboxes(MimePart part, string name)
    {
        try
        {
            return part.Mailboxes(name);
        }
        catch (MimeException)
        {
            return [];
        }
    }
}
