using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Npgsql;

namespace SecureMail.Storage;

/// <summary>
/// Says that this process committed rows that a loop of it looks for. The loop looks at once then, and not at the end
/// of its pause. What other processes commit is found at the end of the pause.
/// </summary>
public sealed class CommitSignal
{
    // Commits come in bursts. One look serves those that come within this time.
    private static readonly TimeSpan Burst = TimeSpan.FromMilliseconds(10);

    private static readonly ConcurrentDictionary<(string Database, CommittedRows Rows), CommitSignal> Signals = new();

    // What transactions that are not committed yet wrote. Npgsql uses the object of a transaction again, so what was
    // rolled back may be announced with the next commit, and costs a look.
    private static readonly ConditionalWeakTable<NpgsqlTransaction, StrongBox<CommittedRows>> Written = [];

    private TaskCompletionSource _next = NewSource();

    private CommitSignal()
    {
    }

    /// <summary>Ends at the next commit of such rows. Ask for it before you look, so that no commit falls
    /// between.</summary>
    public Task Next => Volatile.Read(ref _next).Task;

    /// <summary>The commits of work that is ready.</summary>
    public static CommitSignal OfReadyWork(NpgsqlDataSource database) =>
        Of(database.ConnectionString, CommittedRows.ReadyWork);

    /// <summary>The commits of entries that work awaits.</summary>
    public static CommitSignal OfAwaitedEntries(NpgsqlDataSource database) =>
        Of(database.ConnectionString, CommittedRows.AwaitedEntries);

    /// <summary>Waits for a commit after <paramref name="next"/> was asked for, and for those that come with it; or
    /// until the pause is over. Answers whether there was a commit.</summary>
    public static async Task<bool> PauseAsync(
        Task next, TimeSpan pause, TimeProvider time, CancellationToken cancellationToken)
    {
        try
        {
            await next.WaitAsync(pause, time, cancellationToken);
            await Task.Delay(Burst, time, cancellationToken);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    /// <summary>The transaction wrote such rows; its commit is to be said.</summary>
    internal static void Announce(NpgsqlTransaction transaction, CommittedRows rows) =>
        Written.GetOrCreateValue(transaction).Value |= rows;

    /// <summary>Says what the transaction wrote, after its commit.</summary>
    /// <param name="database">The connection string of its connection.</param>
    internal static void RaiseFor(NpgsqlTransaction transaction, string database)
    {
        if (!Written.TryGetValue(transaction, out var written))
        {
            return;
        }

        Written.Remove(transaction);
        foreach (var rows in new[] { CommittedRows.ReadyWork, CommittedRows.AwaitedEntries })
        {
            if (written.Value.HasFlag(rows))
            {
                Of(database, rows).Raise();
            }
        }
    }

    internal void Raise() => Interlocked.Exchange(ref _next, NewSource()).SetResult();

    internal static CommitSignal Of(string database, CommittedRows rows) =>
        Signals.GetOrAdd((database, rows), static _ => new CommitSignal());

    private static TaskCompletionSource NewSource() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}

/// <summary>Rows that a loop looks for.</summary>
[Flags]
internal enum CommittedRows
{
    None = 0,

    /// <summary>Work that awaits nothing.</summary>
    ReadyWork = 1,

    /// <summary>Entries of the ledger that work awaits.</summary>
    AwaitedEntries = 2,
}
