using Microsoft.Extensions.Logging;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// The overdue notice: a dispatch that left and whose receipt did not come in time is marked, with its entry in the
/// ledger, and shown to the clerk. Time is the database's own, so that a node with a wrong clock raises no false
/// notice; what it leapt over does not count.
/// </summary>
internal sealed class Overdue(
    GatewayDatabase database, DeliveryOptions options, TimeProvider time, ILogger<Overdue> logger)
{
    /// <summary>Marks what fell due since the last time; answers how many.</summary>
    public async Task<int> MarkAsync(CancellationToken cancellationToken)
    {
        // The mark, its entry and the notice are one commit; a crash before it marks later.
        var due = await database.Source.InTransactionAsync(
            "outbound.overdue",
            async transaction =>
            {
                var marked = await TransmissionTable.MarkOverdueAsync(
                    transaction, options.ReceiptDue, cancellationToken);
                foreach (var one in marked)
                {
                    await StoredLedger.AppendAsync(
                        transaction,
                        new LedgerEntry
                        {
                            Time = time.GetUtcNow(),
                            Agency = one.Agency,
                            Kind = EntryKind.DispatchOverdue,
                            Object = one.Transmission.ToString(),
                        },
                        cancellationToken);
                }

                await TransmissionTable.AddNoticesAsync(
                    transaction, [.. marked.Select(d => d.Transmission)], NoticeAction.Overdue, null, null,
                    cancellationToken);
                return marked;
            },
            cancellationToken);
        foreach (var (_, dispatch, _, recipient) in due)
        {
            OutboundLog.Overdue(logger, dispatch, recipient);
        }

        return due.Count;
    }
}
