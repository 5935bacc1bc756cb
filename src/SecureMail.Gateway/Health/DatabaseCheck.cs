using Microsoft.Extensions.Diagnostics.HealthChecks;
using SecureMail.Storage;

namespace SecureMail.Gateway.Health;

/// <summary>A health check that puts a small question to the database.</summary>
/// <remarks>The checks take turns: one connection at a time, and the time limit of a check, which begins before its
/// turn, covers the questions of all of them together.</remarks>
/// <param name="commits">While this process commits no work, an answer without an issue holds for three seconds. Null:
/// it is asked for at each look.</param>
internal abstract class DatabaseCheck(DatabaseTurn turn, TimeProvider time, CommitSignal? commits = null) : IHealthCheck
{
    private static readonly TimeSpan HoldsAtRest = TimeSpan.FromSeconds(3);

    private Task _news = Task.CompletedTask;
    private long _askedAt;

    protected TimeProvider Time => time;

    public async Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        await turn.WaitAsync(cancellationToken);
        try
        {
            if (!_news.IsCompleted && time.GetElapsedTime(_askedAt) < HoldsAtRest)
            {
                return HealthChecks.Result([]);
            }

            var news = commits?.Next ?? Task.CompletedTask;
            var issues = await AskAsync(cancellationToken);
            (_news, _askedAt) = (issues.Count == 0 ? news : Task.CompletedTask, time.GetTimestamp());
            return HealthChecks.Result(issues);
        }
        finally
        {
            turn.Release();
        }
    }

    /// <summary>Asks now; empty: nothing stands in the way. An exception of the database is its answer too.</summary>
    protected abstract Task<IReadOnlyList<HealthIssue>> AskAsync(CancellationToken cancellationToken);
}

/// <summary>Lets one question at a time be put to the database.</summary>
internal sealed class DatabaseTurn : IDisposable
{
    private readonly SemaphoreSlim _turn = new(1, 1);

    public Task WaitAsync(CancellationToken cancellationToken) => _turn.WaitAsync(cancellationToken);

    public void Release() => _turn.Release();

    public void Dispose() => _turn.Dispose();
}
