using Microsoft.Extensions.Logging;

namespace SecureMail.Gateway.Recovery;

internal static partial class RecoveryLog
{
    [LoggerMessage(
        1706,
        LogLevel.Warning,
        "This gateway was restored with {Size} ledger entries; it takes no work until its peers have shown that nothing "
            + "is missing"
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
