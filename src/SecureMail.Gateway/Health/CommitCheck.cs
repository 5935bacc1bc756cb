using SecureMail.Storage;

namespace SecureMail.Gateway.Health;

/// <summary>Whether the database commits; tried each five seconds, and at each look while it does not.</summary>
internal sealed class CommitCheck(GatewayDatabase database, TimeProvider time, DatabaseTurn turn)
    : DatabaseCheck(turn, time)
{
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(5);

    private bool _commits;
    private long _committedAt;

    protected override async Task<IReadOnlyList<HealthIssue>> AskAsync(CancellationToken cancellationToken)
    {
        if (!_commits || Time.GetElapsedTime(_committedAt) >= Every)
        {
            _commits = false;
            await database.TryCommitAsync(cancellationToken);
            (_commits, _committedAt) = (true, Time.GetTimestamp());
        }

        return [];
    }
}
