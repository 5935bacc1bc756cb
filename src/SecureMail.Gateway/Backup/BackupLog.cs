using Microsoft.Extensions.Logging;

namespace SecureMail.Gateway.Backup;

internal static partial class BackupLog
{
    [LoggerMessage(1701, LogLevel.Information, "The journal follows the database from {Position} into {Folder}")]
    public static partial void JournalFollows(ILogger logger, string position, string folder);

    [LoggerMessage(
        1702, LogLevel.Error, "The journal has stopped: {Reason}; commits wait for it where it is synchronous")]
    public static partial void JournalStopped(ILogger logger, string reason);

    [LoggerMessage(
        1703, LogLevel.Warning,
        "The journal's slot was lost: what was written in between is in no backup until a new base is taken")]
    public static partial void SlotLost(ILogger logger);

    [LoggerMessage(1704, LogLevel.Information, "A base backup was taken: {Folder}, {Octets} octets")]
    public static partial void BaseTaken(ILogger logger, string folder, long octets);

    [LoggerMessage(1705, LogLevel.Error, "The base backup failed: {Reason}")]
    public static partial void BaseFailed(ILogger logger, string reason);

    [LoggerMessage(
        1706,
        LogLevel.Warning,
        "This gateway was restored with {Size} ledger entries; it takes no work until its peers have shown that nothing is missing"
    )]
    public static partial void Restored(ILogger logger, long size);

    [LoggerMessage(1707, LogLevel.Warning, "Peer {Peer} after the restoration: {State} {Detail}")]
    public static partial void PeerAnswered(ILogger logger, string peer, string state, string detail);

    [LoggerMessage(1708, LogLevel.Information, "The restored gateway is proven at {Size} entries and takes work")]
    public static partial void Proven(ILogger logger, long size);

    [LoggerMessage(1709, LogLevel.Information, "Peer {Peer} sends again what it sent since {Since}: {Count}")]
    public static partial void ResendAsked(ILogger logger, string peer, DateTimeOffset since, int count);

    [LoggerMessage(
        1710, LogLevel.Information, "Peer {Peer} asked us to send again what we sent since {Since}: {Count}")]
    public static partial void ResendServed(ILogger logger, string peer, DateTimeOffset since, int count);
}
