using Microsoft.Extensions.Logging;
using SecureMail.Exchange;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Telemetry;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using SecureMail.Trust;

namespace SecureMail.Gateway;

/// <summary>
/// What comes in, in order: receive → judge (parse, open, judge) → screen → record, which delivers, quarantines or
/// returns → answer with a receipt. Durable between them: received, recorded, receipt due.
/// </summary>
internal sealed class InboundFlow(
    GatewayDatabase database, IncomingValidator validator, AcceptancePolicy policy, IncomingRecorder recorder,
    ReceiptSender receipts, AgencyKeys keys, ClockWatch clock, ILogger<InboundFlow> logger)
{
    /// <summary>Work "judge": received → recorded.</summary>
    public async Task<WorkOutcome> ValidateAsync(WorkItem item, CancellationToken cancellationToken)
    {
        var received = await ReceivedMessage.LoadAsync(
            database, item.Subject, policy.IndeterminateFor, cancellationToken);
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
            await TellClockAsync(validated, cancellationToken);
            await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
            await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
            var decided = await policy.DecideAsync(transaction, validated, cancellationToken);
            if (decided is null)
            {
                InboundLog.Waits(logger, received.Id, policy.WhyWaits(validated));
                return new WorkOutcome.Snooze(policy.AskAgainAfter(validated), policy.WhyWaits(validated));
            }

            var (place, weakened) = await recorder.RecordAsync(transaction, decided, cancellationToken);
            await item.CompleteAsync(transaction, cancellationToken);
            // The commit is the delivery. Before it a crash judges again, and nobody was told anything.
            await transaction.CommitAsync("inbound.record", cancellationToken);
            GatewayMeter.MessageJudged(validated.Verdict.ToString(), place);
            InboundLog.Recorded(
                logger, received.Id, validated.Verdict.ToString(), place, decided.Reason ?? "nothing against it");
            if (decided.Reason is ReasonCode.LedgerFork or ReasonCode.ContentConflict)
            {
                InboundLog.Alarm(logger, decided.Reason, received.Peer);
            }

            if (weakened)
            {
                InboundLog.Weakened(logger, decided.Sender!.Id, received.Id);
            }

            return new WorkOutcome.Done();
        }
        catch (ClockSuspectException e)
        {
            InboundLog.Waits(logger, received.Id, e.Message);
            return new WorkOutcome.Snooze(clock.AskAgain, e.Message);
        }
        catch (KeyUnavailableException e)
        {
            InboundLog.Waits(logger, received.Id, e.Code);
            return e.NeedsPerson ? new WorkOutcome.Hold(e.Code) : new WorkOutcome.Retry(e.Code);
        }
    }

    /// <summary>Work "receipt": receipt due → the receipt is a transmission of its own.</summary>
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

            await receipts.SendReceiptAsync(item, cancellationToken);
            return new WorkOutcome.Done();
        }
        catch (KeyUnavailableException e)
        {
            InboundLog.ReceiptWaits(logger, item.Subject, e.Code);
            return e.NeedsPerson ? new WorkOutcome.Hold(e.Code) : new WorkOutcome.Retry(e.Code);
        }
    }

    /// <summary>What a proven signature says of its signer's clock. One that proves nothing says nothing: no stranger
    /// raises an alarm about somebody else's.</summary>
    private async Task TellClockAsync(ValidatedMessage validated, CancellationToken cancellationToken)
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
