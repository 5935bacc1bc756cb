using System.Diagnostics;
using System.Net;
using SecureMail.Gateway;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using Xunit.Abstractions;

namespace SecureMail.FaultTests;

/// <summary>Several nodes on one database: they share the work, one takes over what another left, and they are upgraded
/// one after the other.</summary>
public sealed class NodesTests(PostgresFixture postgres, ITestOutputHelper output) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task What_a_killed_node_had_under_way_is_taken_over_within_half_a_minute()
    {
        await using var wire = new FaultyWire(() => 0) { Hangs = true };
        await using var pair = await TwoGateways.StartAsync(postgres, run: false, changeDirectory: d =>
            d with
            {
                Gateways = [.. d.Gateways.Select(g => g.Name == "gateway-b.test" ? g with { Port = wire.Port } : g)],
            });
        wire.Target = () => pair.B.Port;
        pair.B.Run();
        var dispatches = new List<Guid>();
        for (var n = 0; n < 4; n++)
        {
            dispatches.Add(
                (
                    await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
                ).DispatchId);
        }

        // The first node alone: its sendings are under way and go nowhere.
        await using var first = GatewayProcess.Serve(await SecondAsync(pair), TestPorts.Next());
        await TwoGateways.UntilAsync(
            async () => await pair.A.Probe.Queue.CountAsync(WorkKind.Send, WorkState.Leased) > 0,
            "a sending under way");
        pair.A.Run();
        await TwoGateways.EventuallyAsync(() => Task.FromResult(pair.A.Node.SmtpEndpoint), "the second node to run");
        await first.KillAsync();
        var clock = Stopwatch.StartNew();
        wire.Hangs = false;
        foreach (var dispatch in dispatches)
        {
            await Outcome.DeliveredOnceAsync(
                pair.A, new Dictionary<string, RunningGateway> { [TwoGateways.AnHoa] = pair.B }, dispatch);
        }

        var took = clock.Elapsed;
        await Outcome.NothingLeftAsync(pair.A, pair.B);
        output.WriteLine(
            $"1 node killed with {dispatches.Count} sendings under way: the other had them all acknowledged "
                + $"after {took.TotalSeconds:F1} s"
        );
    }

    [Fact]
    public async Task Two_nodes_share_the_queue_and_the_mail_and_a_timer_outlives_the_node_that_ran_it()
    {
        var turn = 0;
        var (ports, taken) = (new int[2], new int[2]);
        // Mail for the gateway comes to its nodes in turn, as behind a load balancer.
        await using var wire = new FaultyWire(() =>
        {
            var node = Interlocked.Increment(ref turn) % 2;
            Interlocked.Increment(ref taken[node]);
            return ports[node];
        });
        await using var pair = await TwoGateways.StartAsync(postgres, run: false, changeDirectory: d =>
            d with
            {
                Gateways = [.. d.Gateways.Select(g => g.Name == "gateway-a.test" ? g with { Port = wire.Port } : g)],
            });
        var second = await SecondAsync(pair);
        ports[0] = pair.A.Port;
        ports[1] = second.Smtp!.Port;
        await using var one = GatewayProcess.Serve(pair.A.Options, TestPorts.Next());
        await using var two = GatewayProcess.Serve(second, TestPorts.Next());
        pair.B.Run();
        await TwoGateways.UntilAsync(
            async () => await pair.A.Probe.Jobs.ServersAsync() == 2,
            "both nodes to take part");

        var dispatches = new List<Guid>();
        for (var n = 0; n < 30; n++)
        {
            dispatches.Add(
                (
                    await pair.A.Node.SubmitAsync(
                        TwoGateways.Submission(TwoGateways.AnHoa, TwoGateways.BinhMinh), CancellationToken.None)
                ).DispatchId);
        }

        var both = new Dictionary<string, RunningGateway>
        {
            [TwoGateways.AnHoa] = pair.B,
            [TwoGateways.BinhMinh] = pair.B,
        };
        var owners = new HashSet<string>();
        await TwoGateways.UntilAsync(
            async () =>
            {
                owners.UnionWith(await pair.A.Probe.Queue.NodesAtWorkAsync());
                return await pair.A.Probe.Outgoing.UnacknowledgedAsync() == 0;
            },
            "every receipt");
        foreach (var dispatch in dispatches)
        {
            await Outcome.DeliveredOnceAsync(pair.A, both, dispatch);
        }

        owners.Count.ShouldBe(2);
        taken.ShouldAllBe(t => t > 0);

        // The timer falls due every two seconds from now on; every dispatch is overdue twice over, and each is marked
        // once.
        await pair.A.Probe.Queue.SetPeriodAsync(WorkKind.Overdue, TimeSpan.FromSeconds(2));
        await LateAsync(pair, dispatches.Take(15));
        await MarkedAsync(pair, 30);
        await one.KillAsync();
        var clock = Stopwatch.StartNew();
        await LateAsync(pair, dispatches.Skip(15));
        await MarkedAsync(pair, 60);
        var took = clock.Elapsed;
        (await pair.A.Probe.Ledger.EntriesAsync(EntryKind.DispatchOverdue)).ShouldBe(60);
        (await pair.A.Probe.Ledger.ObjectsAsync(EntryKind.DispatchOverdue)).Distinct().Count().ShouldBe(60);
        await Outcome.NothingLeftAsync(pair.A, pair.B);
        output.WriteLine(
            $"2 nodes, {dispatches.Count} dispatches, {taken[0]} and {taken[1]} connections; 1 node killed: "
                + $"the timer went on after {took.TotalSeconds:F1} s; 60 overdue notices, none twice"
        );
    }

    [Fact]
    public async Task Nodes_are_upgraded_to_the_next_schema_one_after_the_other_while_mail_flows()
    {
        var clock = Stopwatch.StartNew();
        // Receipts come to whichever node is there, as behind a load balancer.
        await using var wire = new FaultyWire(() => 0);
        await using var pair = await TwoGateways.StartAsync(postgres, run: false, changeDirectory: d =>
            d with
            {
                Gateways = [.. d.Gateways.Select(g => g.Name == "gateway-a.test" ? g with { Port = wire.Port } : g)],
            });
        var second = await SecondAsync(pair);
        wire.Target = () => Listens(pair.A.Port) ? pair.A.Port : second.Smtp!.Port;
        // Where a build of an earlier release is named, the nodes begin with it and are replaced by this build.
        var earlier = Environment.GetEnvironmentVariable("SECUREMAIL_EARLIER_BUILD");
        var next = earlier is null
            ? await NextBuildAsync(Path.Combine(pair.Folder, "next"))
            : Path.Combine(AppContext.BaseDirectory, "securemail.dll");
        if (earlier is not null)
        {
            // What that build has and this one does not: its scheduler's tables.
            await using var migrate = GatewayProcess.RunOf(earlier, pair.A.Options, "migrate");
            (await migrate.EndAsync()).ShouldBe(0, migrate.Said);
        }

        pair.B.Run();
        var (one, two) = (
            GatewayProcess.Serve(pair.A.Options, TestPorts.Next(), program: earlier),
            GatewayProcess.Serve(second, TestPorts.Next(), program: earlier));
        try
        {
            using var enough = new CancellationTokenSource();
            var flowing = FlowAsync(pair, enough.Token);
            await SomeMoreAsync(pair, 3, flowing, one, two);

            // The new build migrates while both old nodes work; the old build may even be started again on what it made
            // of the schema.
            await using (var migrate = GatewayProcess.RunOf(next, pair.A.Options, "migrate"))
            {
                (await migrate.EndAsync()).ShouldBe(0, migrate.Said);
            }

            var migration = earlier is null ? "9999_next" : "0010_cards";
            (await pair.A.Probe.ExpandsOnlyAsync($"gateway/{migration}.sql")).ShouldBeTrue();
            // A job that is asked for meanwhile is done by whichever build comes to it, whoever is replaced.
            var job = await pair.A.Node.Jobs.RequestAsync(
                JobKind.LedgerVerification, TestActor.VanThu, CancellationToken.None);
            await SomeMoreAsync(pair, 3, flowing, one, two);
            await one.KillAsync();
            one = await ReplaceAsync(
                one, GatewayProcess.Serve(pair.A.Options, TestPorts.Next(), program: earlier));
            await SomeMoreAsync(pair, 3, flowing, one, two);
            await one.StopAsync();
            one = await ReplaceAsync(one, GatewayProcess.Serve(pair.A.Options, TestPorts.Next(), program: next));
            await SomeMoreAsync(pair, 3, flowing, one, two);
            await two.StopAsync();
            two = await ReplaceAsync(two, GatewayProcess.Serve(second, TestPorts.Next(), program: next));
            await SomeMoreAsync(pair, 3, flowing, one, two);

            await enough.CancelAsync();
            var dispatches = await flowing;
            foreach (var dispatch in dispatches)
            {
                await Outcome.DeliveredOnceAsync(
                    pair.A, new Dictionary<string, RunningGateway> { [TwoGateways.AnHoa] = pair.B }, dispatch);
            }

            await TwoGateways.EventuallyAsync(
                async () =>
                    await pair.A.Node.Jobs.FindAsync(job, CancellationToken.None) is { State: JobState.Done } done
                        ? done
                        : null,
                "the job that was asked for during the upgrade");
            await Outcome.NothingLeftAsync(pair.A, pair.B);
            output.WriteLine(
                $"2 nodes, 1 migration under way, 1 kill, 2 replacements: {dispatches.Count} dispatches, each "
                    + $"delivered once, {clock.Elapsed.TotalSeconds:F1} s with the build of the next version"
            );
        }
        finally
        {
            await one.DisposeAsync();
            await two.DisposeAsync();
        }
    }

    internal static bool Listens(int port)
    {
        using var probe = new System.Net.Sockets.TcpClient();
        try
        {
            probe.Connect(IPAddress.Loopback, port);
            return true;
        }
        catch (System.Net.Sockets.SocketException)
        {
            return false;
        }
    }

    /// <summary>A second node of A: the same database and keys, a data folder and a listener of its own.</summary>
    internal static async Task<GatewaySetup> SecondAsync(TwoGateways pair, string folder = "a2")
    {
        var options = pair.A.Options with
        {
            DataFolder = Path.Combine(pair.Folder, folder),
            Smtp = new IPEndPoint(IPAddress.Loopback, TestPorts.Next()),
        };
        await SoftHsm.RunAsync("cp", "-a", pair.A.Options.DataFolder, options.DataFolder);
        // A node has a name of its own, made when it first serves.
        File.Delete(Path.Combine(options.DataFolder, "node"));
        return options;
    }

    private static async Task LateAsync(TwoGateways pair, IEnumerable<Guid> dispatches) =>
        await pair.A.Probe.Outgoing.ForgetReceiptsAsync(TimeSpan.FromDays(2), [.. dispatches]);

    private static Task MarkedAsync(TwoGateways pair, long count) =>
        TwoGateways.UntilAsync(
            async () => await pair.A.Probe.Outgoing.OverdueAsync() >= count,
            $"{count} overdue notices");

    /// <summary>A clerk who goes on submitting, whatever happens to the nodes. None of it is a reason to refuse
    /// anything.</summary>
    private static async Task<List<Guid>> FlowAsync(TwoGateways pair, CancellationToken enough)
    {
        List<Guid> dispatches = [];
        while (!enough.IsCancellationRequested)
        {
            dispatches.Add(
                (
                    await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
                ).DispatchId);
            await Task.Delay(100, enough).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        return dispatches;
    }

    /// <exception cref="TimeoutException">Nothing more was acknowledged; it says what waits where, and what the nodes
    /// said.</exception>
    private static async Task SomeMoreAsync(TwoGateways pair, int more, Task flowing, params GatewayProcess[] nodes)
    {
        var before = await AcknowledgedAsync(pair.A);
        try
        {
            await TwoGateways.UntilAsync(
                async () =>
                {
                    if (flowing.IsFaulted)
                    {
                        await flowing;
                    }

                    return await AcknowledgedAsync(pair.A) >= before + more;
                },
                "mail to flow on");
        }
        catch (TimeoutException e)
        {
            var waiting = (await pair.A.Probe.Queue.DescribeAsync())
                .Select(w => "A: " + w)
                .Concat((await pair.B.Probe.Queue.DescribeAsync()).Select(w => "B: " + w));
            throw new TimeoutException(
                string.Join(
                    '\n',
                    [e.Message, .. waiting, .. nodes.Select(n => $"{(n.HasExited ? "ended" : "runs")}: {n.Said}")]),
                e);
        }
    }

    private static async Task<GatewayProcess> ReplaceAsync(GatewayProcess old, GatewayProcess by)
    {
        await old.DisposeAsync();
        return by;
    }

    /// <summary>The version after this one: the same sources and one migration more. Answers its program.</summary>
    private static async Task<string> NextBuildAsync(string folder)
    {
        Directory.CreateDirectory(folder);
        var migration = Path.Combine(folder, "next.sql");
        await File.WriteAllTextAsync(
            migration,
            $"""
            {Migrator.ExpandsOnly}
            ALTER TABLE gateway.work ADD COLUMN next_note text;
            ALTER TABLE gateway.transmission ADD COLUMN next_weight int NOT NULL DEFAULT 0;
            CREATE INDEX transmission_next ON gateway.transmission (next_weight, transmission_id);
            CREATE TABLE gateway.next_thing (id bigint PRIMARY KEY);
            """
        );
        var dotnet =
            Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet" ? Environment.ProcessPath! : "dotnet";
        await SoftHsm.RunAsync(
            dotnet, "build", Path.Combine(Repository.Root, "src", "SecureMail.Host"), "-c", "Release",
            "--artifacts-path", Path.Combine(folder, "artifacts"), "--nologo", "-v", "quiet",
            $"-p:NextMigration={migration}", "-p:RunAnalyzers=false", "-p:EnforceCodeStyleInBuild=false",
            "-nodeReuse:false");
        return System
            .IO.Directory.EnumerateFiles(
                Path.Combine(folder, "artifacts", "bin"), "securemail.dll", SearchOption.AllDirectories)
            .First(f => f.Contains("SecureMail.Host", StringComparison.Ordinal));
    }

    private static Task<long> AcknowledgedAsync(RunningGateway gateway) =>
        gateway.Probe.Outgoing.TransmissionsAsync([TransmissionState.Acknowledged], TransmissionKind.Dispatch);
}
