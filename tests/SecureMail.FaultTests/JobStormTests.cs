using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using SecureMail.Gateway.Jobs;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.TestKit.Probes;
using Xunit.Abstractions;

namespace SecureMail.FaultTests;

/// <summary>Three nodes that are killed again and again, while jobs are started, a recurring job recurs and a timer
/// falls
/// due: no job is lost, none has its effect twice. The long form is scripts/storm jobs.</summary>
public sealed class JobStormTests(PostgresFixture postgres, ITestOutputHelper output) : IClassFixture<PostgresFixture>
{
    private static readonly int Kills = Of("SECUREMAIL_STORM_JOB_KILLS", 8);
    private static readonly int Seed = Of("SECUREMAIL_STORM_SEED", 20_261_130);

    // The database notes every beginning and every end. Jobs take up to three seconds, so that kills meet them; the
    // schedule of the recurring job is each five seconds instead of each hour, the timer's period two seconds.
    private const string Instruments = """
        CREATE TABLE public.noted (at timestamptz NOT NULL DEFAULT clock_timestamp(), job uuid, kind text, what text);
        CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
          IF NEW.state = 'running' AND NEW.lease_owner IS DISTINCT FROM OLD.lease_owner THEN
            INSERT INTO public.noted (job, kind, what) VALUES (NEW.job_id, NEW.kind, 'begun');
          ELSIF NEW.state IN ('done', 'failed') AND OLD.state = 'running' THEN
            PERFORM pg_sleep(CASE WHEN NEW.kind = 'retention' THEN 0 ELSE random() * 3 END);
            INSERT INTO public.noted (job, kind, what) VALUES (NEW.job_id, NEW.kind, NEW.state);
          END IF;
          RETURN NULL;
        END $$;
        CREATE TRIGGER note AFTER UPDATE ON gateway.job FOR EACH ROW EXECUTE FUNCTION public.note();
        CREATE FUNCTION public.note_timer() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN INSERT INTO public.noted (kind, what) VALUES ('overdue', 'fired'); RETURN NULL; END $$;
        CREATE TRIGGER note AFTER UPDATE ON gateway.work FOR EACH ROW
          WHEN (NEW.kind = 'overdue' AND OLD.state = 'leased' AND NEW.state = 'ready' AND NEW.last_error IS NULL)
          EXECUTE FUNCTION public.note_timer();
        CREATE FUNCTION public.often() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.value := '*/5 * * * * *'; RETURN NEW; END $$;
        CREATE TRIGGER often BEFORE INSERT OR UPDATE ON hangfire.hash FOR EACH ROW
          WHEN (NEW.key = 'recurring-job:retention' AND NEW.field = 'Cron') EXECUTE FUNCTION public.often();
        CREATE FUNCTION public.soon() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          -- A node that starts writes the schedule of each hour again; only a run puts the next one off.
          NEW.score := CASE
            WHEN (SELECT value::bigint / 1000 >= floor(OLD.score) FROM hangfire.hash
              WHERE key = 'recurring-job:retention' AND field = 'LastExecution')
            THEN extract(epoch FROM now()) + 5 ELSE OLD.score END;
          RETURN NEW;
        END $$;
        CREATE FUNCTION public.often_too() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.period := interval '2 s'; NEW.run_at := least(NEW.run_at, now() + interval '2 s'); RETURN NEW; END $$;
        CREATE TRIGGER often_too BEFORE INSERT OR UPDATE ON gateway.work FOR EACH ROW
          WHEN (NEW.kind = 'overdue') EXECUTE FUNCTION public.often_too();
        """;

