using SecureMail.Cms;

namespace SecureMail.Exchange;

/// <summary>What a reader can decrypt (RFC 8551 §2.5.2), and since when that is known.</summary>
/// <param name="At">The time that the signature of the announcing message claims, or the time of issue of the
/// directory that configures the capabilities.</param>
public sealed record ReaderCapabilities(SmimeCapabilities Capabilities, DateTimeOffset At);
