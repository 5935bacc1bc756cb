using SecureMail.Mail.Mime;

namespace SecureMail.Smime;

/// <summary>One part of a message, such as the manifest or a document.</summary>
/// <param name="FileName">Null for a part without file name.</param>
/// <param name="Open">Opens the content. It is called, and its stream closed, each time the part is written.</param>
public sealed record OutgoingPart(MimeContentType ContentType, string? FileName, Func<Stream> Open);

/// <summary>A message to be signed, and possibly encrypted. Everything in it is signed.</summary>
public sealed record OutgoingMessage
{
    public required Mailbox From { get; init; }

    /// <summary>
    /// All recipients. The signed part names all of them. The outer header of an encrypted message names a single
    /// recipient, but not several: the outer header is the same in every copy, and only those who can decrypt a copy
    /// learn who else gets one.
    /// </summary>
    public required IReadOnlyList<Mailbox> To { get; init; }

    /// <summary>The subject is signed. It is hidden in the outer header of an encrypted message.</summary>
    public required string Subject { get; init; }

    public required DateTimeOffset Date { get; init; }

    /// <summary>The message id with its angle brackets.</summary>
    public required string MessageId { get; init; }

    /// <summary>The id, with its angle brackets, of the message that this one replies to.</summary>
    public string? InReplyTo { get; init; }

    /// <summary>
    /// "auto-generated" or "auto-replied" (RFC 3834 §5); null for a message that a person sends. Software does not
    /// reply to a message with this field.
    /// </summary>
    public string? AutoSubmitted { get; init; }

    /// <summary>
    /// The parts in order; the first is the manifest. They are not used when <see cref="Body"/> is set.
    /// </summary>
    public IReadOnlyList<OutgoingPart> Parts { get; init; } = [];

    /// <summary>
    /// Makes a body other than a multipart/mixed of <see cref="Parts"/>, such as a report. It is called each time the
    /// message is written.
    /// </summary>
    public Func<MimeEntity>? Body { get; init; }

    internal MimeEntity NewBody() =>
        Body is not null
            ? Body()
            : MimeEntity.Multipart(
                "mixed",
                [.. Parts.Select(p => MimeEntity.Leaf(p.ContentType, p.Open, LeafEncoding.Base64, p.FileName))]);

    /// <summary>The header fields of the message. The outer header of an encrypted message leaves some out.</summary>
    internal MimeEntity Fields(bool outsideOfEncrypted)
    {
        var fields = MimeEntity
            .Fields()
            .AddMailboxes("From", [From])
            .AddMailboxes("To", outsideOfEncrypted && To.Count > 1 ? [] : To)
            // RFC 9788 §3 (hcp_baseline): the subject is replaced.
            .AddText("Subject", outsideOfEncrypted ? "[...]" : Subject)
            .AddDate("Date", Date)
            .AddRaw("Message-ID", RequireMessageId(MessageId));
        if (InReplyTo is not null)
        {
            fields.AddRaw("In-Reply-To", RequireMessageId(InReplyTo)).AddRaw("References", RequireMessageId(InReplyTo));
        }

        if (AutoSubmitted is not null)
        {
            fields.AddRaw("Auto-Submitted", AutoSubmitted);
        }

        return fields;
    }

    private static string RequireMessageId(string id) =>
        id.Length is > 4 and <= 250
        && id[0] == '<'
        && id[^1] == '>'
        && id.Contains('@', StringComparison.Ordinal)
        && id.AsSpan().IndexOfAnyExceptInRange('!', '~') < 0
            ? id
            : throw new MimeException(
                MimeReason.UnsafeHeader, "A message id is not <left@right> in US-ASCII, or is too long.");
}
