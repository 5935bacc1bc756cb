using Npgsql;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Jobs;

/// <summary>
/// The statements on <c>gateway.job</c>; its state diagram stands beside the table in 0012_jobs.sql. A row is the guard
/// of its job. Hangfire may lose a call or make it twice: the job is done by whoever holds the lease, once.
/// </summary>
internal sealed class JobTable(GatewayDatabase database, ClockWatch clock, TimeProvider time)
{
    /// <summary>After this time another node may take over. A lease is renewed four times within it.</summary>
    public static readonly TimeSpan Lease = TimeSpan.FromSeconds(10);

    /// <summary>The one job that sweeps what retention destroys.</summary>
    public static readonly Guid Retention = new("00000000-0000-0000-0000-000000000001");

    // Hangfire asks for it each hour. Where it did not, for whatever reason, it is asked for all the same.
    private static readonly TimeSpan RetentionIsLate = TimeSpan.FromMinutes(70);

    // More than this the worker signs as fast as the token does.
    private const int MostSignedAtOnce = 100;

    private const string Columns = """
        job_id AS Id, kind AS Kind, state AS State, argument AS Argument, requested_at AS RequestedAt,
        requested_by AS RequestedBy, started_at AS StartedAt, ended_at AS EndedAt, runs AS Runs, done AS Done,
        total AS Total, result::text AS ResultText, reason AS Reason, lease_until AS LeaseUntil,
        lease_owner AS LeaseOwner
        """;

    // What a recurring job becomes when it begins again.
    private const string Again = $"""
        state = '{JobState.Requested}', requested_at = now(), started_at = NULL, ended_at = NULL, runs = 0, done = 0,
        total = NULL, result = NULL, reason = NULL
        """;

    private static readonly string[] Ended = [JobState.Done, JobState.Failed];

    /// <summary>Asks for a job. While one of the same kind and argument is not at its end, that one is
    /// answered.</summary>
    public Task<Guid> RequestAsync(
        string kind, string? argument, Authority by, CancellationToken cancellationToken) =>
        // The row and the call in Hangfire's queue are one commit. Before it nothing was asked for.
        database.Source.InTransactionAsync(
            "job.request",
            async transaction =>
            {
                var id = await transaction.ScalarAsync<Guid?>(
                    """
                    INSERT INTO gateway.job (job_id, kind, argument, requested_by)
                    VALUES (@id, @kind, @argument, @Actor)
                    ON CONFLICT DO NOTHING RETURNING job_id
                    """,
                    new { id = Guid.CreateVersion7(), kind, argument, by.Actor }, cancellationToken);
                if (id is { } made)
                {
                    await HangfireQueue.EnqueueAsync(transaction, JobMethod.Of(kind), [made], cancellationToken);
                    await RecordAsync(transaction, EntryKind.JobRequested, $"{kind}/{made}", by, cancellationToken);
                    return made;
                }

                return await transaction.ScalarAsync<Guid>(
                    """
                    SELECT job_id FROM gateway.job
                    WHERE kind = @kind AND argument IS NOT DISTINCT FROM @argument AND state <> ALL (@Ended)
                    """,
                    new { kind, argument, Ended }, cancellationToken);
            },
            cancellationToken);

    /// <summary>Writes that a person begins to move everything to a storage key.</summary>
    public Task RecordRotationAsync(string key, Authority by, CancellationToken cancellationToken) =>
        database.Source.InTransactionAsync(
            "storage.rotate",
            transaction => RecordAsync(transaction, EntryKind.StorageRotationBegun, key, by, cancellationToken),
            cancellationToken);

