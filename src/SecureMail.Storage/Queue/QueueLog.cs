using Microsoft.Extensions.Logging;

namespace SecureMail.Storage.Queue;

internal static partial class QueueLog
{
    [LoggerMessage(1101, LogLevel.Warning, "The database is away; waiting for it: {Error}")]
    public static partial void DatabaseAway(ILogger logger, string error);

    [LoggerMessage(1102, LogLevel.Warning, "Lost the lease on {Kind} {Subject}; another worker does it")]
    public static partial void LeaseLost(ILogger logger, string kind, Guid subject);

    [LoggerMessage(1103, LogLevel.Error, "Work {Kind} {Subject} failed")]
    public static partial void HandlerFailed(ILogger logger, Exception error, string kind, Guid subject);

    [LoggerMessage(
        1104, LogLevel.Warning,
        "What became of {Kind} {Subject} could not be recorded; its lease gives it back: {Error}")]
    public static partial void OutcomeNotRecorded(ILogger logger, string kind, Guid subject, string error);

    [LoggerMessage(1105, LogLevel.Critical, "Work {Kind} {Subject} always fails and could not be given up")]
    public static partial void NotGivenUp(ILogger logger, Exception error, string kind, Guid subject);
}
