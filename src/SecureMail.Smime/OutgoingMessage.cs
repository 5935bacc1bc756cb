using SecureMail.Mail.Mime;

namespace SecureMail.Smime;

/// <summary>One part of a message: the manifest, a document.</summary>
/// <param name="FileName">Null for parts without one.</param>
/// <param name="Open">Opened and closed each time the part is written.</param>
public sealed record OutgoingPart(MimeContentType ContentType, string? FileName, Func<Stream> Open);

/// <summary>A message to be secured. What stands here is what gets signed.</summary>
public sealed record OutgoingMessage
{
    public required Mailbox From { get; init; }

    /// <summary>Everyone addressed. All stand inside. Outside of an encrypted message one is named, several are not:
    /// each copy says what every copy says, and who else gets one is for those who can open it.</summary>
    public required IReadOnlyList<Mailbox> To { get; init; }

    /// <summary>Signed, and hidden from the outside when the message is encrypted.</summary>
    public required string Subject { get; init; }

    public required DateTimeOffset Date { get; init; }

    /// <summary>With its angle brackets.</summary>
    public required string MessageId { get; init; }

    /// <summary>The message answered, with its angle brackets.</summary>
    public string? InReplyTo { get; init; }

    /// <summary>RFC 3834 §5: "auto-generated" or "auto-replied"; such a message is not answered
    /// automatically.</summary>
    public string? AutoSubmitted { get; init; }

    /// <summary>In order; the first is the manifest. Not used when <see cref="Body"/> is given.</summary>
    public IReadOnlyList<OutgoingPart> Parts { get; init; } = [];

    /// <summary>Makes another body than a multipart/mixed of <see cref="Parts"/>: a report. Called once for each
    /// writing.</summary>
    public Func<MimeEntity>? Body { get; init; }

    internal MimeEntity NewBody() =>
        Body is not null
            ? Body()
            : MimeEntity.Multipart(
                "mixed",
                [.. Parts.Select(p => MimeEntity.Leaf(p.ContentType, p.Open, LeafEncoding.Base64, p.FileName))]);

    /// <summary>The fields that say who, to whom, about what. Outside an encrypted message some of it is left
    /// out.</summary>
    internal MimeEntity Fields(bool outsideOfEncrypted)
    {
        var fields = MimeEntity
            .Fields()
            .AddMailboxes("From", [From])
            .AddMailboxes("To", outsideOfEncrypted && To.Count > 1 ? [] : To)
            // RFC 9788 §3 (hcp_baseline): the subject is replaced.
            .AddText("Subject", outsideOfEncrypted ? "[...]" : Subject)
            .AddDate("Date", Date)
            .AddRaw("Message-ID", Id(MessageId));
        if (InReplyTo is not null)
        {
            fields.AddRaw("In-Reply-To", Id(InReplyTo)).AddRaw("References", Id(InReplyTo));
        }

        if (AutoSubmitted is not null)
        {
            fields.AddRaw("Auto-Submitted", AutoSubmitted);
        }

        return fields;
    }

    private static string Id(string id) =>
        id.Length is > 4 and <= 250
        && id[0] == '<'
        && id[^1] == '>'
        && id.Contains('@', StringComparison.Ordinal)
        && id.AsSpan().IndexOfAnyExceptInRange('!', '~') < 0
            ? id
            : throw new MimeException(MimeReason.UnsafeHeader, "A message id is not <left@right> in US-ASCII.");
}
