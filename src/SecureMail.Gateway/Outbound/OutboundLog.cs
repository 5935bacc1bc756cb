using Microsoft.Extensions.Logging;

namespace SecureMail.Gateway.Outbound;

internal static partial class OutboundLog
{
    [LoggerMessage(1201, LogLevel.Warning, "Transmission {Transmission} to {Gateway} did not leave: {Failure}")]
    public static partial void NotSent(ILogger logger, Guid transmission, string gateway, string failure);

    [LoggerMessage(1202, LogLevel.Error, "Transmission {Transmission} is given up: {Reason}")]
    public static partial void GivenUp(ILogger logger, Guid transmission, string reason);

    [LoggerMessage(1203, LogLevel.Warning, "Dispatch {Dispatch} waits for its signature: {Reason}")]
    public static partial void AwaitsSignature(ILogger logger, Guid dispatch, string reason);

    [LoggerMessage(1204, LogLevel.Warning, "Dispatch {Dispatch} is refused: {Reason}")]
    public static partial void Refused(ILogger logger, Guid dispatch, string reason);

    [LoggerMessage(1205, LogLevel.Warning, "Receipt overdue for dispatch {Dispatch} at {Recipient}")]
    public static partial void Overdue(ILogger logger, Guid dispatch, string recipient);

    [LoggerMessage(
        1206, LogLevel.Warning,
        "Dispatch {Dispatch} is encrypted with {Cipher}, because of {Readers} of its addressees")]
    public static partial void Downgraded(ILogger logger, Guid dispatch, string cipher, int readers);
}
