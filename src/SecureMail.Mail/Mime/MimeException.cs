namespace SecureMail.Mail.Mime;

/// <summary>Why octets are not mail, or text may not become mail. The caller branches on this, never on the
/// message.</summary>
public enum MimeReason
{
    /// <summary>Breaks the grammar where guessing would be unsafe.</summary>
    Malformed,

    /// <summary>Ends before its own structure does.</summary>
    Truncated,

    /// <summary>A bare CR or LF, or a NUL, where only CRLF ends a line.</summary>
    BareLineEnd,

    HeaderTooLarge,
    LineTooLong,
    TooDeep,
    TooManyParts,
    TooManyHeaders,
    TooManyParameters,
    TooManyAddresses,

    /// <summary>An address that cannot be one, read or about to be written.</summary>
    InvalidAddress,

    /// <summary>A transfer encoding that does not decode.</summary>
    BadEncoding,

    /// <summary>A transfer encoding this reader does not know.</summary>
    UnknownEncoding,

    /// <summary>CR, LF, NUL or another control about to be written into a header.</summary>
    UnsafeHeader,
}

/// <summary>Octets that are not acceptable mail. The message names the rule and never repeats the content.</summary>
public sealed class MimeException(MimeReason reason, string message) : Exception(message)
{
    public MimeReason Reason { get; } = reason;
}
