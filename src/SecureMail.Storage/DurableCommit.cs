using System.Diagnostics;
using System.Globalization;
using Npgsql;

// The one place where a transaction is committed.
#pragma warning disable RS0030

namespace SecureMail.Storage;

/// <summary>
/// Every durable write of the product ends here, under a name: <c>part.what</c>. The name is what the tests of faults
/// hold on to: they read the names from the source, and visit each one with the process killed before and after it,
/// with the write failing, and with its answer lost.
/// </summary>
/// <remarks>
/// A process is told to fail at one point by the environment variable <see cref="Variable"/> when it starts,
/// <c>FAULT:POINT</c> or <c>FAULT:POINT#N</c> for the N-th time it is passed; it says so on standard error and fails
/// there, once. Without the variable the field is null for the life of the process, and each point costs one
/// comparison.
/// </remarks>
public static class DurableCommit
{
    public const string Variable = "SECUREMAIL_COMMIT_FAULT";

    private static readonly CommitFault? Fault = CommitFault.Parse(Environment.GetEnvironmentVariable(Variable));

    /// <summary>Commits; with the answer, everything in the transaction is durable.</summary>
    /// <param name="point">The name of this commit, one in the whole product.</param>
    public static Task CommitAsync(
        this NpgsqlTransaction transaction, string point, CancellationToken cancellationToken) =>
        Fault is null
            ? transaction.CommitAsync(cancellationToken)
            : FailingAsync(point, transaction.Connection!, () => transaction.CommitAsync(cancellationToken));

    /// <summary>A statement that writes and commits by itself.</summary>
    /// <param name="point">The name of this commit, one in the whole product.</param>
    public static async Task<T> CommitAsync<T>(
        this NpgsqlConnection connection, string point, Func<NpgsqlConnection, Task<T>> statement)
    {
        if (Fault is null)
        {
            return await statement(connection);
        }

        var answer = default(T)!;
        await FailingAsync(point, connection, async () => answer = await statement(connection));
        return answer;
    }

    private static async Task FailingAsync(string point, NpgsqlConnection connection, Func<Task> commit)
    {
        var fault = Fault!.TakesAt(point) ? Fault.Kind : null;
        if (fault is not null)
        {
            await Console.Error.WriteLineAsync($"{Variable} {fault}:{point}");
        }

        if (fault == "kill-before")
        {
            Die();
        }

        if (fault == "fail")
        {
            await CutAsync(connection);
        }

        await commit();
        if (fault == "kill-after")
        {
            Die();
        }

        if (fault == "lose-answer")
        {
            // COMMIT reached the server; what the caller gets is the error of a connection that went away, made by one
            // that did.
            await CutAsync(connection);
            await using var ask = new NpgsqlCommand("SELECT 1", connection);
            await ask.ExecuteScalarAsync();
        }
    }

    /// <summary>SIGKILL: nothing is flushed, no finally runs.</summary>
    private static void Die()
    {
        using var process = Process.GetCurrentProcess();
        process.Kill();
        Thread.CurrentThread.Join();
    }

    /// <summary>Ends the connection's server process from outside, as a fault of the network or the server
    /// would.</summary>
    private static async Task CutAsync(NpgsqlConnection connection)
    {
        await using var other = new NpgsqlConnection(
            new NpgsqlConnectionStringBuilder(connection.ConnectionString) { Pooling = false }.ConnectionString);
        await other.OpenAsync();
        await using var cut = new NpgsqlCommand(
            string.Create(CultureInfo.InvariantCulture, $"SELECT pg_terminate_backend({connection.ProcessID}, 10000)"),
            other);
        await cut.ExecuteScalarAsync();
    }

    private sealed record CommitFault(string Kind, string Point)
    {
        private static readonly string[] Kinds = ["kill-before", "kill-after", "fail", "lose-answer"];
        private int _left = 1;

        /// <exception cref="ArgumentException">A fault that is not known must not pass for a run without
        /// one.</exception>
        public static CommitFault? Parse(string? text)
        {
            if (string.IsNullOrEmpty(text))
            {
                return null;
            }

            var (kind, rest) = text.Split(':', 2) is [var k, var r] ? (k, r) : (text, "");
            var (point, times) = rest.Split('#', 2) is [var p, var n]
                ? (p, int.Parse(n, CultureInfo.InvariantCulture))
                : (rest, 1);
            return Kinds.Contains(kind) && point.Length > 0
                ? new CommitFault(kind, point) { _left = times }
                : throw new ArgumentException(
                    $"{Variable} is FAULT:POINT or FAULT:POINT#N, FAULT one of {string.Join(", ", Kinds)}.");
        }

        /// <summary>True once: at the N-th pass.</summary>
        public bool TakesAt(string point) => point == Point && Interlocked.Decrement(ref _left) == 0;
    }
}
