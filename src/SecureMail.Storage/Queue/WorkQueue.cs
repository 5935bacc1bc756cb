using Npgsql;

namespace SecureMail.Storage.Queue;

/// <summary>
/// The work to be done, as rows of <c>gateway.work</c>; the state diagram stands beside the table in 0001_gateway.sql.
/// </summary>
/// <remarks>
/// Enqueueing joins the caller's transaction: the work exists exactly when the state that asks for it does. A worker
/// leases rows (SKIP LOCKED, so that workers never wait for one another), renews the lease while it runs, and deletes
/// the row in the transaction that records what it did. If the lease was lost, that delete finds nothing and the whole
/// transaction is undone. All times are the database's, so that nodes with different clocks agree on what a lease is.
/// Work is done at least once; the rows of its subject see to it that its effect happens once. NOTIFY is not used,
/// because PostgreSQL lets commits that notify pass one at a time. Workers look at the partial index when their process
/// committed work (<see cref="CommitSignal"/>), and once a second for what others committed.
/// </remarks>
public sealed class WorkQueue(NpgsqlDataSource database)
{
    /// <summary>
    /// What the database's clock must show, or null. A lease is over when both say so: the clock, and the count of
    /// seconds since the clock was last looked at. Therefore a clock that leaps ends no lease; the gateway's watch over
    /// clocks adds the leap to the leases.
    /// </summary>
    public Func<DateTime?> MonotonicNow { get; init; } = () => null;

    internal CommitSignal Commits { get; } = CommitSignal.OfReadyWork(database);

    /// <summary>Asks for work. Asking again for the same subject finds the same row, and makes it ready again where it
    /// is dead or held.</summary>
    /// <param name="transaction">The caller's; the work is durable with its commit.</param>
    /// <param name="awaitsEntry">A ledger entry that a checkpoint must cover first.</param>
    /// <param name="destination">Where the work goes, where that is known. Work for one destination shares its
    /// limits.</param>
    /// <param name="batch">Work of one destination and one batch can be done in one go.</param>
    public static Task EnqueueAsync(
        NpgsqlTransaction transaction,
        string kind,
        Guid subject,
        long? awaitsEntry = null,
        string? destination = null,
        Guid? batch = null,
        CancellationToken cancellationToken = default
    ) => EnqueueAsync(transaction, kind, [new NewWork(subject, destination, batch)], awaitsEntry, cancellationToken);

    /// <summary>Asks for work on many subjects, each once, in one statement.</summary>
    /// <inheritdoc cref="EnqueueAsync(NpgsqlTransaction, string, Guid, long?, string?, Guid?, CancellationToken)"/>
    public static async Task EnqueueAsync(
        NpgsqlTransaction transaction, string kind, IReadOnlyCollection<NewWork> work, long? awaitsEntry,
        CancellationToken cancellationToken)
    {
        await transaction.ExecuteAsync(
            $"""
            INSERT INTO gateway.work (kind, subject, awaits_entry, lane, batch)
            SELECT @kind, subject, @awaitsEntry, lane, batch
            FROM unnest(@subjects, @lanes, @batches) w(subject, lane, batch)
            ON CONFLICT (kind, subject) DO UPDATE
            SET state = '{WorkState.Ready}', run_at = now(), attempts = 0, failures = 0, lease_owner = NULL,
              lease_until = NULL, awaits_entry = excluded.awaits_entry, lane = excluded.lane, batch = excluded.batch
            WHERE gateway.work.state IN ('{WorkState.Held}', '{WorkState.Dead}')
            """,
            new
            {
                kind,
                awaitsEntry,
                subjects = work.Select(w => w.Subject).ToArray(),
                lanes = work.Select(w => w.Destination).ToArray(),
                batches = work.Select(w => w.Batch).ToArray(),
            }, cancellationToken);
        CommitSignal.Announce(
            transaction, awaitsEntry is null ? CommittedRows.ReadyWork : CommittedRows.AwaitedEntries);
    }

