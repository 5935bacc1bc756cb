namespace SecureMail.TestKit.Probes;

/// <summary>Background jobs, in our table and in Hangfire's.</summary>
internal sealed class JobProbe(ProbeDatabase database)
{
    /// <summary>The state of the newest job of a kind; null: there is none.</summary>
    public Task<string?> StateAsync(string kind) =>
        database.ScalarAsync<string>(
            "SELECT state FROM gateway.job WHERE kind = $1 ORDER BY job_id DESC LIMIT 1", kind);

    /// <summary>How many jobs of a kind there are.</summary>
    public Task<long> CountAsync(string kind) => database.CountAsync("gateway.job WHERE kind = $1", kind);

    /// <summary>The process that runs a job; null: none does.</summary>
    public Task<string?> OwnerAsync() =>
        database.ScalarAsync<string>("SELECT lease_owner FROM gateway.job WHERE state = 'running'");

    /// <summary>How many processes take part in Hangfire's work.</summary>
    public Task<long> ServersAsync() => database.CountAsync("hangfire.server");

    /// <summary>How many calls wait in Hangfire's queue.</summary>
    public Task<long> QueuedCallsAsync() => database.CountAsync("hangfire.jobqueue");

    /// <summary>How many calls ended well.</summary>
    public Task<long> SucceededCallsAsync() => database.CountAsync("hangfire.job WHERE statename = 'Succeeded'");

    /// <summary>True where a method was called.</summary>
    public async Task<bool> IsCalledAsync(string method) =>
        await database.CountAsync("hangfire.job WHERE invocationdata ->> 'Method' = $1", method) > 0;

    /// <summary>True where Hangfire knows what recurs.</summary>
    public async Task<bool> HasScheduleAsync() => await database.CountAsync("hangfire.hash") > 0;

    /// <summary>How many calls a person made on the dashboard.</summary>
    public Task<long> TriggeredCallsAsync() => database.CountAsync("hangfire.state WHERE reason LIKE 'Triggered%'");

    /// <summary>The rows of each of Hangfire's tables.</summary>
    public async Task<IReadOnlyDictionary<string, long>> HangfireRowsAsync() =>
        (
            await database.RowsAsync(
                """
                SELECT 'job', count(*) FROM hangfire.job UNION ALL SELECT 'jobqueue', count(*) FROM hangfire.jobqueue
                UNION ALL SELECT 'state', count(*) FROM hangfire.state
                UNION ALL SELECT 'hash', count(*) FROM hangfire.hash UNION ALL SELECT 'set', count(*) FROM hangfire.set
                UNION ALL SELECT 'server', count(*) FROM hangfire.server
                UNION ALL SELECT 'schema', count(*) FROM hangfire.schema
                """,
                row => (Table: row.GetString(0), Rows: row.GetInt64(1)))
        ).ToDictionary(r => r.Table, r => r.Rows);

    /// <summary>The jobs and what Hangfire has of them, for the message of a failure.</summary>
    public Task<List<string>> DescribeAsync() =>
        database.ListAsync<string>(
            """
            SELECT 'now ' || now() || ' ' || w::text FROM gateway.work w UNION ALL SELECT j::text FROM gateway.job j
            UNION ALL SELECT q::text FROM hangfire.jobqueue q UNION ALL SELECT s::text FROM hangfire.state s
            """);

    /// <summary>The calls that wait are lost.</summary>
    public Task LoseCallsAsync() => database.ExecuteAsync("DELETE FROM hangfire.jobqueue");

    /// <summary>As if a job that ended had been asked for and not begun.</summary>
    public Task AskAgainAsync(Guid job) =>
        database.ExecuteAsync(
            "UPDATE gateway.job SET state = 'requested', ended_at = NULL, result = NULL WHERE job_id = $1", job);

    /// <summary>As if a job had been begun so often.</summary>
    public Task SetRunsAsync(Guid job, int runs) =>
        database.ExecuteAsync("UPDATE gateway.job SET runs = $2 WHERE job_id = $1", job, runs);

    /// <summary>Leases of jobs last so long from now on.</summary>
    public Task ExtendLeasesAsync(TimeSpan by) =>
        database.ExecuteAsync("UPDATE gateway.job SET lease_until = now() + $1", by);

    /// <summary>As if the hour were over: Hangfire's schedule of retention is due.</summary>
    public Task EndHourAsync() =>
        database.ExecuteAsync(
            """
            UPDATE hangfire.hash SET value = (extract(epoch FROM now() - interval '2 hours') * 1000)::bigint::text
            WHERE key = 'recurring-job:retention' AND field IN ('CreatedAt', 'LastExecution', 'NextExecution');
            UPDATE hangfire.set SET score = 0 WHERE key = 'recurring-jobs'
            """);

    /// <summary>The call of a job comes so often again.</summary>
    public Task RepeatCallAsync(Guid job, int times) =>
        database.ExecuteAsync(
            """
            WITH again AS (
              INSERT INTO hangfire.job (statename, invocationdata, arguments, createdat)
              SELECT 'Enqueued', h.invocationdata, h.arguments, now() FROM hangfire.job h, generate_series(1, $2)
              WHERE h.arguments ->> 0 = '"' || $1::text || '"' RETURNING id)
            INSERT INTO hangfire.jobqueue (jobid, queue) SELECT id, 'default' FROM again
            """,
            job, times);

    /// <summary>Writes a call as Hangfire does; answers its id.</summary>
    /// <param name="call">Type, method, types of parameters and arguments, in Hangfire's JSON.</param>
    /// <param name="arguments">The arguments once more, in the column of their own.</param>
    public Task<long> AddCallAsync(string call, string arguments) =>
        database.ScalarAsync<long>(
            """
            WITH call AS (
              INSERT INTO hangfire.job (statename, invocationdata, arguments, createdat)
              VALUES ('Enqueued', $1::jsonb, $2::jsonb, now()) RETURNING id)
            INSERT INTO hangfire.jobqueue (jobid, queue) SELECT id, 'default' FROM call RETURNING jobid
            """,
            call, arguments);

    /// <summary>Hangfire's state of a call; null: there is no such call.</summary>
    public Task<string?> CallStateAsync(long call) =>
        database.ScalarAsync<string>("SELECT statename FROM hangfire.job WHERE id = $1", call);

    /// <summary>Has the database note each time that a process begins a job.</summary>
    public Task NoteBegunAsync() =>
        database.ExecuteAsync(
            """
            CREATE TABLE gateway.begun (job_id uuid);
            CREATE FUNCTION gateway.note_begun() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            BEGIN INSERT INTO gateway.begun VALUES (NEW.job_id); RETURN NULL; END $$;
            CREATE TRIGGER begun AFTER UPDATE ON gateway.job FOR EACH ROW
              WHEN (NEW.state = 'running' AND OLD.lease_owner IS DISTINCT FROM NEW.lease_owner)
              EXECUTE FUNCTION gateway.note_begun();
            """);

    /// <summary>How often a job was begun since <see cref="NoteBegunAsync"/>.</summary>
    /// <param name="job">Null: any.</param>
    public Task<long> BegunAsync(Guid? job = null) =>
        database.CountAsync("gateway.begun WHERE $1::uuid IS NULL OR job_id = $1", job);
}
