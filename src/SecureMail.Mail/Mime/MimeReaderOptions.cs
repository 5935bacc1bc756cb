namespace SecureMail.Mail.Mime;

/// <summary>What one message may cost its reader. Sizes in octets.</summary>
public sealed record MimeLimits
{
    /// <summary>One header section, folding and line ends included.</summary>
    public int HeaderSectionBytes { get; init; } = 256 * 1024;

    /// <summary>All header sections together: many parts must not multiply what one section may hold.</summary>
    public int AllHeaderBytes { get; init; } = 1024 * 1024;

    /// <summary>Header fields in one section.</summary>
    public int HeaderFields { get; init; } = 1000;

    /// <summary>One line of a header section. RFC 5322 §2.1.1 says 998; other software writes longer ones.</summary>
    public int HeaderLineBytes { get; init; } = 16 * 1024;

    /// <summary>Entities inside entities, the message itself being 0.</summary>
    public int Depth { get; init; } = 20;

    /// <summary>Entities in the whole message.</summary>
    public int Parts { get; init; } = 1000;
}

/// <summary>What is forgiven, each by name. Nothing else is.</summary>
[Flags]
public enum MimeLeniency
{
    None = 0,

    /// <summary>A line may end with LF alone: files stored by Unix tools. SMTP never lets one in.</summary>
    BareLineFeeds = 1,

    /// <summary>Bodies may hold bare CR and NUL: what was opened from an encrypted layer may be binary (RFC 8551
    /// §3.1.3).</summary>
    BinaryBodies = 2,

    /// <summary>A multipart may lack its closing delimiter.</summary>
    MissingFinalDelimiter = 4,

    /// <summary>RFC 2047 words inside quoted parameters and names, as older clients write file names.</summary>
    EncodedWordsInQuotes = 8,

    /// <summary>A Content-Type that does not parse makes the part opaque (application/octet-stream) instead of the
    /// message unreadable.</summary>
    OpaqueMalformedTypes = 16,

    /// <summary>A part of a multipart whose first lines are no header is opaque, all of it body: openssl signs plain
    /// text so, without -text.</summary>
    HeaderlessParts = 32,
}

/// <summary>How a message is read.</summary>
public sealed record MimeReaderOptions
{
    /// <summary>For what came over SMTP: only CRLF ends a line.</summary>
    public static MimeReaderOptions Received { get; } = new();

    /// <summary>For files and opened layers, whose line ends may be local ones.</summary>
    public static MimeReaderOptions Stored { get; } =
        new()
        {
            Leniency =
                MimeLeniency.EncodedWordsInQuotes
                | MimeLeniency.OpaqueMalformedTypes
                | MimeLeniency.BareLineFeeds
                | MimeLeniency.BinaryBodies
                | MimeLeniency.HeaderlessParts,
        };

    public MimeLimits Limits { get; init; } = new();

    public MimeLeniency Leniency { get; init; } = MimeLeniency.EncodedWordsInQuotes | MimeLeniency.OpaqueMalformedTypes;

    internal bool Allows(MimeLeniency leniency) => (Leniency & leniency) != MimeLeniency.None;
}