    [Fact]
    public async Task Under_kills_no_job_is_lost_and_none_has_its_effect_twice()
    {
        var random = new Random(Seed);
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var instruments = new ProbeDatabase(pair.A.Owner);
        await instruments.ExecuteAsync(Instruments);
        pair.B.Run();
        List<Guid> dispatches = [];
        for (var n = 0; n < Kills; n++)
        {
            dispatches.Add(
                (
                    await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
                ).DispatchId);
        }

        var setups = new[]
        {
            pair.A.Options, await NodesTests.SecondAsync(pair), await NodesTests.SecondAsync(pair, "a3"),
        };
        var ports = setups.Select(_ => TestPorts.Next()).ToArray();
        var nodes = setups.Zip(ports, (setup, port) => GatewayProcess.Serve(setup, port)).ToArray();
        var clock = Stopwatch.StartNew();
        using var enough = new CancellationTokenSource();
        var asked = new ConcurrentDictionary<Guid, string>();
        try
        {
            await TwoGateways.UntilAsync(async () => await pair.A.Probe.Jobs.ServersAsync() == 3, "three nodes");
            foreach (var dispatch in dispatches)
            {
                await pair.A.OutgoingAsync(dispatch, d => d.Recipients.All(r => r.State == "acknowledged"));
            }

            await instruments.ExecuteAsync(
                """
                UPDATE hangfire.set SET score = 0 WHERE key = 'recurring-jobs';
                CREATE TRIGGER soon BEFORE UPDATE ON hangfire.set FOR EACH ROW
                  WHEN (NEW.key = 'recurring-jobs') EXECUTE FUNCTION public.soon();
                """
            );
            await instruments.ExecuteAsync("TRUNCATE public.noted");
            var asking = AskAsync(pair.A, asked, enough.Token);
            for (var kill = 0; kill < Kills; kill++)
            {
                // A slow machine must not turn this into three nodes that are never there.
                foreach (var port in ports)
                {
                    await TwoGateways.UntilAsync(
                        () => Task.FromResult(NodesTests.Listens(port)), "every node to be back");
                }

                await Task.Delay(random.Next(1000, 4000), CancellationToken.None);
                var victim = random.Next(nodes.Length);
                await nodes[victim].DisposeAsync();
                nodes[victim] = GatewayProcess.Serve(setups[victim], ports[victim]);
                // As if no receipt had come for this one, two days ago: the timer must mark it, once.
                await pair.A.Probe.Outgoing.ForgetReceiptsAsync(TimeSpan.FromDays(2), dispatches[kill]);
            }

            await enough.CancelAsync();
            await asking;
            foreach (var job in asked.Keys)
            {
                await TwoGateways.EventuallyAsync(
                    async () =>
                        await pair.A.Node.Jobs.FindAsync(job, CancellationToken.None) is { EndedAt: not null } j
                            ? j
                            : null,
                    $"job {job} to end");
            }

            await TwoGateways.UntilAsync(
                async () => await pair.A.Probe.Outgoing.OverdueAsync() == Kills,
                "every overdue notice");
        }
        finally
        {
            foreach (var node in nodes)
            {
                await node.DisposeAsync();
            }
        }

        var lost = 0;
        foreach (var job in asked.Keys)
        {
            if ((await pair.A.Node.Jobs.FindAsync(job, CancellationToken.None))!.State != JobState.Done)
            {
                lost++;
            }
        }

        var jobs = asked.Keys.ToArray();
        var twice = await instruments.CountAsync(
            """
            (SELECT FROM public.noted WHERE job = ANY ($1) AND what = 'done' GROUP BY job HAVING count(*) > 1) t
            """,
            jobs);
        var files = asked
            .Where(a => a.Value == JobKind.LedgerExport)
            .ToDictionary(a => a.Key, a => setups.Count(s => File.Exists(Export(s.DataFolder, a.Key))));
        var again = await instruments.CountAsync("public.noted WHERE job = ANY ($1) AND what = 'begun'", jobs)
            - asked.Count;
        (await instruments.CountAsync("public.noted WHERE kind = 'retention' AND what = 'done'"))
            .ShouldBeGreaterThan(0);
        var recurring = await GapsAsync(instruments, "retention", "done");
        var timer = await GapsAsync(instruments, "overdue", "fired");
        var takeover = await TakeoverAsync(instruments);
        output.WriteLine(
            $"seed {Seed}: 3 nodes, {Kills} kills in {clock.Elapsed.TotalSeconds:F0} s; {asked.Count} jobs "
                + $"started, {lost} lost, {twice} ended twice, {again} begun again after a kill; "
                + $"{files.Count} exports, {files.Values.Count(n => n != 1)} without their one file; recurring job "
                + $"{recurring}; timer {timer}; begun again after {takeover}"
        );
        lost.ShouldBe(0);
        twice.ShouldBe(0);
        files.Values.ShouldAllBe(n => n == 1);
        asked.Count.ShouldBeGreaterThan(Kills / 2);
        // A dispatch is marked once, however often the timer fell due.
        var marked = await pair.A.Probe.Ledger.ObjectsAsync(EntryKind.DispatchOverdue);
        (marked.Count, marked.Distinct().Count()).ShouldBe((Kills, Kills));
        (await pair.A.Probe.Ledger.AlarmsAsync()).ShouldBeEmpty();
    }

    private static string Export(string dataFolder, Guid job) => Path.Combine(dataFolder, "exports", $"{job}.jsonl");

    /// <summary>A person who starts the next job of a kind when the one before is at its end.</summary>
    private static async Task AskAsync(
        RunningGateway gateway, ConcurrentDictionary<Guid, string> asked, CancellationToken enough)
    {
        while (!enough.IsCancellationRequested)
        {
            foreach (var kind in new[] { JobKind.LedgerVerification, JobKind.LedgerExport })
            {
                asked[await gateway.Node.Jobs.RequestAsync(kind, TestActor.VanThu, CancellationToken.None)] = kind;
            }

            asked[await gateway.Node.Jobs.RequestRotationAsync(
                makeKey: false, TestActor.VanThu, CancellationToken.None)] =
                JobKind.StorageRotation;
            await Task.Delay(200, enough).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>How often something happened, and the longest times between two.</summary>
    private static async Task<string> GapsAsync(ProbeDatabase instruments, string kind, string what) =>
        (
            await instruments.ScalarAsync<string>(
                $"""
                SELECT format('%s times, median gap %s s, longest %s s', count(*),
                  round(percentile_cont(0.5) WITHIN GROUP (ORDER BY gap)::numeric, 1), round(max(gap)::numeric, 1))
                FROM (SELECT extract(epoch FROM at - lag(at) OVER (ORDER BY at))::float8 AS gap FROM public.noted
                  WHERE kind = '{kind}' AND what = '{what}') g
                """)
        )!;

    /// <summary>How long after its beginning on a node that was killed a job was begun again.</summary>
    private static async Task<string> TakeoverAsync(ProbeDatabase instruments) =>
        (
            await instruments.ScalarAsync<string>(
                """
                SELECT format('median %s s, longest %s s',
                  round(percentile_cont(0.5) WITHIN GROUP (ORDER BY gap)::numeric, 1), round(max(gap)::numeric, 1))
                FROM (SELECT extract(epoch FROM at - lag(at) OVER (PARTITION BY job ORDER BY at))::float8 AS gap
                  FROM public.noted WHERE what = 'begun' AND kind <> 'retention') g
                """)
        )!;

    private static int Of(string variable, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out var value)
            ? value
            : otherwise;
}
