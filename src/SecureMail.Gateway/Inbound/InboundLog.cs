using Microsoft.Extensions.Logging;

namespace SecureMail.Gateway.Inbound;

internal static partial class InboundLog
{
    [LoggerMessage(1301, LogLevel.Information, "Message {Incoming} validated {Verdict}, placed {Place}: {Reason}")]
    public static partial void Recorded(ILogger logger, Guid incoming, string verdict, string place, string reason);

    [LoggerMessage(1302, LogLevel.Warning, "Message {Incoming} cannot be validated yet: {Reason}")]
    public static partial void Waits(ILogger logger, Guid incoming, string reason);

    [LoggerMessage(1303, LogLevel.Critical, "Alarm {Kind} about {Subject}")]
    public static partial void Alarm(ILogger logger, string kind, string subject);

    [LoggerMessage(
        1306, LogLevel.Error,
        "Message {Incoming} cannot be validated, however often it is tried; quarantined: {Reason}")]
    public static partial void ValidationFailed(ILogger logger, Guid incoming, string reason);

    [LoggerMessage(1307, LogLevel.Information, "Message {Incoming} validated again {Verdict}, now in {Place}")]
    public static partial void ValidatedAgain(ILogger logger, Guid incoming, string verdict, string place);

    [LoggerMessage(1304, LogLevel.Warning, "The receipt for {Incoming} waits: {Reason}")]
    public static partial void ReceiptWaits(ILogger logger, Guid incoming, string reason);

    [LoggerMessage(
        1305, LogLevel.Warning, "Agency {Agency} announces weaker encryption than before, by message {Incoming}")]
    public static partial void Weakened(ILogger logger, Guid agency, Guid incoming);
}
