using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Exchange;
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
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var due = (
            await transaction.ListAsync<(Guid Id, Guid Dispatch, Guid Agency, string Recipient)>(
                $"""
                UPDATE gateway.transmission SET overdue_at = now() WHERE transmission_id IN (
                  SELECT transmission_id FROM gateway.transmission
                  WHERE kind = '{TransmissionKind.Dispatch}'
                    AND state IN ('{TransmissionState.Sent}', '{TransmissionState.Unknown}')
                    AND overdue_at IS NULL AND first_sent_at < gateway.cutoff(@ReceiptDue)
                  LIMIT 500 FOR UPDATE SKIP LOCKED)
                RETURNING transmission_id, dispatch_id, agency_id, recipient_code
                """,
                new { options.ReceiptDue }, cancellationToken)
        ).ToList();
        foreach (var (id, _, agency, _) in due)
        {
            await StoredLedger.AppendAsync(
                transaction,
                new LedgerEntry
                {
                    Time = time.GetUtcNow(),
                    Agency = agency,
                    Kind = EntryKind.DispatchOverdue,
                    Object = id.ToString(),
                },
                cancellationToken);
        }

        await Notice.AddAsync(
            transaction, [.. due.Select(d => d.Id)], NoticeAction.Overdue, null, null, cancellationToken);
        await transaction.CommitAsync("outbound.overdue", cancellationToken);
        foreach (var (_, dispatch, _, recipient) in due)
        {
            OutboundLog.Overdue(logger, dispatch, recipient);
        }

        return due.Count;
    }
}
