using Microsoft.Extensions.Logging;

namespace SecureMail.Backup;

internal static partial class BackupLog
{
    [LoggerMessage(1701, LogLevel.Information, "The journal follows the database from {Position} into {Folder}")]
    public static partial void JournalFollows(ILogger logger, string position, string folder);

    [LoggerMessage(
        1702, LogLevel.Error, "The journal has stopped: {Reason}; commits wait for a synchronous journal")]
    public static partial void JournalStopped(ILogger logger, string reason);

    [LoggerMessage(
        1703, LogLevel.Warning,
        "The journal's slot was lost; what was written since then is in no backup until a new base is taken")]
    public static partial void SlotLost(ILogger logger);

    [LoggerMessage(1704, LogLevel.Information, "A base backup was taken: {Folder}, {Bytes} bytes")]
    public static partial void BaseTaken(ILogger logger, string folder, long bytes);

    [LoggerMessage(1705, LogLevel.Error, "The base backup failed: {Reason}")]
    public static partial void BaseFailed(ILogger logger, string reason);
}
