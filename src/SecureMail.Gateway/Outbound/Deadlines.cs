using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Outbound;

/// <summary>What falls due because nothing happened: receipts that are overdue, dispatches that are late, transmissions
/// that were tried for too long.</summary>
internal sealed class Deadlines(Overdue overdue, GiveUp giveUp, ClockWatch clock)
{
    /// <summary>The timer <see cref="WorkKind.Overdue"/>. Each step is a commit of its own and finds only what is not
    /// marked yet, so a lost lease or a second node changes nothing.</summary>
    public async Task<WorkOutcome> CheckAsync(WorkItem item, CancellationToken cancellationToken)
    {
        // A leap of this very second must not make anything late.
        await clock.LookAsync(cancellationToken);
        await overdue.MarkAsync(cancellationToken);
        await giveUp.AddDelayNoticesAsync(cancellationToken);
        await giveUp.GiveUpAsync(cancellationToken);
        return new WorkOutcome.Recur();
    }
}
