using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Telemetry;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using SecureMail.Trust;

namespace SecureMail.Gateway;

/// <summary>
/// What comes in, in order: receive → validate (parse, open, validate) → decide → record, which delivers, quarantines
/// or returns → send a receipt. Durable between them: received, recorded, receipt due.
/// </summary>
internal sealed class InboundFlow(
    GatewayDatabase database, IncomingValidator validator, WaitingRule waiting, AcceptancePolicy policy,
    IncomingRecorder recorder, ReceiptSender receipts, AgencyKeys keys, ClockWatch clock,
    ILogger<InboundFlow> logger)
{
    /// <summary>Work of <see cref="WorkKind.Validate"/>: received → recorded.</summary>
    public async Task<WorkOutcome> ValidateAsync(WorkItem item, CancellationToken cancellationToken)
    {
        var received = await ReceivedMessage.LoadAsync(
            database, item.Subject, waiting.IndeterminateFor, cancellationToken);
        if (received is null)
        {
            return await item.DropAsync(database.Source, cancellationToken);
        }

        try
        {
            if (item.ActedAt is { } acted)
            {
                keys.PersonActed(acted);
            }

            await using var validated = await validator.ValidateAsync(received, cancellationToken);
            await ComparePeerClockAsync(validated, cancellationToken);
            if (waiting.MustWait(validated))
            {
                InboundLog.Waits(logger, received.Id, waiting.ReasonOf(validated));
                return new WorkOutcome.Snooze(waiting.AskAgainAfter(validated), waiting.ReasonOf(validated));
            }

            // The commit is the delivery. Before it a crash validates again, and nobody was told anything.
            var (decided, disposition, isWeakened) = await database.Source.InTransactionAsync(
                "inbound.record",
                async transaction =>
                {
                    validated.Bytes.ReadIn(transaction);
                    var decided = await policy.DecideAsync(transaction, validated, cancellationToken);
                    var (disposition, isWeakened) = await recorder.RecordAsync(
                        transaction, decided, cancellationToken);
                    await item.CompleteAsync(transaction, cancellationToken);
                    return (decided, disposition, isWeakened);
                },
                cancellationToken);
            GatewayMeter.MessageValidated(validated.Verdict.ToString(), disposition);
            InboundLog.Recorded(
                logger, received.Id, validated.Verdict.ToString(), disposition, decided.Reason ?? "nothing against it");
            if (decided.RaisesAlarm)
            {
                InboundLog.Alarm(logger, decided.Reason!, received.Peer);
            }

            if (isWeakened)
            {
                InboundLog.Weakened(logger, decided.Sender!.Id, received.Id);
            }

            return new WorkOutcome.Done();
        }
        catch (KeyUnavailableException e)
        {
            InboundLog.Waits(logger, received.Id, e.Code);
            return e.NeedsPerson ? new WorkOutcome.Hold(e.Code) : new WorkOutcome.Retry(e.Code);
        }
    }

    /// <summary>Work of <see cref="WorkKind.ValidateAgain"/>: quarantined → inbox, over the received bytes as of their
    /// reception.</summary>
    public async Task<WorkOutcome> ValidateAgainAsync(WorkItem item, CancellationToken cancellationToken)
    {
        if (await ReceivedMessage.LoadAgainAsync(database, item.Subject, cancellationToken) is not { } received)
        {
            return await item.DropAsync(database.Source, cancellationToken);
        }

        try
        {
            if (item.ActedAt is { } acted)
            {
                keys.PersonActed(acted);
            }

            await using var validated = await validator.ValidateAsync(received, cancellationToken);
            if (waiting.MustWait(validated))
            {
                InboundLog.Waits(logger, received.Id, waiting.ReasonOf(validated));
                return new WorkOutcome.Snooze(waiting.AskAgainAfter(validated), waiting.ReasonOf(validated));
            }

            // The commit is the delivery. Before it a crash validates again; after it the message waits for nothing
            // that came. The row is locked, so that a person's decision made meanwhile stands.
            var (disposition, isWeakened) = await database.Source.InTransactionAsync(
                "inbound.validated-again",
                async transaction =>
                {
                    validated.Bytes.ReadIn(transaction);
                    var outcome = await RecordAgainAsync(transaction, validated, cancellationToken);
                    await item.CompleteAsync(transaction, cancellationToken);
                    return outcome;
                },
                cancellationToken);
            if (disposition is not null)
            {
                InboundLog.ValidatedAgain(logger, received.Id, validated.Verdict.ToString(), disposition);
            }

            if (isWeakened)
            {
                InboundLog.Weakened(logger, received.AgencyId, received.Id);
            }

            return new WorkOutcome.Done();
        }
        catch (KeyUnavailableException e)
        {
            InboundLog.Waits(logger, received.Id, e.Code);
            return e.NeedsPerson ? new WorkOutcome.Hold(e.Code) : new WorkOutcome.Retry(e.Code);
        }
    }

    private async Task<(string? Disposition, bool IsWeakened)> RecordAgainAsync(
        NpgsqlTransaction transaction, ValidatedMessage validated, CancellationToken cancellationToken)
    {
        switch (await IncomingTable.LockAsync(transaction, validated.Received.Id, cancellationToken))
        {
            case { Disposition: Disposition.Quarantine, Awaits: not null, IsErased: false } row:
                var decided = await policy.DecideAsync(transaction, validated, cancellationToken);
                return await recorder.RecordAgainAsync(transaction, decided, row, cancellationToken);
            case { Disposition: Disposition.Inbox, IsErased: false, Manifest: not null } row
                when row.Verdict == FindingJson.Name(Verdict.Valid)
                    && validated.Findings.Any(f => f.SubIndication == SubIndication.RevokedNoPoe):
                await recorder.RecordRevokedAsync(transaction, validated, row, cancellationToken);
                InboundLog.Alarm(logger, AlarmKind.RevokedBeforeReception, validated.Received.Peer);
                return (Disposition.Inbox, false);
            default:
                return (null, false);
        }
    }

    /// <summary>Work of <see cref="WorkKind.Validate"/> that always fails: received → quarantined. Nothing of the
    /// message is read, because reading it is what fails.</summary>
    /// <param name="reason">The name of an exception's type, or <see cref="Worker.ProcessEnded"/>.</param>
    public async Task GiveUpValidationAsync(WorkItem item, string reason, CancellationToken cancellationToken)
    {
        var received = await ReceivedMessage.LoadAsync(
            database, item.Subject, waiting.IndeterminateFor, cancellationToken);
        if (received is null)
        {
            await item.DropAsync(database.Source, cancellationToken);
            return;
        }

        // Before this commit the message is given up again; after it a person decides about the message.
        await database.Source.InTransactionAsync(
            "inbound.validation-failed",
            async transaction =>
            {
                await recorder.RecordFailedAsync(transaction, received, reason, cancellationToken);
                await item.CompleteAsync(transaction, cancellationToken);
            },
            cancellationToken);
        GatewayMeter.MessageValidated(Verdict.Unreadable.ToString(), Disposition.Quarantine);
        InboundLog.Alarm(logger, AlarmKind.ValidationFailed, received.Peer);
        InboundLog.ValidationFailed(logger, received.Id, reason);
    }

    /// <summary>Work of <see cref="WorkKind.SendReceipt"/>: receipt due → the receipt is a transmission of its
    /// own.</summary>
    public async Task<WorkOutcome> SendReceiptAsync(WorkItem item, CancellationToken cancellationToken)
    {
        if (clock.IsDoubted)
        {
            InboundLog.ReceiptWaits(logger, item.Subject, ClockSuspectException.Code);
            return new WorkOutcome.Snooze(clock.AskAgain, ClockSuspectException.Code);
        }

        try
        {
            if (item.ActedAt is { } acted)
            {
                keys.PersonActed(acted);
            }

            return await receipts.SendReceiptAsync(item, cancellationToken)
                ? new WorkOutcome.Done()
                : new WorkOutcome.Snooze(TimeSpan.FromSeconds(1), "the next receipt fell due");
        }
        catch (KeyUnavailableException e)
        {
            InboundLog.ReceiptWaits(logger, item.Subject, e.Code);
            return e.NeedsPerson ? new WorkOutcome.Hold(e.Code) : new WorkOutcome.Retry(e.Code);
        }
    }

    /// <summary>Takes in what a proven signature says of its signer's clock. A signature that proves nothing counts for
    /// nothing, so that no stranger raises an alarm about a peer.</summary>
    private async Task ComparePeerClockAsync(ValidatedMessage validated, CancellationToken cancellationToken)
    {
        if (validated.Verdict != Verdict.Valid || !clock.RanAsNowAt(validated.Received.ReceivedAt))
        {
            return;
        }

        if (validated.Ahead > TimeSpan.Zero)
        {
            await clock.PeerIsAheadAsync(validated.Received.Peer, validated.Ahead, cancellationToken);
        }
        else
        {
            await clock.PeerAgreesAsync(validated.Received.Peer, cancellationToken);
        }
    }
}
