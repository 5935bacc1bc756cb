using System.Collections.Concurrent;
using Npgsql;

namespace SecureMail.Storage;

/// <summary>
/// Says that this process committed a transaction to a database. A loop that looks for rows there looks at once then,
/// and not at the end of its pause. What other processes commit is found at the end of the pause.
/// </summary>
public sealed class CommitSignal
{
    // Commits come in bursts. One look serves those that come within this time.
    private static readonly TimeSpan Burst = TimeSpan.FromMilliseconds(10);

    private static readonly ConcurrentDictionary<string, CommitSignal> Signals = new(StringComparer.Ordinal);

    private TaskCompletionSource _next = NewSource();

    private CommitSignal()
    {
    }

    /// <summary>Ends at the next commit. Ask for it before you look, so that no commit falls between.</summary>
    public Task Next => Volatile.Read(ref _next).Task;

    /// <summary>The commits to this database.</summary>
    public static CommitSignal Of(NpgsqlDataSource database) => Of(database.ConnectionString);

    /// <summary>Waits for a commit after <paramref name="next"/> was asked for, and for those that come with it; or
    /// until the pause is over.</summary>
    public static async Task PauseAsync(
        Task next, TimeSpan pause, TimeProvider time, CancellationToken cancellationToken)
    {
        try
        {
            await next.WaitAsync(pause, time, cancellationToken);
            await Task.Delay(Burst, time, cancellationToken);
        }
        catch (TimeoutException)
        {
            // Nothing was committed here meanwhile.
        }
    }

    internal static CommitSignal Of(string connectionString) =>
        Signals.GetOrAdd(connectionString, static _ => new CommitSignal());

    internal void Raise() => Interlocked.Exchange(ref _next, NewSource()).SetResult();

    private static TaskCompletionSource NewSource() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
