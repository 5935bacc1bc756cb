using System.Runtime.InteropServices;

namespace SecureMail.Mail.Mime;

/// <summary>
/// A received message. <see cref="Parse(Stream, MimeReaderOptions?)"/> finds the structure of a message and keeps
/// offsets into the received bytes. Bodies are opened as streams on request and never copied, so signatures are
/// validated over the received bytes. This class leaves out on purpose: meaning (who signed, what may be shown),
/// character sets of bodies, HTML.
/// </summary>
public sealed class MailMessage
{
    private MailMessage(MimePart root) => Root = root;

    /// <summary>The message as the outermost entity.</summary>
    public MimePart Root { get; }

    public IReadOnlyList<MimeHeader> Headers => Root.Headers;

    /// <summary>
    /// Reads a message. The stream must be seekable. It must stay open, and nobody else may use it, as long as the
    /// message is used.
    /// </summary>
    /// <exception cref="MimeException">The bytes are not acceptable mail.</exception>
    public static MailMessage Parse(Stream stream, MimeReaderOptions? options = null) =>
        new(MimeReader.Read(new ByteSource(stream), options ?? MimeReaderOptions.Received));

    /// <inheritdoc cref="Parse(Stream, MimeReaderOptions?)"/>
    public static MailMessage Parse(ReadOnlyMemory<byte> bytes, MimeReaderOptions? options = null)
    {
        if (!MemoryMarshal.TryGetArray(bytes, out var array))
        {
            array = bytes.ToArray();
        }

        return Parse(new MemoryStream(array.Array!, array.Offset, array.Count, writable: false), options);
    }

    /// <summary>
    /// Reads one entity of a message by itself, as <see cref="Parse(Stream, MimeReaderOptions?)"/> does. Its header may
    /// be empty.
    /// </summary>
    /// <exception cref="MimeException">The bytes are not an acceptable entity.</exception>
    public static MimePart ParseEntity(Stream stream, MimeReaderOptions options) =>
        MimeReader.ReadEntity(new ByteSource(stream), options);

    /// <summary>
    /// Where the header begins in a stored message: after a byte order mark and the "From " line of an mbox (RFC 4155),
    /// or at 0.
    /// </summary>
    /// <param name="head">The first kilobyte of the message, or more.</param>
    public static int HeaderStart(ReadOnlySpan<byte> head) => MimeReader.HeaderStart(head);

    /// <summary>
    /// Every mailbox of every field of that name. From names one address only when this list has one item.
    /// </summary>
    /// <exception cref="MimeException">A field is not an address list.</exception>
    public IReadOnlyList<Mailbox> Mailboxes(string headerName) => Root.Mailboxes(headerName);

    /// <summary>The first Subject, decoded; empty when there is none.</summary>
    public string Subject => Root.Header("Subject")?.Text ?? "";

    /// <summary>The first Date, or null when absent or not a date (RFC 5322 §3.3).</summary>
    public DateTimeOffset? Date =>
        Root.Header("Date") is { } header && MailDate.TryParse(header.Value, out var date) ? date : null;
}
