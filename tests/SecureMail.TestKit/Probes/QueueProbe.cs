namespace SecureMail.TestKit.Probes;

/// <summary>Work and destinations. Timers, which stay in the queue for ever, are no work unless a member names
/// them.</summary>
internal sealed class QueueProbe(ProbeDatabase database)
{
    /// <summary>How much work there is that all of this is true of; what is null is not asked for.</summary>
    /// <param name="error">A part of the last error.</param>
    public Task<long> CountAsync(
        string? kind = null, string? state = null, Guid? subject = null, string? destination = null,
        string? error = null) =>
        database.CountAsync(
            """
            gateway.work WHERE period IS NULL AND ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR state = $2)
              AND ($3::uuid IS NULL OR subject = $3) AND ($4::text IS NULL OR lane = $4)
              AND ($5::text IS NULL OR position($5 IN last_error) > 0)
            """,
            kind, state, subject, destination, error);

    /// <summary>Makes the queue what a worker finds after a long while: so many rows of one kind, all due, and no trace
    /// of others.</summary>
    public async Task FillAsync(string kind, int rows)
    {
        await database.ExecuteAsync("TRUNCATE gateway.work");
        await database.ExecuteAsync(
            "INSERT INTO gateway.work (kind, subject) SELECT $1, gen_random_uuid() FROM generate_series(1, $2)", kind,
            rows);
        await database.ExecuteAsync("VACUUM ANALYZE gateway.work");
    }

    /// <summary>How much work there is but for sending to one recipient.</summary>
    /// <param name="recipient">The recipient's code.</param>
    public Task<long> CountExceptForAsync(string recipient) =>
        database.CountAsync($"gateway.work WHERE period IS NULL AND NOT {IsForRecipient}", recipient);

    /// <summary>Which work that is, for the message of a failure.</summary>
    public Task<List<string>> DescribeExceptForAsync(string recipient) =>
        database.ListAsync<string>(
            $"""
            SELECT concat_ws(' ', kind, state, run_at, last_error) FROM gateway.work
            WHERE period IS NULL AND NOT {IsForRecipient} LIMIT 20
            """,
            recipient);

    /// <summary>The work by kind and state, and the destinations, for the message of a failure.</summary>
    public Task<List<string>> DescribeAsync() =>
        database.ListAsync<string>(
            """
            SELECT format('%s %s x %s, attempts %s, due in %s, %s', kind, w.state, count(*), max(attempts),
              min(run_at) - now(), max(coalesce(w.last_error, ''))) FROM gateway.work w GROUP BY kind, w.state
            UNION ALL SELECT format('lane %s: %s failures, probed in %s, %s', lane, failures, not_before - now(),
              last_error) FROM gateway.destination
            """);

    /// <summary>Waits until nothing is to be done; says what is left when that never comes.</summary>
    public async Task WaitUntilEmptyAsync()
    {
        try
        {
            await TwoGateways.UntilAsync(async () => await CountAsync() == 0, "nothing left to do");
        }
        catch (TimeoutException e)
        {
            throw new TimeoutException($"{e.Message}: {string.Join("; ", await DescribeAsync())}", e);
        }
    }

    /// <summary>The state of work; null where there is none any more.</summary>
    public Task<string?> StateAsync(long id) =>
        database.ScalarAsync<string>("SELECT state FROM gateway.work WHERE work_id = $1", id);

    /// <summary>Why work was put back; null where it was not.</summary>
    public Task<string?> LastErrorAsync(string kind, Guid? subject = null) =>
        database.ScalarAsync<string>(
            "SELECT last_error FROM gateway.work WHERE kind = $1 AND ($2::uuid IS NULL OR subject = $2)", kind,
            subject);

    /// <summary>How many transmissions, each of one mail, are under way to a destination.</summary>
    public Task<long> BatchesUnderWayAsync(string destination) =>
        database.ScalarAsync<long>(
            "SELECT count(DISTINCT batch) FROM gateway.work WHERE lane = $1 AND state = 'leased'", destination);

    /// <summary>The nodes that hold leases.</summary>
    public Task<List<string>> NodesAtWorkAsync() =>
        database.ListAsync<string>(
            "SELECT DISTINCT split_part(lease_owner, ':', 1) FROM gateway.work WHERE lease_owner IS NOT NULL");

    /// <summary>How long the longest lease still lasts by the database's clock.</summary>
    public Task<TimeSpan> LongestLeaseAsync() =>
        database.ScalarAsync<TimeSpan>("SELECT max(lease_until) - now() FROM gateway.work");

    /// <summary>How often in a row a destination failed.</summary>
    public Task<int> FailuresOfAsync(string destination) =>
        database.ScalarAsync<int>("SELECT failures FROM gateway.destination WHERE lane = $1", destination);

