using SecureMail.Gateway.Clock;

namespace SecureMail.Gateway.Health;

/// <summary>Whether the process' and the database's clock agree, and whether either was set.</summary>
internal sealed class ClockCheck(ClockWatch clock, TimeProvider time, DatabaseTurn turn) : DatabaseCheck(turn, time)
{
    protected override async Task<IReadOnlyList<HealthIssue>> AskAsync(CancellationToken cancellationToken)
    {
        await clock.LookAsync(cancellationToken);
        return clock.IsApart ? [HealthIssue.ClockApart]
            : clock.IsDoubted ? [HealthIssue.ClockStepped]
            : [];
    }
}
