namespace SecureMail.Mail.Mime;

/// <summary>Limits for reading one message. Sizes are in bytes.</summary>
public sealed record MimeLimits
{
    /// <summary>Size of one header section, folding and line ends included.</summary>
    public int HeaderSectionBytes { get; init; } = 256 * 1024;

    /// <summary>
    /// Size of all header sections together, so that many parts cannot multiply the limit of one section.
    /// </summary>
    public int AllHeaderBytes { get; init; } = 1024 * 1024;

    /// <summary>Header fields in one section.</summary>
    public int HeaderFields { get; init; } = 1000;

    /// <summary>
    /// Length of one line of a header section. RFC 5322 §2.1.1 allows 998 characters, but other software writes longer
    /// lines.
    /// </summary>
    public int HeaderLineBytes { get; init; } = 16 * 1024;

    /// <summary>Nesting depth of entities; the message itself has depth 0.</summary>
    public int Depth { get; init; } = 20;

    /// <summary>Number of entities in the whole message.</summary>
    public int Parts { get; init; } = 1000;
}

/// <summary>Deviations from the standards that a reader may accept. Every other deviation is refused.</summary>
[Flags]
public enum MimeLeniency
{
    None = 0,

    /// <summary>
    /// A line may end with LF alone, as in files stored by Unix tools. The SMTP server refuses such lines.
    /// </summary>
    BareLineFeeds = 1,

    /// <summary>
    /// Bodies may hold bare CR and NUL, because the content of an encrypted layer may be binary (RFC 8551 §3.1.3).
    /// </summary>
    BinaryBodies = 2,

    /// <summary>A multipart may lack its closing delimiter.</summary>
    MissingFinalDelimiter = 4,

    /// <summary>Quoted parameters may hold RFC 2047 words, because older clients write file names so.</summary>
    EncodedWordsInQuotes = 8,

    /// <summary>
    /// A part whose Content-Type does not parse is read as application/octet-stream; the rest of the message stays
    /// readable. A type that names a multipart or S/MIME is still refused.
    /// </summary>
    OpaqueMalformedTypes = 16,

    /// <summary>
    /// A part of a multipart may begin without a header. All of the part is then its body, of type
    /// application/octet-stream. OpenSSL writes such a part when it signs plain text without -text.
    /// </summary>
    HeaderlessParts = 32,

    /// <summary>
    /// A byte order mark, and the "From " line of an mbox (RFC 4155), may stand before the header, as editors and mail
    /// clients store them.
    /// </summary>
    StoredPrefix = 64,
}

/// <summary>Limits and leniency for reading a message.</summary>
public sealed record MimeReaderOptions
{
    /// <summary>For mail received over SMTP: only CRLF ends a line.</summary>
    public static MimeReaderOptions Received { get; } = new();

    /// <summary>For files and decrypted layers, whose lines may end with LF.</summary>
    public static MimeReaderOptions Stored { get; } =
        new()
        {
            Leniency =
                MimeLeniency.EncodedWordsInQuotes
                | MimeLeniency.OpaqueMalformedTypes
                | MimeLeniency.BareLineFeeds
                | MimeLeniency.BinaryBodies
                | MimeLeniency.HeaderlessParts
                | MimeLeniency.StoredPrefix,
        };

    public MimeLimits Limits { get; init; } = new();

    public MimeLeniency Leniency { get; init; } = MimeLeniency.EncodedWordsInQuotes | MimeLeniency.OpaqueMalformedTypes;

    internal bool Allows(MimeLeniency leniency) => (Leniency & leniency) != MimeLeniency.None;
}
