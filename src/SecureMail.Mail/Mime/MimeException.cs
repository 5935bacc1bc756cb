namespace SecureMail.Mail.Mime;

/// <summary>
/// Why bytes are not acceptable mail, or why text may not be written into mail. Callers branch on this value, never on
/// the exception's message.
/// </summary>
public enum MimeReason
{
    /// <summary>The grammar is broken where guessing would be unsafe.</summary>
    Malformed,

    /// <summary>The mail ends before its structure is complete.</summary>
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

    /// <summary>An address, read or to be written, breaks the grammar.</summary>
    InvalidAddress,

    /// <summary>A transfer encoding that does not decode.</summary>
    BadEncoding,

    /// <summary>A transfer encoding this reader does not know.</summary>
    UnknownEncoding,

    /// <summary>CR, LF, NUL or another control character was to be written into a header.</summary>
    UnsafeHeader,
}

/// <summary>
/// Bytes are not acceptable mail, or text may not be written into mail. The message names the rule and never repeats
/// the content.
/// </summary>
public sealed class MimeException(MimeReason reason, string message) : Exception(message)
{
    public MimeReason Reason { get; } = reason;
}
