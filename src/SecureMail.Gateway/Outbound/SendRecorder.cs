using Microsoft.Extensions.Logging;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// Writes down what became of an attempt to send: the state of each transmission with its ledger entry, the state of
/// the destination, and what happens to the work.
/// </summary>
internal sealed class SendRecorder(
    GatewayDatabase database, DestinationQueues destinations, TimeProvider time, ILogger<SendRecorder> logger)
{
    /// <summary>→ sent, with the end of the work, for what the peer has taken.</summary>
    public Task RecordDeliveredAsync(IReadOnlyList<Addressed> delivered, CancellationToken cancellationToken) =>
        RecordAsync(
            [.. delivered.Select(d => (d.Item, d.Transmission))], TransmissionState.Sent, null, null, isDone: true,
            cancellationToken);

    /// <summary>Applies the results of one mail, in order; what was delivered was recorded before.</summary>
    public async Task<IReadOnlyList<(WorkItem, WorkOutcome)>> ApplyResultsAsync(
        IReadOnlyList<Addressed> mail, IReadOnlyList<SendResult> results, CancellationToken cancellationToken)
    {
        var gateway = mail[0].Gateway;
        var pairs = mail.Zip(results).ToList();
        foreach (var (one, result) in pairs.Where(r => r.Second.Reason is not null))
        {
            OutboundLog.NotSent(logger, one.Transmission.Id, gateway.Name, result.Reason!);
        }

        // The transmissions come first, because what happened to them cannot be learnt again. The back-off of a
        // destination can.
        foreach (
            var unknown in pairs.Where(r => r.Second.Outcome == SmtpOutcome.Unknown).GroupBy(r => r.Second.Reason))
        {
            await RecordAsync(
                [.. unknown.Select(u => (u.First.Item, u.First.Transmission))], TransmissionState.Unknown, unknown.Key,
                null, isDone: false, cancellationToken);
        }

        if (results.Any(r => r.Host == HostState.Answered))
        {
            await destinations.ReachedAsync(gateway.Name, cancellationToken);
        }
        else
        {
            await destinations.FailedAsync(gateway.Name, mail[0].Item.LeasedAt, results[0].Reason!, cancellationToken);
        }

        List<(WorkItem, WorkOutcome)> outcomes = [];
        foreach (var (one, result) in pairs)
        {
            outcomes.Add((one.Item, await OutcomeOfAsync(one, result, cancellationToken)));
        }

        return outcomes;
    }

    /// <summary>→ failed, with its entry, a notice and the end of the work.</summary>
    /// <param name="diagnostic">What the remote gateway said, for the notice.</param>
    public async Task<WorkOutcome> FailAsync(
        WorkItem item, QueuedTransmission transmission, string reason, string? diagnostic,
        CancellationToken cancellationToken)
    {
        await RecordAsync(
            [(item, transmission)], TransmissionState.Failed, reason, diagnostic, isDone: true, cancellationToken);
        OutboundLog.GivenUp(logger, transmission.Id, reason);
        return new WorkOutcome.Done();
    }

    private async Task<WorkOutcome> OutcomeOfAsync(
        Addressed one, SendResult result, CancellationToken cancellationToken) =>
        result switch
        {
            { Outcome: SmtpOutcome.Delivered } => new WorkOutcome.Done(),
            { Outcome: SmtpOutcome.Permanent } => await FailAsync(
                one.Item, one.Transmission, result.Reason!, result.Reason, cancellationToken),
            // Nothing was said about this message. It waits behind its destination and has used up no attempt.
            { Host: HostState.NoSession } => new WorkOutcome.Snooze(TimeSpan.Zero, result.Reason!),
            _ => new WorkOutcome.Retry(result.Reason!),
        };

    /// <summary>Writes what became of these transmissions, all or none.</summary>
    private Task RecordAsync(
        IReadOnlyList<(WorkItem Item, QueuedTransmission Transmission)> sent, string state, string? reason,
        string? diagnostic, bool isDone, CancellationToken cancellationToken) =>
        // Before this commit a crash repeats the sending; the other side answers the duplicate with the same receipt.
        database.Source.InTransactionAsync(
            "send.outcome",
            async transaction =>
            {
                // All writers take the rows in this order, so that two that meet on the same rows do not deadlock.
                foreach (var (item, transmission) in sent.OrderBy(s => s.Transmission.Id))
                {
                    var now = time.GetUtcNow();
                    var isChanged = await TransmissionTable.RecordAttemptAsync(
                        transaction, transmission.Id, state, reason, now, cancellationToken);
                    if (isChanged && state == TransmissionState.Failed)
                    {
                        await TransmissionTable.AddNoticesAsync(
                            transaction, [transmission.Id], NoticeAction.Failed, reason, diagnostic,
                            cancellationToken);
                    }

                    if (isChanged)
                    {
                        await StoredLedger.AppendAsync(
                            transaction,
                            new LedgerEntry
                            {
                                Time = now,
                                Agency = transmission.AgencyId,
                                Kind = TransmissionKind.EntryOf(transmission.Kind, state),
                                Object = transmission.Id.ToString(),
                            },
                            cancellationToken);
                    }

                    if (isDone)
                    {
                        await TransmissionTable.EndResendAsync(transaction, transmission.Id, cancellationToken);
                        await item.CompleteAsync(transaction, cancellationToken);
                    }
                }
            },
            cancellationToken);
}
