using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Vocabulary;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Inbound;

/// <summary>The alarm over checkpoints of peers that no proof joins to what was seen before.</summary>
internal sealed class PeerAlarms(GatewayDatabase database, PeerLedger peers, ClockWatch clock)
{
    private static readonly TimeSpan PendingForTooLong = TimeSpan.FromHours(24);

    /// <summary>How often the timer falls due.</summary>
    public static TimeSpan Every { get; } = TimeSpan.FromMinutes(10);

    /// <summary>The timer <see cref="WorkKind.PeerAlarms"/>.</summary>
    public async Task<WorkOutcome> RaiseAsync(WorkItem item, CancellationToken cancellationToken)
    {
        if (!clock.IsDoubted)
        {
            // A crash before this commit raises the alarms at the next run.
            await database.Source.InTransactionAsync(
                "recurring.peers",
                transaction => peers.AlarmOverdueAsync(transaction, PendingForTooLong, cancellationToken),
                cancellationToken);
        }

        return new WorkOutcome.Recur();
    }
}
