using SecureMail.Mail.Mime;

namespace SecureMail.Smime;

/// <summary>
/// The header fields to show to a reader. They are those inside the signature where the message protects its header
/// (RFC 9788), otherwise those of the outer header.
/// </summary>
public sealed class MessageHeaders
{
    private MessageHeaders(MimePart source, bool areProtected)
    {
        AreProtected = areProtected;
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
            return new MessageHeaders(message.Root, areProtected: false);
        }
        // RFC 9788 §2.1: the hp parameter says that the header fields of the payload are those of the message.
        if (payload.ContentType.Parameters.GetValueOrDefault("hp") is "cipher" or "clear")
        {
            return new MessageHeaders(payload, areProtected: true);
        }
        // RFC 8551 §3.1: the older form is a whole message as the payload that is marked as not forwarded.
        if (payload.ContentType is { MediaType: "message/rfc822" } type
            && type.Parameters.GetValueOrDefault("forwarded") == "no"
            && payload.Children.Count == 1)
        {
            return new MessageHeaders(payload.Children[0], areProtected: true);
        }

        return new MessageHeaders(message.Root, areProtected: false);
    }

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
