using Npgsql;

namespace SecureMail.Storage.Queue;

/// <summary>
/// What is known of the destinations, as rows of <c>gateway.destination</c>. A destination that cannot be reached backs
/// off as a whole; one that answers is open.
/// </summary>
/// <remarks>
/// Only the failure of a host makes a destination back off, not the refusal of one message. While it backs off, <see
/// cref="WorkQueue"/> leases one row of it (the probe) at each time of the schedule, over all nodes. The first answer
/// opens the destination: two rows at once, then three, up to its share of each node, so that a server that has just
/// come up does not get everything at once. Faults of our own database never come here, because they say nothing about
/// a destination. A gateway that brings us mail is probed at once.
/// </remarks>
public sealed class DestinationQueues(NpgsqlDataSource database, RetrySchedule schedule)
{
    /// <summary>The kind of work that goes to a destination; the gateway's name for it is
    /// <c>WorkKind.Send</c>.</summary>
    public const string KindOfWork = "send";

    /// <summary>Successes are counted up to this number, because more do not open a destination further.</summary>
    internal const int FullyOpen = 32;

    /// <summary>The host could not be reached, or ended the session. Of several attempts that were under way at once
    /// only the first counts.</summary>
    /// <param name="began">When the attempt was leased, by the database's clock.</param>
    public async Task FailedAsync(
        string destination, DateTime began, string reason, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var failures = await connection.ScalarAsync<int?>(
            "SELECT failures FROM gateway.destination WHERE lane = @lane",
            new { lane = destination }, cancellationToken) ?? 0;
        var delay = schedule.After(failures + 1);
        await connection.CommitAsync("queue.lane-failed", c => c.ExecuteAsync(
            """
            INSERT INTO gateway.destination AS d (lane, failures, not_before, last_error, last_failure_at)
            VALUES (@lane, 1, now() + @delay, @reason, now())
            ON CONFLICT (lane) DO UPDATE
            SET failures = d.failures + 1, successes = 0, not_before = excluded.not_before,
              last_error = excluded.last_error, last_failure_at = now()
            WHERE d.last_failure_at IS NULL OR d.last_failure_at < @began
            """,
            new { lane = destination, delay, reason, began }, cancellationToken));
    }

    /// <summary>Notes that the host answered, whatever the answer was.</summary>
    public async Task ReachedAsync(string destination, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        // Read before writing: a destination in use is fully open, so most sends write nothing to the row that all of
        // them share.
        var changes = await connection.ScalarAsync<bool>(
            """
            SELECT EXISTS (SELECT FROM gateway.destination WHERE lane = @lane
              AND (failures > 0 OR successes < @FullyOpen))
            """,
            new { lane = destination, FullyOpen }, cancellationToken);
        if (changes)
        {
            await connection.CommitAsync("queue.lane-reached", c =>
                c.ExecuteAsync(
                    """
                    UPDATE gateway.destination
                    SET failures = 0, not_before = NULL, successes = least(successes + 1, @FullyOpen),
                      last_success_at = now()
                    WHERE lane = @lane
                    """,
                    new { lane = destination, FullyOpen }, cancellationToken));
        }
    }

    /// <summary>Makes the probe of a gateway due that has brought a message, because it seems to be up again. A gateway
    /// that calls and does not answer is not probed at each call.</summary>
    /// <param name="transaction">The caller's, in which the message is recorded.</param>
    public static Task CalledAsync(
        NpgsqlTransaction transaction, string destination, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            """
            UPDATE gateway.destination SET not_before = now() WHERE lane = @lane
              AND failures > 0 AND not_before > now() AND last_failure_at < now() - interval '5 seconds'
            """,
            new { lane = destination }, cancellationToken);

    /// <summary>The destinations that back off now, the longest down first.</summary>
    public async Task<IReadOnlyList<BackedOffDestination>> BackingOffAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        return
        [
            .. await connection.ListAsync<BackedOffDestination>(
                $"""
                SELECT d.lane AS Destination, d.failures AS Failures, d.not_before AS NotBefore,
                  d.last_error AS LastError, d.last_success_at AS LastSuccessAt,
                  (SELECT count(*) FROM gateway.work w WHERE w.kind = '{KindOfWork}' AND w.lane = d.lane
                    AND w.state = '{WorkState.Ready}' AND w.awaits_entry IS NULL) AS Waiting
                FROM gateway.destination d WHERE d.failures > 0 ORDER BY d.last_success_at NULLS FIRST LIMIT 1000
                """,
                null, cancellationToken),
        ];
    }
}

/// <summary>A destination that backs off, to be shown. Times are UTC.</summary>
public sealed class BackedOffDestination
{
    public string Destination { get; init; } = "";

    public int Failures { get; init; }

    public DateTime NotBefore { get; init; }

    public string LastError { get; init; } = "";

    public DateTime? LastSuccessAt { get; init; }

    public long Waiting { get; init; }
}
