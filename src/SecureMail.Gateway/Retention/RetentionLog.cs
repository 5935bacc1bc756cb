using Microsoft.Extensions.Logging;

namespace SecureMail.Gateway.Retention;

internal static partial class RetentionLog
{
    [LoggerMessage(
        1801, LogLevel.Information, "Retention {Kind}: {Rows} rows, {Blobs} blobs, {Octets} octets destroyed")]
    public static partial void Swept(ILogger logger, string kind, long rows, long blobs, long octets);

    [LoggerMessage(1802, LogLevel.Information, "{Shape}: {Count} partitions")]
    public static partial void Partitions(ILogger logger, string shape, int count);

    [LoggerMessage(1803, LogLevel.Information, "{Shape}: tables are in use, again at the next run")]
    public static partial void PartitionsLater(ILogger logger, string shape);

    [LoggerMessage(
        1804,
        LogLevel.Warning,
        "Content of {Direction} {Subject} was erased by order of {By}: {Blobs} blobs, {Shared} shared with others stay"
    )]
    public static partial void Erased(ILogger logger, string direction, Guid subject, string by, int blobs, int shared);
}
