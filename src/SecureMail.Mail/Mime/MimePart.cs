namespace SecureMail.Mail.Mime;

/// <summary>
/// One MIME entity: where it stands in the received octets, its header, and its children when it is a multipart or an
/// unencoded message/rfc822. Offsets count from the start of the stream that was parsed.
/// </summary>
public sealed class MimePart
{
    private readonly OctetSource _source;
    private readonly bool _wordsInQuotes;

    internal MimePart(
        OctetSource source, MimeReaderOptions options, IReadOnlyList<MimeHeader> headers, MimeContentType type,
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

    /// <summary>Lower case; "7bit" when not said (RFC 2045 §6.1).</summary>
    public string TransferEncoding { get; }

    /// <summary>Where the entity begins: its first header octet.</summary>
    public long Offset { get; }

    /// <summary>Octets of header and body, without the line end that belongs to the delimiter behind it (RFC 2046
    /// §5.1.1).</summary>
    public long Length { get; }

    public long BodyOffset { get; }

    public long BodyLength { get; }

    public IReadOnlyList<MimePart> Children { get; }

    /// <summary>"attachment", "inline" or what else was said, lower case; null when there is none that
    /// parses.</summary>
    public string? Disposition => DispositionField?.MediaType;

    /// <summary>
    /// The name the sender gave the file: Content-Disposition's filename before Content-Type's name, RFC 2231 before
    /// plain. It is text of the sender, not a path: never open a file by it.
    /// </summary>
    public string? FileName =>
        DispositionField is { } disposition && disposition.Parameters.TryGetValue("filename", out var name)
            ? name
            : ContentType.Parameters.GetValueOrDefault("name");

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

    /// <summary>This part and all below it, outermost first.</summary>
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

    /// <summary>The entity as received, header included: what a multipart/signed signature is over (RFC 1847
    /// §2.1).</summary>
    public Stream OpenRaw() => _source.Window(Offset, Offset + Length);

    /// <summary>The body as received, still encoded.</summary>
    public Stream OpenBody() => _source.Window(BodyOffset, BodyOffset + BodyLength);

    /// <summary>The body decoded. Reading throws <see cref="MimeException"/> (BadEncoding) where it does not
    /// decode.</summary>
    /// <exception cref="MimeException">UnknownEncoding.</exception>
    public Stream OpenDecoded() =>
        TransferEncoding switch
        {
            "7bit" or "8bit" or "binary" => OpenBody(),
            "base64" => new Base64Decoder(OpenBody()),
            "quoted-printable" => new QuotedPrintableDecoder(OpenBody()),
            _ => throw new MimeException(MimeReason.UnknownEncoding, "The part uses an unknown transfer encoding."),
        };

    /// <summary>The decoded body as text in its charset (UTF-8 when not said), at most <paramref name="limit"/>
    /// octets.</summary>
    /// <exception cref="MimeException">The body is larger, does not decode, or names an unknown charset.</exception>
    public string ReadText(int limit)
    {
        using var stream = OpenDecoded();
        using var memory = new MemoryStream();
        var buffer = new byte[8192];
        for (int read; (read = stream.Read(buffer)) > 0;)
        {
            if (memory.Length + read > limit)
            {
                throw new MimeException(MimeReason.LineTooLong, $"The text is longer than {limit} octets.");
            }

            memory.Write(buffer, 0, read);
        }

        var encoding = Charset.Find(ContentType.Parameters.GetValueOrDefault("charset") ?? "utf-8")
            ?? throw new MimeException(MimeReason.UnknownEncoding, "The part names an unknown character set.");
        return encoding.GetString(memory.GetBuffer(), 0, (int)memory.Length);
    }
}
