using Microsoft.Extensions.Logging;
using SecureMail.Exchange;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// Queued | unknown → failed, when the time allowed is over, and before that a notice that a dispatch is late. It
/// recurs because a destination that backs off tries one row only: the others must not wait for their turn to be given
/// up. Time is the database's own, as for <see cref="Overdue"/>. A receipt that comes later still counts.
/// </summary>
internal sealed class GiveUp(
    GatewayDatabase database, DeliveryOptions options, TimeProvider time, ILogger<GiveUp> logger)
{
    /// <summary>Adds a notice, once, for each dispatch that has not left in
    /// <see cref="DeliveryOptions.DelayNoticeAfter"/>; answers how many.</summary>
    public Task<int> AddDelayNoticesAsync(CancellationToken cancellationToken) =>
        // The mark and the notice are one commit: a crash before it tells later, a crash after it tells nothing twice.
        database.Source.InTransactionAsync(
            "outbound.delayed",
            async transaction =>
            {
                var late = await TransmissionTable.MarkDelayedAsync(
                    transaction, options.DelayNoticeAfter, cancellationToken);
                await TransmissionTable.AddNoticesAsync(
                    transaction, late, NoticeAction.Delayed, null, null, cancellationToken, options.GiveUpAfter);
                return late.Count;
            },
            cancellationToken);

    /// <summary>Ends transmissions that were tried for too long, with their entries in the ledger and their notices. A
    /// transmission that is being sent at this moment is left to Send. Answers how many.</summary>
    public async Task<int> GiveUpAsync(CancellationToken cancellationToken)
    {
        // The end, its entry, the notice and the deletion of the work are one commit; before it everything is tried
        // on.
        var given = await database.Source.InTransactionAsync(
            "outbound.give-up",
            async transaction =>
            {
                var old = await TransmissionTable.LockTooOldAsync(
                    transaction, options.GiveUpAfter, cancellationToken);
                var busy = await WorkQueue.LockLeasedAsync(
                    transaction, WorkKind.Send, [.. old.Select(o => o.Transmission)], cancellationToken);
                var idle = old.Where(o => !busy.Contains(o.Transmission)).ToList();
                var ids = idle.Select(o => o.Transmission).ToArray();
                await TransmissionTable.AddNoticesAsync(
                    transaction, ids, NoticeAction.Failed, ReasonCode.GivenUp, null, cancellationToken);
                await TransmissionTable.FailAsync(transaction, ids, ReasonCode.GivenUp, cancellationToken);
                await WorkQueue.RemoveAsync(transaction, WorkKind.Send, ids, cancellationToken);
                foreach (var one in idle)
                {
                    await StoredLedger.AppendAsync(
                        transaction,
                        new LedgerEntry
                        {
                            Time = time.GetUtcNow(),
                            Agency = one.Agency,
                            Kind = TransmissionKind.EntryOf(one.Kind, TransmissionState.Failed),
                            Object = one.Transmission.ToString(),
                        },
                        cancellationToken);
                }

                return ids;
            },
            cancellationToken);
        foreach (var id in given)
        {
            OutboundLog.GivenUp(logger, id, ReasonCode.GivenUp);
        }

        return given.Length;
    }
}
