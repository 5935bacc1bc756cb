using Microsoft.Extensions.Logging;
using SecureMail.Exchange;
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
    /// <summary>Tells the clerks once what has not left in <see cref="DeliveryOptions.DelayNoticeAfter"/>; answers how
    /// many.</summary>
    public async Task<int> TellDelayedAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var late = (
            await transaction.ListAsync<Guid>(
                $"""
                UPDATE gateway.transmission SET delayed_at = now() WHERE transmission_id IN (
                  SELECT transmission_id FROM gateway.transmission
                  WHERE kind = '{TransmissionKind.Dispatch}'
                    AND state IN ('{TransmissionState.Queued}', '{TransmissionState.Unknown}')
                    AND delayed_at IS NULL AND queued_at < gateway.cutoff(@DelayNoticeAfter)
                  ORDER BY queued_at LIMIT 500 FOR UPDATE SKIP LOCKED)
                RETURNING transmission_id
                """,
                new { options.DelayNoticeAfter }, cancellationToken)
        ).ToList();
        if (late.Count == 0)
        {
            return 0;
        }

        await Notice.AddAsync(
            transaction, late, NoticeAction.Delayed, null, null, cancellationToken, options.GiveUpAfter);
        // Marked and told are one commit: a crash before it tells later, a crash after it tells nothing twice.
        await transaction.CommitAsync("outbound.delayed", cancellationToken);
        return late.Count;
    }

    /// <summary>Ends what is too old, with its entry in the ledger and a notice; what is being sent at this moment ends
    /// itself. Answers how many.</summary>
    public async Task<int> GiveUpAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        // The transmission is locked before its work, as Send and Acknowledge do.
        var old = (
            await transaction.ListAsync<(Guid Id, string Kind, Guid Agency)>(
                $"""
                SELECT transmission_id, kind, agency_id FROM gateway.transmission
                WHERE state IN ('{TransmissionState.Queued}', '{TransmissionState.Unknown}')
                  AND queued_at < gateway.cutoff(@GiveUpAfter) ORDER BY queued_at LIMIT 500 FOR UPDATE SKIP LOCKED
                """,
                new { options.GiveUpAfter }, cancellationToken)
        ).ToDictionary(o => o.Id);
        var ids = old.Keys.ToArray();
        var busy = (
            await transaction.ListAsync<Guid>(
                $"""
                SELECT subject FROM (SELECT subject, state FROM gateway.work WHERE kind = '{WorkKind.Send}'
                  AND subject = ANY(@ids) FOR UPDATE) w WHERE state = '{WorkState.Leased}'
                """,
                new { ids }, cancellationToken)
        ).ToHashSet();
        ids = [.. ids.Where(id => !busy.Contains(id))];
        if (ids.Length == 0)
        {
            return 0;
        }

        await Notice.AddAsync(transaction, ids, NoticeAction.Failed, ReasonCode.GivenUp, null, cancellationToken);
        await transaction.ExecuteAsync(
            $"""
            UPDATE gateway.transmission SET state = '{TransmissionState.Failed}', reason = @Reason,
              closed_at = now() WHERE transmission_id = ANY(@ids);
            DELETE FROM gateway.work WHERE kind = '{WorkKind.Send}' AND subject = ANY(@ids);
            """,
            new { ids, Reason = ReasonCode.GivenUp }, cancellationToken);
        foreach (var id in ids)
        {
            await StoredLedger.AppendAsync(
                transaction,
                new LedgerEntry
                {
                    Time = time.GetUtcNow(),
                    Agency = old[id].Agency,
                    Kind = TransmissionKind.EntryOf(old[id].Kind, TransmissionState.Failed),
                    Object = id.ToString(),
                },
                cancellationToken);
        }

        // The end, its entry, the notice and the work's going are one commit; before it everything is tried on.
        await transaction.CommitAsync("outbound.give-up", cancellationToken);
        foreach (var id in ids)
        {
            OutboundLog.GivenUp(logger, id, ReasonCode.GivenUp);
        }

        return ids.Length;
    }
}