    /// <summary>Sees to it that there is the one row of a timer: work on the gateway itself that falls due again and
    /// again. It is due at once where it is new. A timer that was given up goes on.</summary>
    internal async Task StartTimerAsync(string kind, TimeSpan period, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        // Every node starts it. After a crash before this commit the next start of a node does it.
        await connection.CommitAsync("queue.timer", c => c.ExecuteAsync(
            $"""
            INSERT INTO gateway.work (kind, subject, period, failures) VALUES (@kind, @subject, @period, 0)
            ON CONFLICT (kind, subject) DO UPDATE
            SET period = excluded.period, run_at = least(gateway.work.run_at, now() + excluded.period),
              state = CASE WHEN gateway.work.state = '{WorkState.Leased}' THEN gateway.work.state
                ELSE '{WorkState.Ready}' END,
              failures = CASE WHEN gateway.work.state = '{WorkState.Dead}' THEN 0 ELSE gateway.work.failures END
            WHERE gateway.work.period IS DISTINCT FROM excluded.period
              OR gateway.work.state IN ('{WorkState.Held}', '{WorkState.Dead}')
            """,
            new { kind, subject = Guid.Empty, period }, cancellationToken));
    }

    /// <summary>Makes a timer due with the caller's commit. One that is under way or not started stays as it is, and
    /// falls due after its period.</summary>
    public static async Task MakeTimerDueAsync(
        NpgsqlTransaction transaction, string kind, CancellationToken cancellationToken)
    {
        await transaction.ExecuteAsync(
            $"""
            UPDATE gateway.work SET run_at = now()
            WHERE kind = @kind AND subject = @subject AND state = '{WorkState.Ready}' AND run_at > now()
            """,
            new { kind, subject = Guid.Empty }, cancellationToken);
        CommitSignal.Announce(transaction, CommittedRows.ReadyWork);
    }

    /// <summary>Frees the work that awaited these ledger entries. It runs in the sequencer's transaction, so that the
    /// checkpoint and the release are one commit.</summary>
    public static async Task ReleaseAsync(
        NpgsqlTransaction transaction, IReadOnlyList<long> entries, CancellationToken cancellationToken)
    {
        var released = await transaction.ExecuteAsync(
            "UPDATE gateway.work SET awaits_entry = NULL, run_at = now() WHERE awaits_entry = ANY(@entries)",
            new { entries = entries.ToArray() }, cancellationToken);
        if (released > 0)
        {
            CommitSignal.Announce(transaction, CommittedRows.ReadyWork);
        }
    }

    /// <summary>Locks the work on these subjects and answers for which of them a worker holds a lease.</summary>
    public static async Task<IReadOnlySet<Guid>> LockLeasedAsync(
        NpgsqlTransaction transaction, string kind, Guid[] subjects, CancellationToken cancellationToken) =>
        (
            await transaction.ListAsync<Guid>(
                $"""
                SELECT subject FROM (
                  SELECT subject, state FROM gateway.work WHERE kind = @kind AND subject = ANY(@subjects) FOR UPDATE) w
                WHERE state = '{WorkState.Leased}'
                """,
                new { kind, subjects }, cancellationToken)
        ).ToHashSet();

    /// <summary>Deletes the work on these subjects. A worker that holds a lease on it finds the lease lost.</summary>
    public static Task RemoveAsync(
        NpgsqlTransaction transaction, string kind, Guid[] subjects, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            "DELETE FROM gateway.work WHERE kind = @kind AND subject = ANY(@subjects)", new { kind, subjects },
            cancellationToken);

    /// <summary>Deletes the work on one subject unless a worker holds a lease on it.</summary>
    public static Task RemoveUnleasedAsync(
        NpgsqlTransaction transaction, string kind, Guid subject, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            $"DELETE FROM gateway.work WHERE kind = @kind AND subject = @subject AND state <> '{WorkState.Leased}'",
            new { kind, subject }, cancellationToken);

    /// <summary>Makes work due now that waits for one of these reasons.</summary>
    public static async Task WakeAsync(
        NpgsqlTransaction transaction, string[] reasons, CancellationToken cancellationToken)
    {
        var woken = await transaction.ExecuteAsync(
            $"""
            UPDATE gateway.work SET run_at = now()
            WHERE state = '{WorkState.Ready}' AND run_at > now() AND last_error = ANY(@reasons)
            """,
            new { reasons }, cancellationToken);
        if (woken > 0)
        {
            CommitSignal.Announce(transaction, CommittedRows.ReadyWork);
        }
    }

    /// <summary>The most rows of one batch that are done in one go. RFC 5321 §4.5.3.1.8: a server takes a hundred
    /// recipients and need not take more.</summary>
    internal const int LargestBatch = 100;

