using System.Collections.Concurrent;
using System.Diagnostics;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SecureMail.Gateway;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Outbound;
using SecureMail.Host.Schema;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using Xunit.Abstractions;

namespace SecureMail.FaultTests;

/// <summary>
/// Clocks that are wrong, while dispatches flow: nothing is sent twice, nothing is overdue, given up or set aside
/// because of a clock, and the ledger says once that it was wrong and once that it was right again.
/// </summary>
public sealed class ClockTests(PostgresFixture postgres, ITestOutputHelper output) : IClassFixture<PostgresFixture>
{
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);

    [Fact]
    public async Task A_process_whose_clock_steps_waits_with_signing_and_goes_on_when_it_is_right()
    {
        var clock = Stopwatch.StartNew();
        var time = new ShiftedTime(TimeSpan.Zero);
        await using var pair = await TwoGateways.StartAsync(postgres, Settling(3), Settling(3), timeA: time);
        await pair.ListeningAsync();
        var steps = new (string Name, TimeSpan By, bool OtherYear)[]
        {
            ("+1 h", Hour, false),
            ("-1 h", -Hour, false),
            ("+1 d", TimeSpan.FromDays(1), false),
            ("new year", ToNextYear(), true),
            ("last year", ToLastYear(), true),
        };
        List<Guid> dispatches = [await SubmitAsync(pair)];
        await AcknowledgedAsync(pair, dispatches);
        foreach (var (name, by, otherYear) in steps)
        {
            // One before the step, maybe under way at it, and one after.
            dispatches.Add(await SubmitAsync(pair));
            time.By = by;
            await TwoGateways.EventuallyAsync(
                async () =>
                    (await pair.A.Node.HealthAsync(CancellationToken.None)).Problems.Contains(
                        "clock-differs-from-database")
                        ? ""
                        : null,
                $"{name} to be seen");
            if (otherYear)
            {
                // A number of another year's register could not be taken back.
                (await Should.ThrowAsync<SubmissionRefusedException>(() => SubmitAsync(pair))).Refusal.Code.ShouldBe(
                    "CLOCK_SUSPECT", name);
            }
            else
            {
                var late = await SubmitAsync(pair);
                dispatches.Add(late);
                (await pair.A.OutgoingAsync(late, d => d.State == "awaiting-signature")).Reason.ShouldBe(
                    "CLOCK_SUSPECT", name);
            }

            time.By = TimeSpan.Zero;
            await CalmAsync(pair.A);
        }

        dispatches.Add(await SubmitAsync(pair));
        await EndAsync(pair, dispatches);
        (await EntriesAsync(pair.A)).ShouldBe([$"clock.settled {steps.Length}", $"clock.stepped {steps.Length}"]);
        (await EntriesAsync(pair.B)).ShouldBeEmpty();
        (await pair.A.ScalarAsync<long>("SELECT count(*) FROM gateway.alarm WHERE kind = 'clock-stepped'")).ShouldBe(
            steps.Length);
        // Entries keep their order by index; the verifier, who was asked above, calls no time damage.
        (
            await pair.A.ScalarAsync<long>(
                "SELECT count(*) FROM (SELECT e.time < lag(e.time) OVER (ORDER BY l.idx) AS back FROM ledger.entry e JOIN ledger.leaf l USING (entry_id)) x WHERE back"
            )
        ).ShouldBeGreaterThan(0);
        (await pair.A.ScalarAsync<long>("SELECT count(*) FROM gateway.register WHERE direction = 'outgoing'")).ShouldBe(
            1);
        output.WriteLine(
            $"process clock: {steps.Length} steps there and back ({string.Join(", ", steps.Select(s => s.Name))}), {dispatches.Count} dispatches, each delivered once, 0 overdue, {steps.Length} anomalies, {clock.Elapsed.TotalSeconds:F1} s"
        );
    }

    [Fact]
    public async Task A_database_whose_clock_steps_loses_no_lease_makes_nothing_overdue_and_stops_no_recurring_job()
    {
        var clock = Stopwatch.StartNew();
        await using var server = await FakeTime.StartServerAsync();
        await using var pair = await TwoGateways.StartAsync(
            server.Postgres, o => Settling(3)(o) with { OverdueEvery = TimeSpan.FromSeconds(1) }, Settling(3));
        await pair.ListeningAsync();
        await CountFiringAsync(pair.A);
        // Somebody who is away, so that something has been sent, and waits for its receipt, when the clock leaps over
        // the day in which that is due.
        List<Guid> dispatches = [await SubmitAsync(pair)];
        await AcknowledgedAsync(pair, dispatches);
        await pair.A.ScalarAsync<object>(
            "UPDATE gateway.transmission SET state = 'sent', closed_at = NULL, receipt_event = NULL WHERE kind = 'dispatch'"
        );
        List<string> said = [];
        var steps = new (string Name, TimeSpan By)[]
        {
            ("+1 h", Hour),
            ("-1 h", -Hour),
            ("+25 h", TimeSpan.FromHours(25)),
        };
        foreach (var (name, by) in steps)
        {
            dispatches.Add(await SubmitAsync(pair));
            foreach (var to in new[] { by, TimeSpan.Zero })
            {
                var fired = await FiredAsync(pair.A);
                var noted = await pair.A.ScalarAsync<long>("SELECT count(*) FROM gateway.clock_step");
                server.Step(to);
                var since = Stopwatch.StartNew();
                await TwoGateways.EventuallyAsync(
                    async () =>
                        await pair.A.ScalarAsync<long>("SELECT count(*) FROM gateway.clock_step") == noted + 1
                            ? ""
                            : null,
                    $"{name}: the step to be noted");
                if (to != TimeSpan.Zero)
                {
                    dispatches.Add(await SubmitAsync(pair));
                }

                await TwoGateways.EventuallyAsync(
                    async () => await FiredAsync(pair.A) >= fired + 3 ? "" : null,
                    $"{name}: the recurring job to go on");
                var (more, seconds) = (await FiredAsync(pair.A) - fired, since.Elapsed.TotalSeconds);
                said.Add(FormattableString.Invariant($"{more} in {seconds:F1} s"));
                // Each second, and no burst for the hour that never was.
                more.ShouldBeLessThanOrEqualTo((long)seconds + 4, name);
            }

            await CalmAsync(pair.A);
            await CalmAsync(pair.B);
        }

        await pair.A.ScalarAsync<object>(
            $"UPDATE gateway.transmission SET state = 'acknowledged', closed_at = now(), receipt_event = 'x' WHERE dispatch_id = '{dispatches[0]}'"
        );
        await EndAsync(pair, dispatches[1..]);
        foreach (var gateway in new[] { pair.A, pair.B })
        {
            (await EntriesAsync(gateway)).ShouldBe([$"clock.settled {steps.Length}", $"clock.stepped {steps.Length}"]);
        }

        output.WriteLine(
            $"database clock: {steps.Length} steps there and back, {dispatches.Count} dispatches, each delivered once, 0 overdue, {steps.Length} anomalies in each ledger; a job of each second fired {string.Join(", ", said)}; {clock.Elapsed.TotalSeconds:F1} s"
        );
    }

    [Fact]
    public async Task A_machine_whose_clock_leaps_to_tomorrow_is_believed_after_a_while_and_overdue_is_nothing()
    {
        var clock = Stopwatch.StartNew();
        await using var server = await FakeTime.StartServerAsync();
        var time = new ShiftedTime(TimeSpan.Zero);
        await using var pair = await TwoGateways.StartAsync(
            server.Postgres, o => Settling(3)(o) with { OverdueEvery = TimeSpan.FromSeconds(1) }, Settling(3),
            timeA: time, timeB: time);
        await pair.ListeningAsync();
        var waiting = await SubmitAsync(pair);
        await AcknowledgedAsync(pair, [waiting]);
        await pair.A.ScalarAsync<object>(
            "UPDATE gateway.transmission SET state = 'sent', closed_at = NULL, receipt_event = NULL WHERE kind = 'dispatch'"
        );
        await CountFiringAsync(pair.A);
        time.By = TimeSpan.FromHours(25);
        server.Step(time.By);
        var dispatch = await SubmitAsync(pair);
        (await pair.A.OutgoingAsync(dispatch, d => d.State == "awaiting-signature")).Reason.ShouldBe("CLOCK_SUSPECT");
        await CalmAsync(pair.A);
        await CalmAsync(pair.B);
        var fired = await FiredAsync(pair.A);
        await TwoGateways.EventuallyAsync(
            async () => await FiredAsync(pair.A) >= fired + 2 ? "" : null, "the overdue job to run");
        (await pair.A.OutgoingAsync(waiting, _ => true)).Recipients[0].OverdueAt.ShouldBeNull();
        await pair.A.ScalarAsync<object>(
            $"UPDATE gateway.transmission SET state = 'acknowledged', closed_at = now(), receipt_event = 'x' WHERE dispatch_id = '{waiting}'"
        );
        await EndAsync(pair, [dispatch]);
        foreach (var gateway in new[] { pair.A, pair.B })
        {
            (await EntriesAsync(gateway)).ShouldBe(["clock.settled 2", "clock.stepped 2"]);
        }

        output.WriteLine(
            $"one machine leaps by 25 h with its database: 2 dispatches, 0 overdue, 2 anomalies (its two clocks) in each ledger, {clock.Elapsed.TotalSeconds:F1} s"
        );
    }

    [Fact]
    public async Task Of_two_nodes_ten_minutes_apart_the_one_that_agrees_with_the_database_signs()
    {
        var clock = Stopwatch.StartNew();
        var time = new ShiftedTime(TimeSpan.FromMinutes(10));
        await using var pair = await TwoGateways.StartAsync(postgres, Settling(3), Settling(3));
        await pair.ListeningAsync();
        var second = await NodesTests.SecondAsync(pair);
        await using var node = new RunningGateway(
            await TestGateway.OpenAsync(second, time, NullLoggerFactory.Instance, CancellationToken.None), second,
            pair.A.Owner, second.Smtp!.Port);
        node.Run();
        await TwoGateways.EventuallyAsync(
            async () => await pair.A.ScalarAsync<long>("SELECT count(*) FROM gateway.clock_anomaly") == 1 ? "" : null,
            "the wrong clock to be noted");
        List<Guid> dispatches = [];
        for (var n = 0; n < 6; n++)
        {
            dispatches.Add(await SubmitAsync(pair));
        }

        await AcknowledgedAsync(pair, dispatches);
        (await node.Node.HealthAsync(CancellationToken.None)).Problems.ShouldContain("clock-differs-from-database");
        (await pair.A.Node.HealthAsync(CancellationToken.None)).Problems.ShouldBeEmpty();
        time.By = TimeSpan.Zero;
        await CalmAsync(pair.A);
        await EndAsync(pair, dispatches);
        (await EntriesAsync(pair.A)).ShouldBe(["clock.apart 1", "clock.settled 1"]);
        output.WriteLine(
            $"2 nodes 10 minutes apart: {dispatches.Count} dispatches, each delivered once, 1 anomaly, {clock.Elapsed.TotalSeconds:F1} s"
        );
    }

    [Fact]
    public async Task A_receipt_from_a_peer_an_hour_ahead_counts_and_one_alarm_says_so()
    {
        var clock = Stopwatch.StartNew();
        // The peer's whole machine is wrong: it cannot know.
        await using var server = await FakeTime.StartServerAsync(Hour);
        await using var pair = await TwoGateways.StartAsync(
            postgres, timeB: new ShiftedTime(Hour), postgresB: server.Postgres);
        await pair.ListeningAsync();
        List<Guid> dispatches = [await SubmitAsync(pair), await SubmitAsync(pair), await SubmitAsync(pair)];
        await EndAsync(pair, dispatches);
        (await EntriesAsync(pair.A)).ShouldBe(["clock.peer 1"]);
        (await EntriesAsync(pair.B)).ShouldBeEmpty();
        (await pair.A.ScalarAsync<string>("SELECT kind || ' ' || subject FROM gateway.alarm")).ShouldBe(
            "clock-peer peer:gateway-b.test");
        output.WriteLine(
            $"peer 1 h ahead: {dispatches.Count} dispatches acknowledged, 0 overdue, 1 alarm, {clock.Elapsed.TotalSeconds:F1} s"
        );
    }

    [Fact]
    public async Task A_dispatch_signed_in_the_future_waits_for_its_time_and_is_let_in()
    {
        var clock = Stopwatch.StartNew();
        var ahead = TimeSpan.FromMinutes(5) + TimeSpan.FromSeconds(8);
        await using var server = await FakeTime.StartServerAsync(ahead);
        // Longer than a message may wait that cannot be judged: this one can, and its time is known.
        await using var pair = await TwoGateways.StartAsync(
            server.Postgres, changeB: b => b with { IndeterminateFor = TimeSpan.FromSeconds(1) },
            timeA: new ShiftedTime(ahead), postgresB: postgres);
        await pair.ListeningAsync();
        var dispatch = await SubmitAsync(pair);
        await TwoGateways.EventuallyAsync(
            async () =>
                await pair.B.ScalarAsync<string>("SELECT last_error FROM gateway.work WHERE kind = 'judge'")
                == "SIGNED_IN_FUTURE"
                    ? ""
                    : null,
            "the message to wait");
        await EndAsync(pair, [dispatch]);
        (await EntriesAsync(pair.B)).ShouldBe(["clock.peer 1"]);
        output.WriteLine(
            $"peer 5 min 8 s ahead: 1 dispatch waited for its time and was delivered, {clock.Elapsed.TotalSeconds:F1} s"
        );
    }

    [Fact]
    public async Task A_receiver_an_hour_behind_waits_with_what_it_cannot_judge_and_delivers_it_when_its_clock_is_right()
    {
        var clock = Stopwatch.StartNew();
        await using var server = await FakeTime.StartServerAsync(-Hour);
        var time = new ShiftedTime(-Hour);
        await using var pair = await TwoGateways.StartAsync(
            postgres, changeB: Settling(2), timeB: time, postgresB: server.Postgres);
        await pair.ListeningAsync();
        List<Guid> dispatches = [await SubmitAsync(pair), await SubmitAsync(pair)];
        await TwoGateways.EventuallyAsync(
            async () =>
                await pair.B.ScalarAsync<long>(
                    "SELECT count(*) FROM gateway.work WHERE kind = 'judge' AND last_error = 'SIGNED_IN_FUTURE'") == 2
                    ? ""
                    : null,
            "the messages to wait");
        time.By = TimeSpan.Zero;
        server.Step(TimeSpan.Zero);
        await EndAsync(pair, dispatches);
        await CalmAsync(pair.B);
        // It was our clock that was wrong: nothing is said of the sender's.
        (await EntriesAsync(pair.B)).ShouldBe(["clock.settled 2", "clock.stepped 2"]);
        (await EntriesAsync(pair.A)).ShouldBeEmpty();
        output.WriteLine(
            $"receiver 1 h behind, then set right with its database: {dispatches.Count} dispatches waited and were delivered once, 2 anomalies (its two clocks), {clock.Elapsed.TotalSeconds:F1} s"
        );
    }

    [Fact]
    public async Task A_lease_is_as_long_as_it_is_whatever_the_databases_clock_does()
    {
        const int Pieces = 6;
        var clock = Stopwatch.StartNew();
        await using var server = await FakeTime.StartServerAsync();
        var owner = await server.Postgres.CreateDatabaseAsync();
        var options = new GatewaySetup
        {
            Name = "gateway-a.test",
            DataFolder = server.Postgres.Folder,
            DatabaseConnection = PostgresFixture.AsGateway(owner),
            OwnerConnection = owner,
            ClockSettles = TimeSpan.FromSeconds(3),
        };
        await GatewayDatabase.MigrateAsync(options.Database, HostSchema.Migrator, CancellationToken.None);
        await using var database = await GatewayDatabase.OpenAsync(
            options.Database, HostSchema.Migrator, CancellationToken.None);
        await using (var connection = await database.Source.OpenConnectionAsync())
        await using (var transaction = await connection.BeginTransactionAsync())
        {
            for (var n = 0; n < Pieces; n++)
            {
                await WorkQueue.EnqueueAsync(transaction, "send", Guid.NewGuid());
            }

            await transaction.CommitAsync();
        }

        var begun = new ConcurrentBag<Guid>();
        var gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var stop = new CancellationTokenSource();
        var nodes = new[] { "one", "two" }
            .Select(name =>
                RunNodeAsync(
                    name,
                    database,
                    options,
                    async (item, cancel) =>
                    {
                        begun.Add(item.Subject);
                        await gate.Task.WaitAsync(cancel);
                        await WorkItem.RequireLeasesAsync([item], database.Source, cancel);
                        return await item.DropAsync(database.Source, cancel);
                    },
                    stop.Token))
            .ToList();
        await TwoGateways.EventuallyAsync(
            () => Task.FromResult(begun.Count == Pieces ? "" : null), "all to be under way");

        // One that a dead node holds for six seconds more; then the hour that makes every lease look over.
        await using var looking = NpgsqlDataSource.Create(owner);
        await ScalarAsync<object>(
            looking,
            "INSERT INTO gateway.work (kind, subject, state, lease_owner, lease_until) VALUES ('send', gen_random_uuid(), 'leased', 'gone:1', now() + interval '6 s') RETURNING 1"
        );
        var held = Stopwatch.StartNew();
        server.Step(Hour);
        await TwoGateways.EventuallyAsync(
            () => Task.FromResult(begun.Count > Pieces ? "" : null), "the dead node's work to be taken over");
        held.Elapsed.ShouldBeGreaterThan(TimeSpan.FromSeconds(5));
        var taken = held.Elapsed;

        // And back by two: every lease lies an hour and more ahead.
        server.Step(-Hour);
        await TwoGateways.EventuallyAsync(
            async () =>
                await ScalarAsync<bool>(
                    looking,
                    "SELECT count(*) = 2 AND (SELECT max(lease_until) FROM gateway.work) < now() + interval '1 minute' FROM gateway.clock_step"
                )
                    ? ""
                    : null,
            "the leases to be as long as before");
        gate.SetResult();
        await TwoGateways.EventuallyAsync(
            async () => await ScalarAsync<long>(looking, "SELECT count(*) FROM gateway.work WHERE period IS NULL") == 0 ? "" : null,
            "all to be done");
        await stop.CancelAsync();
        await Task.WhenAll(nodes);
        begun.Count.ShouldBe(Pieces + 1);
        begun.Distinct().Count().ShouldBe(Pieces + 1);
        output.WriteLine(
            $"2 nodes, {Pieces} leases of living and 1 of a dead node, steps of +1 h and -2 h: none doubled, the dead one's taken over after {taken.TotalSeconds:F1} s of 6, {clock.Elapsed.TotalSeconds:F1} s"
        );
    }

    private static async Task RunNodeAsync(
        string name, GatewayDatabase database, GatewaySetup options,
        Func<WorkItem, CancellationToken, Task<WorkOutcome>> handle, CancellationToken stop)
    {
        using var watch = new ClockWatch(
            database, options.Settings.Clock, TimeProvider.System, NullLogger<ClockWatch>.Instance);
        await watch.StartAsync(name, stop);
        var queue = new WorkQueue(database.Source) { MonotonicNow = () => watch.DatabaseNow };
        using var worker = new Worker(
            queue, new Dictionary<string, WorkHandler> { ["send"] = new(4, handle, (_, _, _) => Task.CompletedTask) }, name, TimeProvider.System,
            NullLogger.Instance);
        await Task.WhenAll(WatchAsync(watch, stop), worker.RunAsync(stop));
    }

    // As the health of a node does.
    private static async Task WatchAsync(ClockWatch watch, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            await watch.LookAsync(CancellationToken.None);
            await Task.Delay(TimeSpan.FromSeconds(1), stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static async Task<T?> ScalarAsync<T>(NpgsqlDataSource database, string sql)
    {
        await using var command = database.CreateCommand(sql);
        return await command.ExecuteScalarAsync() is T value ? value : default;
    }

    private static Func<GatewaySetup, GatewaySetup> Settling(int seconds) =>
        o => o with { ClockSettles = TimeSpan.FromSeconds(seconds) };

    private static TimeSpan ToNextYear() =>
        new DateTimeOffset(DateTime.UtcNow.Year + 1, 1, 1, 12, 0, 0, TimeSpan.Zero) - DateTimeOffset.UtcNow;

    private static TimeSpan ToLastYear() =>
        new DateTimeOffset(DateTime.UtcNow.Year - 1, 12, 30, 12, 0, 0, TimeSpan.Zero) - DateTimeOffset.UtcNow;

    private static async Task<Guid> SubmitAsync(TwoGateways pair) =>
        (await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)).DispatchId;

    private static async Task AcknowledgedAsync(TwoGateways pair, IEnumerable<Guid> dispatches)
    {
        foreach (var dispatch in dispatches)
        {
            await pair.A.OutgoingAsync(dispatch, d => d.Recipients.All(r => r.State == "acknowledged"));
        }
    }

    /// <summary>Every anomaly is over.</summary>
    private static Task CalmAsync(RunningGateway gateway) =>
        TwoGateways.EventuallyAsync(
            async () =>
                await gateway.ScalarAsync<bool>("SELECT bool_and(ended_at IS NOT NULL) FROM gateway.clock_anomaly")
                && (await gateway.Node.HealthAsync(CancellationToken.None)).Ready
                    ? ""
                    : null,
            $"{gateway.Node.Name} to believe its clocks again");

    private static async Task EndAsync(TwoGateways pair, IReadOnlyList<Guid> dispatches)
    {
        foreach (var dispatch in dispatches)
        {
            await Outcome.DeliveredOnceAsync(
                pair.A, new Dictionary<string, RunningGateway> { [TwoGateways.AnHoa] = pair.B }, dispatch);
        }

        await Outcome.NothingLeftAsync(pair.A, pair.B);
        foreach (var gateway in new[] { pair.A, pair.B })
        {
            (
                await gateway.ScalarAsync<long>(
                    "SELECT count(*) FROM gateway.transmission WHERE overdue_at IS NOT NULL OR state = 'failed'")
            ).ShouldBe(0);
            (
                await gateway.ScalarAsync<long>(
                    "SELECT count(*) FROM gateway.incoming WHERE place IN ('quarantine', 'returned', 'duplicate')")
            ).ShouldBe(0);
        }
    }

    private static Task<List<string>> EntriesAsync(RunningGateway gateway) =>
        Outcome.ListAsync(
            gateway.Owner,
            "SELECT kind || ' ' || count(*) FROM ledger.entry WHERE kind LIKE 'clock.%' GROUP BY kind ORDER BY kind");

    /// <summary>Has the database count how often the timer did its work.</summary>
    private static async Task CountFiringAsync(RunningGateway gateway) =>
        await gateway.ScalarAsync<object>(
            """
            CREATE TABLE gateway.fired (n bigint NOT NULL);
            INSERT INTO gateway.fired VALUES (0);
            CREATE FUNCTION gateway.count_fired() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN UPDATE gateway.fired SET n = n + 1; RETURN NULL; END $$;
            CREATE TRIGGER fired AFTER UPDATE ON gateway.work FOR EACH ROW WHEN (NEW.kind = 'overdue' AND OLD.state = 'leased' AND NEW.state = 'ready') EXECUTE FUNCTION gateway.count_fired();
            """
        );

    private static Task<long> FiredAsync(RunningGateway gateway) =>
        gateway.ScalarAsync<long>("SELECT n FROM gateway.fired");
}
