using System.Diagnostics;
using System.Globalization;
using System.Net;
using SecureMail.Gateway;
using SecureMail.Gateway.Health;
using SecureMail.Storage;
using SecureMail.TestKit.Probes;
using Xunit.Abstractions;

namespace SecureMail.FaultTests;

/// <summary>A database that stands still, and one that crawls. The server is the test's own: all its processes are
/// stopped and let go on.</summary>
public sealed class SlowDatabaseTests(ITestOutputHelper output) : IAsyncLifetime
{
    private readonly PostgresServer _postgres = new();

    public Task InitializeAsync() => _postgres.InitializeAsync();

    public Task DisposeAsync() => _postgres.DisposeAsync();

    [Fact]
    public async Task While_the_database_stands_still_new_work_is_refused_in_time_and_then_everything_drains_once()
    {
        const int Dispatches = 10,
            Peers = 40;
        var limits = new HealthOptions { SlowDatabase = TimeSpan.FromSeconds(2) };
        await using var pair = await TwoGateways.StartAsync(
            _postgres, changeA: o => o with { Health = limits }, changeB: o => o with { Health = limits }, run: false);
        var http = TestPorts.Next();
        await using var process = GatewayProcess.Serve(pair.B.Options, http);
        await Pressure.ReadyAsync(http);
        pair.A.Run();
        var server = await PostmasterAsync();
        var before = Pressure.Of(process);
        List<Guid> dispatches = [];
        for (var n = 0; n < Dispatches; n++)
        {
            dispatches.Add(
                (
                    await pair.A.Node.SubmitAsync(
                        TwoGateways.Submission(TwoGateways.AnHoa, TwoGateways.BinhMinh), CancellationToken.None)
                ).DispatchId);
        }

        // In the middle of all that, the server stops. What is asked for below answers although it stays so.
        using var limit = new TimeLimit("An answer while the database is stopped");
        Stop(server, stop: true);
        (long Rss, int Descriptors, int Threads) at;
        TimeSpan health,
            refused,
            submission;
        try
        {
            var clock = Stopwatch.StartNew();
            await Pressure.ProblemAsync(http, "database-slow");
            health = clock.Elapsed;
            clock.Restart();
            (await Pressure.HealthAsync(http))!.Value.Status.ShouldBe(503);
            clock.Restart();
            // Each from an address of its own, because one address has few places before TLS.
            var replies = await Task.WhenAll(
                Enumerable.Range(1, Peers).Select(n => Pressure.MailAsync(pair, new IPAddress([127, 0, 3, (byte)n]))));
            refused = clock.Elapsed;
            replies.ShouldAllBe(r =>
                r.StartsWith("451", StringComparison.Ordinal) || r.StartsWith("421", StringComparison.Ordinal));
            clock.Restart();
            (
                await Should.ThrowAsync<StorageUnavailableException>(() =>
                    pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None))
            ).Message.ShouldContain("too slowly");
            submission = clock.Elapsed;
            at = Pressure.Of(process);
        }
        finally
        {
            Stop(server, stop: false);
        }

        var drained = Stopwatch.StartNew();
        await Pressure.ReadyAsync(http);
        var ready = drained.Elapsed;

        // Now it crawls: of each quarter of a second it runs a fifth. Work goes on, slowly, and leases hold.
        using (var enough = new CancellationTokenSource(TimeSpan.FromSeconds(4)))
        {
            await CrawlAsync(server, enough.Token);
        }

        var both = new Dictionary<string, RunningGateway>
        {
            [TwoGateways.AnHoa] = pair.B,
            [TwoGateways.BinhMinh] = pair.B,
        };
        foreach (var dispatch in dispatches)
        {
            await Outcome.DeliveredOnceAsync(pair.A, both, dispatch);
        }

        await Outcome.NothingLeftAsync(pair.A, pair.B);
        output.WriteLine(
            $"database stopped under {Dispatches} dispatches: health said so after {health.TotalSeconds:F1} s, "
                + $"{Peers} peers refused within {refused.TotalSeconds:F1} s, a submission within "
                + $"{submission.TotalSeconds:F1} s; "
                + $"threads {before.Threads} → {at.Threads}, descriptors {before.Descriptors} → {at.Descriptors}, "
                + $"RSS {before.Rss} → {at.Rss} MiB; ready {ready.TotalSeconds:F1} s after it went on, all delivered "
                + $"once {drained.Elapsed.TotalSeconds:F1} s after"
        );
        at.Threads.ShouldBeLessThan(100);
        at.Descriptors.ShouldBeLessThan(before.Descriptors + 150);
    }

    private static async Task CrawlAsync(int server, CancellationToken enough)
    {
        try
        {
            while (!enough.IsCancellationRequested)
            {
                Stop(server, stop: true);
                await Task.Delay(200, enough).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                Stop(server, stop: false);
                await Task.Delay(50, enough).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
        finally
        {
            Stop(server, stop: false);
        }
    }

    private async Task<int> PostmasterAsync()
    {
        var data = await new GatewayProbe(_postgres.Cluster.ConnectionString("postgres", "postgres"))
            .DataFolderAsync();
        return int.Parse(File.ReadLines(Path.Combine(data, "postmaster.pid")).First(), CultureInfo.InvariantCulture);
    }

    /// <summary>SIGSTOP or SIGCONT to the server and all its children: the server first, so that it makes no
    /// more.</summary>
    private static void Stop(int server, bool stop)
    {
        Signal(server, stop);
        foreach (
            var folder in System
                .IO.Directory.EnumerateDirectories("/proc")
                .Where(d => int.TryParse(Path.GetFileName(d), out _)))
        {
            try
            {
                // proc(5): after the name in parentheses, the state and the parent.
                var stat = File.ReadAllText(Path.Combine(folder, "stat"));
                if (stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[1] == server.ToString(CultureInfo.InvariantCulture))
                {
                    Signal(int.Parse(Path.GetFileName(folder), CultureInfo.InvariantCulture), stop);
                }
            }
            catch (IOException)
            {
                // It ended meanwhile.
            }
        }
    }

    private static void Signal(int process, bool stop)
    {
        using var kill = Process.Start(
            "kill", [stop ? "-STOP" : "-CONT", process.ToString(CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
    }
}
