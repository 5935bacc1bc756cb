using SecureMail.Exchange;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Policy;

namespace SecureMail.Gateway.Inbound;

/// <summary>When a validated message must wait for what it takes to decide it: revocation data, the time that its
/// signature claims, or a clock that can be believed.</summary>
internal sealed class WaitingRule(ClockWatch clock, InboundOptions options, TimeProvider time)
{
    private static readonly TimeSpan AskAgain = TimeSpan.FromMinutes(1);

    /// <summary>How long a message without a verdict may wait.</summary>
    public TimeSpan IndeterminateFor => options.IndeterminateFor;

    public bool MustWait(ValidatedMessage validated)
    {
        if (validated.Received.IsForPostmaster)
        {
            return false; // the verdict decides nothing
        }

        var hasWaited = validated.Received.Left <= TimeSpan.Zero;
        return
            VerdictPolicy.Of(validated.Verdict, hasWaited) == VerdictOutcome.Wait
            || DependsOnDoubtedClock(validated)
            // What comes too early by a wrong clock waits for its time, which the limit on peers' clocks bounds. A
            // receipt counts at once: it says that the dispatch arrived, and a dispatch must not become overdue because
            // its addressee's clock is wrong.
            || validated is { NotBefore: not null, Payload: not { ContentType.MediaType: "multipart/report" } };
    }

    /// <summary>Why the message waits, as a code.</summary>
    public string ReasonOf(ValidatedMessage validated) =>
        DependsOnDoubtedClock(validated) ? ReasonCode.ClockSuspect
        : validated.NotBefore is not null ? ReasonCode.SignedInFuture
        : validated.Verdict.ToString();

    /// <summary>When the message is validated again: soon, and at its deadline.</summary>
    public TimeSpan AskAgainAfter(ValidatedMessage validated)
    {
        if (DependsOnDoubtedClock(validated))
        {
            return clock.AskAgain;
        }

        // A clock may be set right at any time, ours too. Therefore the wait is never longer than a minute.
        var soonest = new[]
        {
            AskAgain,
            validated.Received.Left > TimeSpan.Zero ? validated.Received.Left : AskAgain,
            validated.NotBefore - time.GetUtcNow() ?? AskAgain,
        }.Min();
        return (soonest > TimeSpan.Zero ? soonest : TimeSpan.Zero) + TimeSpan.FromMilliseconds(100);
    }

    /// <summary>Nothing is quarantined for a reason of time while our own clock is doubted.</summary>
    private bool DependsOnDoubtedClock(ValidatedMessage validated) =>
        validated.Findings.Any(f =>
            f.Reason.Code is IncomingValidator.NotYetValid or IncomingValidator.InFuture or IncomingValidator.Expired
        ) && clock.IsDoubted;
}