    /// <param name="destinations">Null: the kind has no destinations, and the oldest rows are taken.</param>
    /// <returns>At most as many as asked for; with each come, beyond that number, the due rows of its batch.</returns>
    /// <param name="subject">Only the work on this subject; null: any.</param>
    internal async Task<IReadOnlyList<WorkItem>> LeaseAsync(
        string kind, string owner, TimeSpan lease, int most, DestinationLimits? destinations,
        CancellationToken cancellationToken, Guid? subject = null)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var rows = await connection.CommitAsync("queue.lease", c =>
            c.ListAsync<LeasedRow>(
                LeaseStatement(most, destinations, ofSubject: subject is not null),
                new { kind, owner, lease, subject }, cancellationToken));
        var items = rows.Select(r =>
                (
                    r.Batch,
                    Item: new WorkItem(r.Id, kind, r.Subject, r.Attempts, r.ActedAt, owner)
                    {
                        Destination = r.Destination,
                        LeasedAt = r.LeasedAt,
                        Failures = r.Failures,
                    }))
            .ToList();
        return
        [
            .. items.Where(i => i.Batch is null).Select(i => i.Item),
            .. items
                .Where(i => i.Batch is not null)
                .GroupBy(i => (i.Batch, i.Item.Destination))
                .SelectMany(g => g.Select(i => i.Item).Chunk(LargestBatch))
                .Select(WorkItem.Together),
        ];
    }

    internal static string LeaseStatement(int most, DestinationLimits? destinations, bool ofSubject) =>
        $"""
        {(ofSubject ? OfSubject
            : destinations is null ? Oldest(most)
            : LeaseByDestination.Pick(most, destinations))},
        together AS MATERIALIZED (
          SELECT w.work_id FROM (
            SELECT DISTINCT p.lane, p.batch FROM gateway.work p JOIN pick USING (work_id)
            WHERE p.batch IS NOT NULL) b
          CROSS JOIN LATERAL (
            SELECT work_id FROM gateway.work
            WHERE kind = @kind AND lane = b.lane AND batch = b.batch AND state = '{WorkState.Ready}'
              AND awaits_entry IS NULL AND run_at <= now()
            LIMIT {LargestBatch} FOR UPDATE SKIP LOCKED) w)
        UPDATE gateway.work w
        SET state = '{WorkState.Leased}', lease_owner = @owner, lease_until = now() + @lease,
          attempts = attempts + 1
        FROM (SELECT work_id FROM pick UNION SELECT work_id FROM together) due
        WHERE w.work_id = due.work_id
        RETURNING w.work_id AS Id, w.subject AS Subject, w.attempts AS Attempts, w.failures AS Failures,
          w.acted_at AS ActedAt, w.lane AS Destination, now() AS LeasedAt, w.batch AS Batch
        """;

    private const string OfSubject = $"""
        WITH pick AS MATERIALIZED (
          SELECT work_id FROM gateway.work
          WHERE kind = @kind AND subject = @subject AND state = '{WorkState.Ready}' AND awaits_entry IS NULL
            AND run_at <= now()
          FOR UPDATE SKIP LOCKED)
        """;

    // The limit is a literal, because with a parameter the planner does not use the partial index.
    private static string Oldest(int most) =>
        $"""
        WITH pick AS MATERIALIZED (
          SELECT work_id FROM gateway.work
          WHERE kind = @kind AND state = '{WorkState.Ready}' AND awaits_entry IS NULL AND run_at <= now()
          ORDER BY run_at LIMIT {most} FOR UPDATE SKIP LOCKED)
        """;

    /// <summary>Answers false when the lease is no longer ours. The rows of its batch are renewed with it; a row that
    /// is done needs no lease.</summary>
    internal async Task<bool> RenewAsync(WorkItem item, TimeSpan lease, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        return await connection.CommitAsync("queue.renew", c => c.ExecuteAsync(
            $"""
            UPDATE gateway.work SET lease_until = now() + @lease
            WHERE work_id = ANY(@ids) AND state = '{WorkState.Leased}' AND lease_owner = @Owner
              AND lease_until > least(now(), @monotonic::timestamptz)
            """,
            new { lease, ids = item.All.Select(i => i.Id).ToArray(), item.Owner, monotonic = MonotonicNow() },
            cancellationToken)) > 0;
    }

    /// <param name="reason">Null: as before.</param>
    /// <param name="destination">Where the work goes, as its handler found; null: as before.</param>
    /// <param name="failures">See <see cref="WorkItem.Failures"/>.</param>
    internal async Task PutBackAsync(
        WorkItem item, string state, TimeSpan delay, string? reason, bool countsAsAttempt,
        CancellationToken cancellationToken, string? destination = null, int failures = 0)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        await connection.CommitAsync("queue.put-back", c => c.ExecuteAsync(
            $"""
            UPDATE gateway.work
            SET state = @state, run_at = now() + @delay, last_error = coalesce(@reason, last_error), lease_owner = NULL,
              lease_until = NULL, acted_at = NULL, failures = @failures,
              attempts = attempts - CASE WHEN @countsAsAttempt THEN 0 ELSE 1 END, lane = coalesce(@lane, lane)
            WHERE work_id = @Id AND state = '{WorkState.Leased}' AND lease_owner = @Owner
            """,
            new { state, delay, reason, countsAsAttempt, lane = destination, failures, item.Id, item.Owner },
            cancellationToken));
    }

    /// <summary>Puts a timer back that did its work: it falls due again after its period.</summary>
    internal async Task RecurAsync(WorkItem item, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        // After a crash before this commit the lease runs out and the timer is due again.
        await connection.CommitAsync("queue.recur", c => c.ExecuteAsync(
            $"""
            UPDATE gateway.work
            SET state = '{WorkState.Ready}', run_at = now() + period, attempts = 0, failures = 0, last_error = NULL,
              lease_owner = NULL, lease_until = NULL, acted_at = NULL
            WHERE work_id = @Id AND state = '{WorkState.Leased}' AND lease_owner = @Owner
            """,
            new { item.Id, item.Owner }, cancellationToken));
    }

    /// <summary>Makes work ready again whose lease ran out, because its worker died or lost the database.</summary>
    /// <param name="owner">The worker that asks. It lives, so what it held itself did not end its process.</param>
    internal async Task<int> ReclaimAsync(string owner, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        return await connection.CommitAsync("queue.reclaim", c => c.ExecuteAsync(
            $"""
            UPDATE gateway.work
            SET state = '{WorkState.Ready}', failures = failures + CASE WHEN lease_owner = @owner THEN 0 ELSE 1 END,
              lease_owner = NULL, lease_until = NULL, last_error = 'lease ran out'
            WHERE state = '{WorkState.Leased}' AND lease_until <= least(now(), @monotonic::timestamptz)
            """,
            new { owner, monotonic = MonotonicNow() }, cancellationToken));
    }

    /// <summary>Frees at once what an earlier process of this node had leased. That process is gone, because the caller
    /// holds the node's <see cref="Storage.ServingLock"/>.</summary>
    internal async Task<int> ReclaimOfAsync(string node, string except, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        return await connection.CommitAsync("queue.reclaim-own", c => c.ExecuteAsync(
            $"""
            UPDATE gateway.work
            SET state = '{WorkState.Ready}', run_at = now(), failures = failures + 1, lease_owner = NULL,
              lease_until = NULL, last_error = 'process ended'
            WHERE state = '{WorkState.Leased}' AND starts_with(lease_owner, @node) AND lease_owner <> @except
            """,
            new { node = node + ":", except }, cancellationToken));
    }

    /// <summary>When the first work of each of these kinds falls due, and when the first lease of it is over. A kind of
    /// which there is neither is left out. A row whose destination is shut counts as due.</summary>
    internal async Task<IReadOnlyList<NextWork>> NextAsync(
        IReadOnlyCollection<string> kinds, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        return await connection.ListAsync<NextWork>(
            $"""
            SELECT k AS Kind, ready.run_at - now() AS DueIn,
              leased.lease_until + greatest(now() - @monotonic::timestamptz, interval '0') - now() AS LeaseOverIn
            FROM unnest(@kinds) k
            LEFT JOIN LATERAL (
              SELECT run_at FROM gateway.work WHERE kind = k AND state = '{WorkState.Ready}' AND awaits_entry IS NULL
              ORDER BY run_at LIMIT 1) ready ON true
            LEFT JOIN LATERAL (
              SELECT min(lease_until) AS lease_until FROM gateway.work
              WHERE kind = k AND state = '{WorkState.Leased}') leased ON true
            WHERE ready.run_at IS NOT NULL OR leased.lease_until IS NOT NULL
            """,
            new { kinds = kinds.ToArray(), monotonic = MonotonicNow() }, cancellationToken);
    }

    /// <summary>What waits, oldest first, for a person to look at. A timer is shown only while it does not go
    /// on.</summary>
    public async Task<IReadOnlyList<WorkRow>> ListAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        return
        [
            .. await connection.ListAsync<WorkRow>(
                $"""
                SELECT work_id AS Id, kind AS Kind, subject AS Subject, w.state AS State, run_at AS RunAt,
                  attempts AS Attempts, w.failures AS Failures, awaits_entry AS AwaitsEntry, w.last_error AS LastError,
                  lane AS Destination, d.not_before AS DestinationNotBefore
                FROM gateway.work w LEFT JOIN gateway.destination d USING (lane)
                WHERE period IS NULL OR w.state = '{WorkState.Dead}' OR w.failures > 0
                ORDER BY work_id LIMIT 1000
                """,
                null, cancellationToken),
        ];
    }

    /// <summary>Makes work due now because a person asks for it. A destination that backs off is probed at once.
    /// Answers what the work is about, or null where there is no such row or a worker is at it.</summary>
    public static async Task<Guid?> RetryAsync(
        NpgsqlTransaction transaction, long id, CancellationToken cancellationToken)
    {
        CommitSignal.Announce(transaction, CommittedRows.ReadyWork);
        return await transaction.ScalarAsync<Guid?>(
            $"""
            WITH asked AS (
              UPDATE gateway.work
              SET state = '{WorkState.Ready}', run_at = now(), attempts = 0, failures = 0, acted_at = now()
              WHERE work_id = @id AND state <> '{WorkState.Leased}'
              RETURNING lane, subject),
            probed AS (
              UPDATE gateway.destination SET not_before = now()
              WHERE failures > 0 AND lane IN (SELECT lane FROM asked))
            SELECT subject FROM asked
            """,
            new { id }, cancellationToken);
    }

    /// <summary>Deletes work that a person drops; its subject stays as it is. Answers what it was about, or null where
    /// there is no such row, a worker is at it, or mail depends on it as a timer.</summary>
    public static Task<Guid?> DropAsync(
        NpgsqlTransaction transaction, long id, CancellationToken cancellationToken) =>
        transaction.ScalarAsync<Guid?>(
            $"""
            DELETE FROM gateway.work WHERE work_id = @id AND state <> '{WorkState.Leased}' AND period IS NULL
            RETURNING subject
            """,
            new { id }, cancellationToken);

    /// <summary>Makes held work of every kind ready: a person has acted (entered a PIN, put the token back). Answers
    /// what it is about.</summary>
    public static Task<IReadOnlyList<Guid>> ReleaseHeldAsync(
        NpgsqlTransaction transaction, CancellationToken cancellationToken)
    {
        CommitSignal.Announce(transaction, CommittedRows.ReadyWork);
        return transaction.ListAsync<Guid>(
            $"""
            UPDATE gateway.work SET state = '{WorkState.Ready}', run_at = now(), acted_at = now()
            WHERE state = '{WorkState.Held}' RETURNING subject
            """,
            null, cancellationToken);
    }
}

/// <summary>What comes next of one kind of work.</summary>
internal sealed class NextWork
{
    public required string Kind { get; init; }

    /// <summary>Zero or less: now. Null: no work of this kind is ready.</summary>
    public TimeSpan? DueIn { get; init; }

    /// <summary>Zero or less: a lease is over. Null: there is none.</summary>
    public TimeSpan? LeaseOverIn { get; init; }
}

/// <summary>A row that was leased just now.</summary>
internal sealed class LeasedRow
{
    public long Id { get; init; }

    public Guid Subject { get; init; }

    public int Attempts { get; init; }

    public int Failures { get; init; }

    public DateTime? ActedAt { get; init; }

    public string? Destination { get; init; }

    public DateTime LeasedAt { get; init; }

    public Guid? Batch { get; init; }
}

/// <summary>Work to be asked for.</summary>
/// <param name="Destination">Where it goes, when that is known.</param>
/// <param name="Batch">What can be done in one go with others of the same destination bears the same.</param>
public sealed record NewWork(Guid Subject, string? Destination, Guid? Batch);
