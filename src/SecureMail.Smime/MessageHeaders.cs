using SecureMail.Mail.Mime;

namespace SecureMail.Smime;

/// <summary>
/// Who, to whom, about what, as a reader is to see it: from inside the signature where the message says so (RFC 9788),
/// otherwise from outside.
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

    /// <summary>They stand inside the signature or the envelope. Only a valid verdict makes them true.</summary>
    public bool AreProtected { get; }

    /// <summary>Every mailbox of every From field; empty when one does not parse.</summary>
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
        // RFC 9788 §2.1: hp on the payload says that its header fields are the message's.
        if (payload.ContentType.Parameters.GetValueOrDefault("hp") is "cipher" or "clear")
        {
            return new MessageHeaders(payload, areProtected: true);
        }
        // RFC 8551 §3.1: the older way, a whole message inside that was not forwarded.
        if (payload.ContentType is { MediaType: "message/rfc822" } type
            && type.Parameters.GetValueOrDefault("forwarded") == "no"
            && payload.Children.Count == 1)
        {
            return new MessageHeaders(payload.Children[0], areProtected: true);
        }

        return new MessageHeaders(message.Root, areProtected: false);
    }

    /// <summary>
    /// The one address that the message claims to be from; null when there is none, or more than one, or the outer From
    /// names another than the protected one (RFC 9788 §4): the reader must not be shown either as the signer.
    /// </summary>
    internal static Mailbox? SoleSender(MailMessage message, MessageHeaders shown)
    {
        if (shown.From.Count != 1)
        {
            return null;
        }
        // The inner entity of a message, saved by itself: only what describes the body stands outside, and nothing
        // there names anyone. A message that has lost its From is another thing, and has no sender.
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
