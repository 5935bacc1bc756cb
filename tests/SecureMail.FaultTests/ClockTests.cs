using System.Collections.Concurrent;
using System.Diagnostics;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SecureMail.Gateway;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Host.Schema;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using SecureMail.TestKit.Probes;
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
            await TwoGateways.UntilAsync(
                async () =>
                    (await pair.A.Node.HealthAsync(CancellationToken.None)).Problems.Contains(
                        "clock-differs-from-database"),
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
        (await pair.A.Node.Ledger.AlarmsAsync(CancellationToken.None))
            .Count(a => a.Kind == AlarmKind.ClockStepped)
            .ShouldBe(steps.Length);
        // Entries keep their order by index; the verifier, who was asked above, calls no time damage.
        (await pair.A.Probe.Ledger.TimesThatGoBackAsync()).ShouldBeGreaterThan(0);
        (await pair.A.Probe.Outgoing.SeriesAsync()).ShouldBe(1);
        output.WriteLine(
            $"process clock: {steps.Length} steps there and back "
                + $"({string.Join(", ", steps.Select(s => s.Name))}), {dispatches.Count} dispatches, each delivered "
                + $"once, 0 overdue, {steps.Length} anomalies, {clock.Elapsed.TotalSeconds:F1} s"
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
        await pair.A.Probe.Queue.CountOverdueRunsAsync();
        // Somebody who is away, so that something has been sent, and waits for its receipt, when the clock leaps over
        // the day in which that is due.
        List<Guid> dispatches = [await SubmitAsync(pair)];
        await AcknowledgedAsync(pair, dispatches);
        await pair.A.Probe.Outgoing.ForgetReceiptsAsync();
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
                var fired = await pair.A.Probe.Queue.OverdueRunsAsync();
                var noted = await pair.A.Probe.Clock.StepsAsync();
                server.Step(to);
                var since = Stopwatch.StartNew();
                await TwoGateways.UntilAsync(
                    async () => await pair.A.Probe.Clock.StepsAsync() == noted + 1,
                    $"{name}: the step to be noted");
                if (to != TimeSpan.Zero)
                {
                    dispatches.Add(await SubmitAsync(pair));
                }

                await TwoGateways.UntilAsync(
                    async () => await pair.A.Probe.Queue.OverdueRunsAsync() >= fired + 3,
                    $"{name}: the recurring job to go on");
                var (more, seconds) = (await pair.A.Probe.Queue.OverdueRunsAsync() - fired, since.Elapsed.TotalSeconds);
                said.Add(FormattableString.Invariant($"{more} in {seconds:F1} s"));
                // Each second, and no burst for the hour that never was.
                more.ShouldBeLessThanOrEqualTo((long)seconds + 4, name);
            }

            await CalmAsync(pair.A);
            await CalmAsync(pair.B);
        }

        await pair.A.Probe.Outgoing.AcknowledgeAsync(dispatches[0]);
        await EndAsync(pair, dispatches[1..]);
        foreach (var gateway in new[] { pair.A, pair.B })
        {
            (await EntriesAsync(gateway)).ShouldBe([$"clock.settled {steps.Length}", $"clock.stepped {steps.Length}"]);
        }

        output.WriteLine(
            $"database clock: {steps.Length} steps there and back, {dispatches.Count} dispatches, each "
                + $"delivered once, 0 overdue, {steps.Length} anomalies in each ledger; a job of each second fired "
                + $"{string.Join(", ", said)}; {clock.Elapsed.TotalSeconds:F1} s"
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
        await pair.A.Probe.Outgoing.ForgetReceiptsAsync();
        await pair.A.Probe.Queue.CountOverdueRunsAsync();
        time.By = TimeSpan.FromHours(25);
        server.Step(time.By);
        var dispatch = await SubmitAsync(pair);
        (await pair.A.OutgoingAsync(dispatch, d => d.State == "awaiting-signature")).Reason.ShouldBe("CLOCK_SUSPECT");
        await CalmAsync(pair.A);
        await CalmAsync(pair.B);
        var fired = await pair.A.Probe.Queue.OverdueRunsAsync();
        await TwoGateways.UntilAsync(
            async () => await pair.A.Probe.Queue.OverdueRunsAsync() >= fired + 2, "the overdue job to run");
        (await pair.A.OutgoingAsync(waiting, _ => true)).Recipients[0].OverdueAt.ShouldBeNull();
        await pair.A.Probe.Outgoing.AcknowledgeAsync(waiting);
        await EndAsync(pair, [dispatch]);
        foreach (var gateway in new[] { pair.A, pair.B })
        {
            (await EntriesAsync(gateway)).ShouldBe(["clock.settled 2", "clock.stepped 2"]);
        }

        output.WriteLine(
            "one machine leaps by 25 h with its database: 2 dispatches, 0 overdue, 2 anomalies (its two "
                + $"clocks) in each ledger, {clock.Elapsed.TotalSeconds:F1} s"
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
        await TwoGateways.UntilAsync(
            async () => await pair.A.Probe.Clock.AnomaliesAsync() == 1,
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
            $"2 nodes 10 minutes apart: {dispatches.Count} dispatches, each delivered once, 1 anomaly, "
                + $"{clock.Elapsed.TotalSeconds:F1} s"
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
        (await pair.A.Node.Ledger.AlarmsAsync(CancellationToken.None))
            .Select(a => (a.Kind, a.Subject))
            .ShouldBe([(AlarmKind.ClockPeer, "peer:gateway-b.test")]);
        output.WriteLine(
            $"peer 1 h ahead: {dispatches.Count} dispatches acknowledged, 0 overdue, 1 alarm, "
                + $"{clock.Elapsed.TotalSeconds:F1} s"
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
        await TwoGateways.UntilAsync(
            async () => await pair.B.Probe.Queue.LastErrorAsync(WorkKind.Validate) == "SIGNED_IN_FUTURE",
            "the message to wait");
        await EndAsync(pair, [dispatch]);
        (await EntriesAsync(pair.B)).ShouldBe(["clock.peer 1"]);
        output.WriteLine(
            $"peer 5 min 8 s ahead: 1 dispatch waited for its time and was delivered, {clock.Elapsed.TotalSeconds:F1} s"
        );
    }

    [Fact]
    public async Task A_receiver_an_hour_behind_waits_with_what_it_cannot_judge_and_delivers_it_when_it_is_right()
    {
        var clock = Stopwatch.StartNew();
        await using var server = await FakeTime.StartServerAsync(-Hour);
        var time = new ShiftedTime(-Hour);
        await using var pair = await TwoGateways.StartAsync(
            postgres, changeB: Settling(2), timeB: time, postgresB: server.Postgres);
        await pair.ListeningAsync();
        List<Guid> dispatches = [await SubmitAsync(pair), await SubmitAsync(pair)];
        await TwoGateways.UntilAsync(
            async () => await pair.B.Probe.Queue.CountAsync(WorkKind.Validate, error: "SIGNED_IN_FUTURE") == 2,
            "the messages to wait");
        time.By = TimeSpan.Zero;
        server.Step(TimeSpan.Zero);
        await EndAsync(pair, dispatches);
        await CalmAsync(pair.B);
        // It was our clock that was wrong: nothing is said of the sender's.
        (await EntriesAsync(pair.B)).ShouldBe(["clock.settled 2", "clock.stepped 2"]);
        (await EntriesAsync(pair.A)).ShouldBeEmpty();
        output.WriteLine(
            $"receiver 1 h behind, then set right with its database: {dispatches.Count} dispatches waited and "
                + $"were delivered once, 2 anomalies (its two clocks), {clock.Elapsed.TotalSeconds:F1} s"
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
        await TwoGateways.UntilAsync(
            () => Task.FromResult(begun.Count == Pieces), "all to be under way");

        // One that a dead node holds for six seconds more; then the hour that makes every lease look over.
        var looking = new GatewayProbe(owner);
        await looking.Queue.AddLeasedAsync(WorkKind.Send, TimeSpan.FromSeconds(6));
        var held = Stopwatch.StartNew();
        server.Step(Hour);
        await TwoGateways.UntilAsync(
            () => Task.FromResult(begun.Count > Pieces), "the dead node's work to be taken over");
        held.Elapsed.ShouldBeGreaterThan(TimeSpan.FromSeconds(5));
        var taken = held.Elapsed;

        // And back by two: every lease lies an hour and more ahead.
        server.Step(-Hour);
        await TwoGateways.UntilAsync(
            async () =>
                await looking.Clock.StepsAsync() == 2
                && await looking.Queue.LongestLeaseAsync() < TimeSpan.FromMinutes(1),
            "the leases to be as long as before");
        gate.SetResult();
        await TwoGateways.UntilAsync(async () => await looking.Queue.CountAsync() == 0, "all to be done");
        await stop.CancelAsync();
        await Task.WhenAll(nodes);
        begun.Count.ShouldBe(Pieces + 1);
        begun.Distinct().Count().ShouldBe(Pieces + 1);
        output.WriteLine(
            $"2 nodes, {Pieces} leases of living and 1 of a dead node, steps of +1 h and -2 h: none doubled, "
                + $"the dead one's taken over after {taken.TotalSeconds:F1} s of 6, {clock.Elapsed.TotalSeconds:F1} s"
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
            queue,
            new Dictionary<string, WorkHandler> { ["send"] = new(4, handle, (_, _, _) => Task.CompletedTask) },
            name, TimeProvider.System,
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
        TwoGateways.UntilAsync(
            async () =>
                await gateway.Probe.Clock.OpenAnomaliesAsync() == 0
                && (await gateway.Node.HealthAsync(CancellationToken.None)).Ready,
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
            (await gateway.Probe.Outgoing.OverdueAsync()).ShouldBe(0);
            (await gateway.Probe.Outgoing.TransmissionsAsync([TransmissionState.Failed])).ShouldBe(0);
            (await gateway.Probe.Incoming.DispositionsAsync()).Keys.ShouldBeSubsetOf(
                [Disposition.Inbox, Disposition.Matched]);
        }
    }

    private static async Task<List<string>> EntriesAsync(RunningGateway gateway) =>
    [
        .. (await gateway.Probe.Ledger.EntriesByKindAsync("clock."))
            .Select(e => $"{e.Key} {e.Value}")
            .Order(StringComparer.Ordinal),
    ];
}
