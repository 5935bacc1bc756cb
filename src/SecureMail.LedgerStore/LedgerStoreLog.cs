using Microsoft.Extensions.Logging;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.LedgerStore;

/// <summary>The log messages of the ledger: sizes, counts and ids, never the content of an entry.</summary>
internal static partial class LedgerStoreLog
{
    [LoggerMessage(4001, LogLevel.Debug, "Checkpoint signed: {Size} entries, {Added} of them new")]
    public static partial void CheckpointSigned(ILogger logger, long size, int added);

    [LoggerMessage(
        4002, LogLevel.Warning, "Sequencing failed, the database may be unreachable; next attempt in {Delay}")]
    public static partial void SequencingFailed(ILogger logger, TimeSpan delay, Exception exception);

    [LoggerMessage(
        4003, LogLevel.Critical, "The ledger is damaged and nothing is signed: run 'securemail ledger verify'")]
    public static partial void LedgerDamaged(ILogger logger, Exception exception);

    [LoggerMessage(4004, LogLevel.Critical, "Alarm about the ledger of {Peer}: {Kind}, {Detail}")]
    public static partial void PeerAlarm(ILogger logger, string peer, string kind, string detail);
}