    private Task RecordAsync(
        NpgsqlTransaction transaction, string kind, string about, Authority by, CancellationToken cancellationToken) =>
        StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = time.GetUtcNow(),
                Agency = DirectoryStore.GatewayItself,
                Kind = kind,
                Object = about,
                Actor = by.Actor,
                Grant = by.Grant,
            },
            cancellationToken);

    /// <summary>Has dispatches signed at once that a person released. The worker's look at the queue finds them too, so
    /// a call that is lost costs a moment.</summary>
    public Task SignReleasedAsync(CancellationToken cancellationToken) =>
        database.Source.InTransactionAsync(
            "job.sign",
            async transaction =>
            {
                var released = await transaction.ListAsync<Guid>(
                    $"""
                    SELECT subject FROM gateway.work
                    WHERE kind = '{WorkKind.SignAndEncrypt}' AND state = '{WorkState.Ready}' AND awaits_entry IS NULL
                      AND run_at <= now() AND acted_at IS NOT NULL
                    ORDER BY run_at LIMIT {MostSignedAtOnce}
                    """,
                    null, cancellationToken);
                await HangfireQueue.EnqueueAsync(
                    transaction, JobMethod.SignDispatch, [.. released], cancellationToken);
            },
            cancellationToken);

    /// <summary>The newest first.</summary>
    public async Task<IReadOnlyList<JobRow>> ListAsync(int limit, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return await connection.ListAsync<JobRow>(
            $"SELECT {Columns} FROM gateway.job ORDER BY requested_at DESC LIMIT @limit", new { limit },
            cancellationToken);
    }

    public async Task<JobRow?> FindAsync(Guid id, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return await connection.FindAsync<JobRow>(
            $"SELECT {Columns} FROM gateway.job WHERE job_id = @id", new { id }, cancellationToken);
    }

    /// <summary>Takes the lease of a job that waits for it, or whose lease ran out. Answers null where the job is at
    /// its end, is done elsewhere, or is not there.</summary>
    public Task<JobRow?> BeginAsync(string kind, Guid id, string owner, CancellationToken cancellationToken) =>
        // After a crash behind this commit the lease runs out and another node begins the job.
        database.Source.InTransactionAsync(
            "job.begin",
            async transaction =>
            {
                if (kind == JobKind.Retention)
                {
                    await transaction.ExecuteAsync(
                        $"""
                        INSERT INTO gateway.job (job_id, kind) VALUES (@id, @kind)
                        ON CONFLICT (job_id) DO UPDATE SET {Again} WHERE gateway.job.state = ANY (@Ended)
                        """,
                        new { id = Retention, kind, Ended }, cancellationToken);
                }

                return await transaction.FindAsync<JobRow>(
                    $"""
                    UPDATE gateway.job
                    SET state = '{JobState.Running}', started_at = coalesce(started_at, now()), runs = runs + 1,
                      lease_owner = @owner, lease_until = now() + @Lease
                    WHERE job_id = @id AND kind = @kind
                      AND (state = '{JobState.Requested}'
                        OR (state = '{JobState.Running}' AND lease_until <= least(now(), @monotonic::timestamptz)))
                    RETURNING {Columns}
                    """,
                    new { id, kind, owner, Lease, monotonic = clock.DatabaseNow }, cancellationToken);
            },
            cancellationToken);

    /// <summary>Keeps the lease and writes down how far the job is. Answers false when another node has it.</summary>
    public async Task<bool> RenewAsync(JobRun job, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return await connection.CommitAsync("job.renew", c => c.ExecuteAsync(
            $"""
            UPDATE gateway.job SET lease_until = now() + @Lease, done = @Done, total = @Total
            WHERE job_id = @Id AND state = '{JobState.Running}' AND lease_owner = @Owner
              AND lease_until > least(now(), @monotonic::timestamptz)
            """,
            new { job.Id, job.Owner, job.Done, job.Total, Lease, monotonic = clock.DatabaseNow },
            cancellationToken)) == 1;
    }

    /// <summary>Ends a job, or gives it back. Answers false when another node has it.</summary>
    /// <param name="isAskedAgain">It was given back because the node stops: another one does it at once.</param>
    public Task<bool> SettleAsync(
        JobRun job, string state, string? result, string? reason, bool isAskedAgain,
        CancellationToken cancellationToken) =>
        // After a crash before this commit the job is begun again, and finds what it did.
        database.Source.InTransactionAsync(
            "job.settle",
            async transaction =>
            {
                var settled = await transaction.ExecuteAsync(
                    $"""
                    UPDATE gateway.job
                    SET state = @state, ended_at = CASE WHEN @state = ANY (@Ended) THEN now() END, done = @Done,
                      total = @Total, result = @result::jsonb, reason = @reason, lease_owner = NULL, lease_until = NULL,
                      runs = runs - CASE WHEN @isAskedAgain THEN 1 ELSE 0 END
                    WHERE job_id = @Id AND state = '{JobState.Running}' AND lease_owner = @Owner
                    """,
                    new { job.Id, job.Owner, job.Done, job.Total, state, result, reason, isAskedAgain, Ended },
                    cancellationToken);
                if (settled == 1 && isAskedAgain)
                {
                    await HangfireQueue.EnqueueAsync(
                        transaction, JobMethod.Of(job.Kind), [job.Id], cancellationToken);
                }

                return settled == 1;
            },
            cancellationToken);

    /// <summary>Asks again for every job that nobody does: its call was lost, its lease ran out, or the hour of
    /// retention passed. Answers how many.</summary>
    /// <param name="formerOwner">What the leases of an earlier process of this node begin with; that process is gone.
    /// Null: none.</param>
    public Task<int> RecoverAsync(string? formerOwner, CancellationToken cancellationToken) =>
        // A crash before this commit leaves everything to the next look.
        database.Source.InTransactionAsync(
            "job.recover",
            async transaction =>
            {
                await transaction.ExecuteAsync(
                    $"""
                    UPDATE gateway.job SET state = '{JobState.Requested}', lease_owner = NULL, lease_until = NULL
                    WHERE state = '{JobState.Running}'
                      AND (lease_until <= least(now(), @monotonic::timestamptz)
                        OR starts_with(lease_owner, @formerOwner));
                    INSERT INTO gateway.job (job_id, kind) VALUES (@Retention, '{JobKind.Retention}')
                    ON CONFLICT (job_id) DO UPDATE SET {Again}
                    WHERE gateway.job.state = ANY (@Ended)
                      AND gateway.job.ended_at <= gateway.cutoff(@RetentionIsLate)
                    """,
                    new { Retention, Ended, RetentionIsLate, formerOwner, monotonic = clock.DatabaseNow },
                    cancellationToken);
                var lost = await transaction.ListAsync<(Guid Id, string Kind)>(
                    $"""
                    SELECT job_id, kind FROM gateway.job
                    WHERE state = '{JobState.Requested}' AND NOT {HangfireQueue.IsQueued("job_id::text")}
                    FOR UPDATE SKIP LOCKED
                    """,
                    null, cancellationToken);
                foreach (var kind in lost.GroupBy(j => j.Kind))
                {
                    await HangfireQueue.EnqueueAsync(
                        transaction, JobMethod.Of(kind.Key), [.. kind.Select(j => j.Id)], cancellationToken);
                }

                return lost.Count;
            },
            cancellationToken);
}
