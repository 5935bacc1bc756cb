using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace SecureMail.Gateway.Health;

/// <summary>A health check that puts a small question to the database.</summary>
/// <remarks>The checks take turns: one connection at a time, and the time limit of a check, which begins before its
/// turn, covers the questions of all of them together.</remarks>
internal abstract class DatabaseCheck(DatabaseTurn turn) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        await turn.WaitAsync(cancellationToken);
        try
        {
            return HealthChecks.Result(await AskAsync(cancellationToken));
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
