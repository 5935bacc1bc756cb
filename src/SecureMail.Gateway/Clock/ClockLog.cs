using Microsoft.Extensions.Logging;

namespace SecureMail.Gateway.Clock;

internal static partial class ClockLog
{
    [LoggerMessage(1601, LogLevel.Critical, "The clock of {Subject}: {Kind} by {By}; what hangs on it waits")]
    public static partial void Began(ILogger logger, string subject, string kind, TimeSpan by);

    [LoggerMessage(1602, LogLevel.Warning, "The clock of {Subject} is believed again")]
    public static partial void Ended(ILogger logger, string subject);
}