    /// <summary>Every timer is due at once, and so is retention.</summary>
    public Task MakeTimersDueAsync() =>
        database.ExecuteAsync(
            """
            UPDATE gateway.job SET ended_at = now() - interval '2 hours'
            WHERE kind = 'retention' AND ended_at > now() - interval '1 hour';
            UPDATE gateway.work SET run_at = now() WHERE period IS NOT NULL AND state = 'ready' AND run_at > now()
            """);

    /// <summary>Whether a timer is due or under way.</summary>
    public async Task<bool> IsDueAsync(string kind) =>
        await database.CountAsync(
            "gateway.work WHERE kind = $1 AND period IS NOT NULL AND (state = 'leased' OR run_at <= now())", kind) > 0;

    /// <summary>One timer is due at once.</summary>
    public Task MakeTimerDueAsync(string kind) =>
        database.ExecuteAsync("UPDATE gateway.work SET run_at = now() WHERE kind = $1", kind);

    /// <summary>A timer is due at once and then so often.</summary>
    public Task SetPeriodAsync(string kind, TimeSpan period) =>
        database.ExecuteAsync("UPDATE gateway.work SET period = $2, run_at = now() WHERE kind = $1", kind, period);

    /// <summary>Work that was put back is due at once, and destinations that back off are probed at once.</summary>
    public async Task MakeDueAsync()
    {
        await ProbeDestinationsAsync();
        await database.ExecuteAsync(
            "UPDATE gateway.work SET run_at = now() WHERE state = 'ready' AND awaits_entry IS NULL");
    }

    /// <summary>Destinations that back off are probed at once.</summary>
    public Task ProbeDestinationsAsync() =>
        database.ExecuteAsync("UPDATE gateway.destination SET not_before = now() WHERE not_before IS NOT NULL");

    /// <summary>A destination failed, and is not probed for so long.</summary>
    public Task BackOffAsync(string destination, int failures, TimeSpan notFor, string error = "Connect") =>
        database.ExecuteAsync(
            """
            INSERT INTO gateway.destination (lane, failures, not_before, last_error, last_failure_at)
            VALUES ($1, $2, now() + $3, $4, now() - interval '1 minute')
            """,
            destination, failures, notFor, error);

    /// <summary>As if every node that holds a lease had died long ago.</summary>
    public Task EndLeasesAsync() =>
        database.ExecuteAsync("UPDATE gateway.work SET lease_until = now() WHERE state = 'leased'");

    /// <summary>Work of a kind waits for a person.</summary>
    public Task HoldAsync(string kind) =>
        database.ExecuteAsync("UPDATE gateway.work SET state = 'held' WHERE kind = $1", kind);

    /// <summary>Adds work; answers its id.</summary>
    public Task<long> AddAsync(string kind, string state = "ready") =>
        database.ScalarAsync<long>(
            """
            INSERT INTO gateway.work (kind, subject, state) VALUES ($1, gen_random_uuid(), $2) RETURNING work_id
            """,
            kind, state);

    /// <summary>Adds work that a node which is gone holds for so long.</summary>
    public Task AddLeasedAsync(string kind, TimeSpan until) =>
        database.ExecuteAsync(
            """
            INSERT INTO gateway.work (kind, subject, state, lease_owner, lease_until)
            VALUES ($1, gen_random_uuid(), 'leased', 'gone:1', now() + $2)
            """,
            kind, until);

    /// <summary>Takes work of a kind out of the queue, undone.</summary>
    public Task DropAsync(string kind) => database.ExecuteAsync("DELETE FROM gateway.work WHERE kind = $1", kind);

    /// <summary>Takes the sending to one recipient out of the queue, undone.</summary>
    public Task DropForAsync(string recipient) =>
        database.ExecuteAsync($"DELETE FROM gateway.work WHERE {IsForRecipient}", recipient);

    /// <summary>Work that is added from now on has failed so often already.</summary>
    public Task BeginAfterFailuresAsync(int failures) =>
        database.ExecuteAsync($"ALTER TABLE gateway.work ALTER COLUMN failures SET DEFAULT {failures}");

    /// <summary>Has the database count how often the timer <c>overdue</c> did its work.</summary>
    public Task CountOverdueRunsAsync() =>
        database.ExecuteAsync(
            """
            CREATE TABLE gateway.fired (n bigint NOT NULL);
            INSERT INTO gateway.fired VALUES (0);
            CREATE FUNCTION gateway.count_fired() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            BEGIN UPDATE gateway.fired SET n = n + 1; RETURN NULL; END $$;
            CREATE TRIGGER fired AFTER UPDATE ON gateway.work FOR EACH ROW
              WHEN (NEW.kind = 'overdue' AND OLD.state = 'leased' AND NEW.state = 'ready')
              EXECUTE FUNCTION gateway.count_fired();
            """);

    /// <summary>How often it did since <see cref="CountOverdueRunsAsync"/>.</summary>
    public Task<long> OverdueRunsAsync() => database.ScalarAsync<long>("SELECT n FROM gateway.fired");

    private const string IsForRecipient =
        "(kind = 'send' AND subject IN (SELECT transmission_id FROM gateway.transmission WHERE recipient_code = $1))";
}
