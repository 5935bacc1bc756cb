namespace SecureMail.Mail.Mime;

/// <summary>
/// One MIME entity: its position in the received bytes, its header, and its children when it is a multipart or an
/// unencoded message/rfc822. Offsets count from the start of the parsed stream.
/// </summary>
public sealed class MimePart
{
    private readonly ByteSource _source;
    private readonly bool _wordsInQuotes;

    internal MimePart(
        ByteSource source, MimeReaderOptions options, IReadOnlyList<MimeHeader> headers, MimeContentType type,
        string encoding, long offset, long bodyOffset, long end, IReadOnlyList<MimePart> children)
    {
        _source = source;
        _wordsInQuotes = options.Allows(MimeLeniency.EncodedWordsInQuotes);
        Headers = headers;
        ContentType = type;
        TransferEncoding = encoding;
        Offset = offset;
        BodyOffset = bodyOffset;
        Length = end - offset;
        BodyLength = end - bodyOffset;
        Children = children;
    }

    public IReadOnlyList<MimeHeader> Headers { get; }

    public MimeContentType ContentType { get; }

    /// <summary>Lower case; "7bit" when the header does not name one (RFC 2045 §6.1).</summary>
    public string TransferEncoding { get; }

    /// <summary>Offset of the first header byte.</summary>
    public long Offset { get; }

    /// <summary>
    /// Bytes of header and body, without the line end that belongs to the delimiter after the entity (RFC 2046 §5.1.1).
    /// </summary>
    public long Length { get; }

    public long BodyOffset { get; }

    public long BodyLength { get; }

    public IReadOnlyList<MimePart> Children { get; }

    /// <summary>
    /// "attachment", "inline" or another disposition type, lower case; null when there is none or it does not parse.
    /// </summary>
    public string? Disposition => DispositionField?.MediaType;

    /// <summary>
    /// The name that the sender gave the file. The filename of Content-Disposition takes precedence over the name of
    /// Content-Type, and RFC 2231 over the plain form. The name is the sender's text and not a path: never open a file
    /// by it.
    /// </summary>
    public string? FileName =>
        DispositionField is { } disposition && disposition.Parameters.TryGetValue("filename", out var name)
            ? name
            : ContentType.Parameters.GetValueOrDefault("name");

    /// <summary>
    /// Whether one of the names that the sender gave the file has one of these extensions. A field that does not parse
    /// counts when the extension stands anywhere in it, so that damage hides no name.
    /// </summary>
    /// <param name="extensions">With their dots, lower case.</param>
    public bool HasExtension(params ReadOnlySpan<string> extensions)
    {
        foreach (var extension in extensions)
        {
            if (Names("Content-Disposition", "filename", extension) || Names("Content-Type", "name", extension))
            {
                return true;
            }
        }

        return false;
    }

    private bool Names(string field, string parameter, string extension)
    {
        foreach (var header in Headers.Where(h => h.Is(field)))
        {
            try
            {
                var parsed = field == "Content-Type"
                    ? MimeContentType.Parse(header.Value, _wordsInQuotes)
                    : MimeContentType.ParseDisposition(header.Value, _wordsInQuotes);
                if (parsed.Parameters.GetValueOrDefault(parameter)?.TrimEnd()
                    .EndsWith(extension, StringComparison.OrdinalIgnoreCase) == true)
                {
                    return true;
                }
            }
            catch (MimeException)
            {
                if (header.Text.Contains(extension, StringComparison.OrdinalIgnoreCase))
                {
                    return true;
                }
            }
        }

        return false;
    }

    private MimeContentType? DispositionField
    {
        get
        {
            if (Header("Content-Disposition") is not { } header)
            {
                return null;
            }

            try
            {
                return MimeContentType.ParseDisposition(header.Value, _wordsInQuotes);
            }
            catch (MimeException)
            {
                return null;
            }
        }
    }

    /// <summary>The first field of that name, or null.</summary>
    public MimeHeader? Header(string name) => Headers.FirstOrDefault(h => h.Is(name));

    /// <summary>Every mailbox of every field of that name, in order.</summary>
    /// <exception cref="MimeException">A field is not an address list.</exception>
    public IReadOnlyList<Mailbox> Mailboxes(string headerName) =>
        [.. Headers.Where(h => h.Is(headerName)).SelectMany(h => Mailbox.ParseList(h.Value))];

    /// <summary>This part and all its descendants, outermost first.</summary>
    public IEnumerable<MimePart> DescendantsAndSelf()
    {
        yield return this;
        foreach (var child in Children)
        {
            foreach (var part in child.DescendantsAndSelf())
            {
                yield return part;
            }
        }
    }

    /// <summary>
    /// Opens the entity as received, header included. A multipart/signed signature is over these bytes (RFC 1847 §2.1).
    /// </summary>
    public Stream OpenRaw() => _source.OpenRange(Offset, Offset + Length);

    /// <summary>Opens the body as received, in its transfer encoding.</summary>
    public Stream OpenBody() => _source.OpenRange(BodyOffset, BodyOffset + BodyLength);

    /// <summary>
    /// Opens the body decoded. Reading throws <see cref="MimeException"/> (BadEncoding) where the body does not decode.
    /// </summary>
    /// <exception cref="MimeException">UnknownEncoding.</exception>
    public Stream OpenDecoded() =>
        TransferEncoding switch
        {
            "7bit" or "8bit" or "binary" => OpenBody(),
            "base64" => new Base64Decoder(OpenBody()),
            "quoted-printable" => new QuotedPrintableDecoder(OpenBody()),
            _ => throw new MimeException(MimeReason.UnknownEncoding, "The part uses an unknown transfer encoding."),
        };

    /// <summary>Reads the decoded body as text in its charset (UTF-8 when the header names none).</summary>
    /// <param name="limit">The most bytes that the body may have.</param>
    public string ReadText(int limit)
    {
        using var stream = OpenDecoded();
        using var memory = new MemoryStream();
        var buffer = new byte[8192];
        for (int read; (read = stream.Read(buffer)) > 0;)
        {
            if (memory.Length + read > limit)
            {
                throw new MimeException(MimeReason.LineTooLong, $"The text of a part is longer than {limit} bytes.");
            }

            memory.Write(buffer, 0, read);
        }

        var encoding = Charset.Find(ContentType.Parameters.GetValueOrDefault("charset") ?? "utf-8")
            ?? throw new MimeException(MimeReason.UnknownEncoding, "The part names an unknown character set.");
        return encoding.GetString(memory.GetBuffer(), 0, (int)memory.Length);
    }
}
