using Npgsql;

// The one place where a transaction is committed.
#pragma warning disable RS0030

namespace SecureMail.Storage;

/// <summary>
/// Every durable write of the product ends here, under a name: <c>part.what</c>. The tests of faults read the names
/// from the source and visit each commit: with the process killed before and after it, with the write failing, and with
/// its answer lost.
/// </summary>
public static class DurableCommit
{
    /// <summary>
    /// Runs a commit in place of the plain call: the name, the connection, the commit. Null in the product. Only a
    /// start-up hook of the tests sets it, before <c>Main</c> runs; therefore the executable under test is the shipped
    /// one.
    /// </summary>
    internal static Func<string, NpgsqlConnection, Func<Task>, Task>? Interceptor { get; set; }

    /// <summary>Commits. When the call returns, everything in the transaction is durable.</summary>
    /// <param name="point">The name of this commit, unique in the whole product.</param>
    public static async Task CommitAsync(
        this NpgsqlTransaction transaction, string point, CancellationToken cancellationToken)
    {
        var connection = transaction.Connection!;
        await (Interceptor is { } intercept
            ? intercept(point, connection, () => transaction.CommitAsync(cancellationToken))
            : transaction.CommitAsync(cancellationToken));
        CommitSignal.RaiseFor(transaction, connection.ConnectionString);
    }

    /// <summary>
    /// The way into the database for whatever writes: opens a connection, begins a transaction, runs the work and
    /// commits. When the call returns, everything that the work wrote is durable; when it throws, nothing is, except
    /// that a commit's answer may be lost (<see cref="DatabaseFault"/>).
    /// </summary>
    /// <param name="point">The name of this commit, unique in the whole product.</param>
    /// <param name="work">Runs in the transaction and opens no second connection.</param>
    public static async Task<T> InTransactionAsync<T>(
        this NpgsqlDataSource database, string point, Func<NpgsqlTransaction, Task<T>> work,
        CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var answer = await work(transaction);
        await transaction.CommitAsync(point, cancellationToken);
        return answer;
    }

    /// <inheritdoc cref="InTransactionAsync{T}"/>
    public static Task InTransactionAsync(
        this NpgsqlDataSource database, string point, Func<NpgsqlTransaction, Task> work,
        CancellationToken cancellationToken) =>
        database.InTransactionAsync(
            point,
            async transaction =>
            {
                await work(transaction);
                return true;
            },
            cancellationToken);

    /// <summary>Runs a statement that writes and commits by itself.</summary>
    /// <param name="point">The name of this commit, unique in the whole product.</param>
    public static async Task<T> CommitAsync<T>(
        this NpgsqlConnection connection, string point, Func<NpgsqlConnection, Task<T>> statement)
    {
        if (Interceptor is not { } intercept)
        {
            return await statement(connection);
        }

        var answer = default(T)!;
        await intercept(point, connection, async () => answer = await statement(connection));
        return answer;
    }
}
