using System.Diagnostics;
using Npgsql;
using SecureMail.Gateway;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Mail.Smtp.Client;
using Xunit.Abstractions;

namespace SecureMail.FaultTests;

/// <summary>Disks that are full in truth: a private cluster and a folder for temporary files on file systems of the
/// test's own.</summary>
public sealed class FullDiskTests(PostgresFixture postgres, ITestOutputHelper output) : IClassFixture<PostgresFixture>
{
    private const int Mebi = 1024 * 1024;

    [Fact]
    public async Task A_database_that_fills_its_disk_loses_nothing_comes_back_by_itself_and_drains()
    {
        SmallVolume? volume = null;
        try
        {
            // The watermark is off: the disk is run into the wall on purpose.
            await using var pair = await StartAsync(
                v => volume = v, 200, new HealthOptions { LeastFree = 0, LeastFreeTemporary = 0 });
            var http = TestPorts.Next();
            await using var process = GatewayProcess.Serve(pair.B.Options, http);
            await Pressure.ReadyAsync(http);
            pair.A.Run();
            volume!.LeaveFree(24 * Mebi);
            using var limit = new TimeLimit("Filling a disk");
            var clock = Stopwatch.StartNew();
            List<byte[]> accepted = [],
                refused = [];
            List<string> said = [];
            while (refused.Count < 5)
            {
                byte[] message = [.. "From: a@b.test\r\n\r\n"u8, .. Pressure.Noise(Mebi)];
                var (taken, answer) = await InjectAsync(pair, message);
                (taken ? accepted : refused).Add(message);
                if (!taken)
                {
                    said.Add(answer);
                }
            }

            accepted.ShouldNotBeEmpty();
            // What A has accepted meanwhile waits there for B.
            var dispatch = (
                await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
            ).DispatchId;
            var problem = await Pressure.ProblemAsync(http, "database-full", "database", "database-slow");
            var (exit, sentence) = await Pressure.SendAsync(pair.B.Options, pair.Folder);
            exit.ShouldBeOneOf(69, 75);
            sentence.Trim().ShouldNotContain('\n', "one line that says what to do");
            var full = clock.Elapsed;

            volume.MakeRoom();
            clock.Restart();
            await Pressure.ReadyAsync(http);
            var ready = clock.Elapsed;
            pair.B.Node.Database.Source.Clear();
            NpgsqlConnection.ClearAllPools();
            foreach (var message in accepted)
            {
                (await pair.B.Probe.Incoming.OfAsync(message)).Count.ShouldBe(
                    1, "what was answered 250 is there, once");
            }

            var keptAfterAll = 0;
            foreach (var message in refused)
            {
                keptAfterAll += (await pair.B.Probe.Incoming.OfAsync(message)).Count;
            }
            // A refusal whose commit had reached the disk is the sender's duplicate; only the crash itself can make
            // one.
            keptAfterAll.ShouldBeLessThanOrEqualTo(1);
            await pair.A.Probe.Queue.MakeDueAsync();
            await Outcome.DeliveredOnceAsync(
                pair.A, new Dictionary<string, RunningGateway> { [TwoGateways.AnHoa] = pair.B }, dispatch);
            await Outcome.NothingLeftAsync(pair.A, pair.B);
            (await pair.B.Probe.Incoming.CountAsync(IncomingState.Received)).ShouldBe(0);
            var restarts = process.Said.Split('\n').Count(l => l.Contains("started again", StringComparison.Ordinal));
            output.WriteLine(
                $"disk filled after {accepted.Count} messages of 1 MiB in {full.TotalSeconds:F1} s; "
                    + $"{refused.Count} refused "
                    + $"({string.Join("; ", said.GroupBy(s => s).Select(g => $"{g.Count()} × {g.Key}"))}), a command "
                    + $"ended with {exit}, health said {problem}; "
                    + $"with room again ready after {ready.TotalSeconds:F1} s, server started again {restarts} "
                    + $"times, everything drained {clock.Elapsed.TotalSeconds:F1} s after"
            );
        }
        finally
        {
            volume?.Dispose();
        }
    }

    [Fact]
    public async Task A_disk_that_is_nearly_full_takes_no_new_work_while_what_was_accepted_still_goes_on()
    {
        SmallVolume? volume = null;
        try
        {
            await using var pair = await StartAsync(
                v => volume = v, 640, new HealthOptions { LeastFree = 96 * Mebi, LeastFreeTemporary = 4 * Mebi });
            using var temporary = SmallVolume.Mount(Path.Combine(pair.Folder, "temporary"), 8);
            var http = TestPorts.Next();
            await using var process = GatewayProcess.Serve(pair.B.Options, http, temporary: temporary.Folder);
            await Pressure.ReadyAsync(http);
            pair.A.Run();
            var clock = Stopwatch.StartNew();

            // Accepted while there is room; judging it takes more than memory holds and more of the temporary folder
            // than there is, and that loses nothing.
            var large = Pressure.Noise(30 * Mebi);
            var dispatch = (
                await pair.A.Node.SubmitAsync(
                    TwoGateways.Submission(TwoGateways.AnHoa) with
                    {
                        Documents = TwoGateways.Documents(
                            new SubmittedDocument("lớn.txt", "text/plain", () => new MemoryStream(large))),
                    },
                    CancellationToken.None)
            ).DispatchId;
            await TwoGateways.UntilAsync(
                async () => await pair.B.Probe.Queue.CountAsync(WorkKind.Validate, error: "IOException") > 0,
                "a temporary folder that is too small");
            temporary.Free.ShouldBeGreaterThan(7 * Mebi, "a spool that could not be written is gone");

            temporary.LeaveFree(2 * Mebi);
            await Pressure.ProblemAsync(http, "temporary-folder-low");
            (await Pressure.MailAsync(pair)).ShouldStartWith("452 4.3.1");
            temporary.MakeRoom();
            temporary.Resize(64);
            await Pressure.ReadyAsync(http);

            volume!.LeaveFree(90 * Mebi);
            await Pressure.ProblemAsync(http, "disk-low");
            var shown = clock.Elapsed;
            (await Pressure.MailAsync(pair)).ShouldStartWith("452 4.3.1");
            var (exit, said) = await Pressure.SendAsync(pair.B.Options, pair.Folder);
            exit.ShouldBe(69);
            said.ShouldContain("sắp đầy");
            (await pair.B.Probe.Outgoing.CountAsync()).ShouldBe(0);
            // The door is shut; what lies inside is judged all the same. Its receipt leaves as well: sending is no new
            // work.
            await pair.B.IncomingAsync(m => m.DispatchId == dispatch && m.Disposition == "inbox");
            await pair.A.OutgoingAsync(dispatch, d => d.Recipients[0].State == "acknowledged");
            (await Pressure.HealthAsync(http))!.Value.Problems.ShouldBe(["disk-low"]);

            volume.MakeRoom();
            await Pressure.ReadyAsync(http);
            await Outcome.DeliveredOnceAsync(
                pair.A, new Dictionary<string, RunningGateway> { [TwoGateways.AnHoa] = pair.B }, dispatch);
            (exit, said) = await Pressure.SendAsync(pair.B.Options, pair.Folder);
            exit.ShouldBe(0, said);
            await Outcome.NothingLeftAsync(pair.A, pair.B);
            output.WriteLine(
                "a temporary folder of 8 MiB under a message of 30 MiB, then nearly full, then a disk nearly "
                    + $"full: 2 × 452, exit 69, shown after {shown.TotalSeconds:F1} s in all; what was accepted was "
                    + $"judged and acknowledged meanwhile; {clock.Elapsed.TotalSeconds:F1} s"
            );
        }
        finally
        {
            volume?.Dispose();
        }
    }

    /// <summary>A as ever; B's database is a private cluster on a volume of this size.</summary>
    private Task<TwoGateways> StartAsync(Action<SmallVolume> mounted, int mebibytes, HealthOptions limits) =>
        TwoGateways.StartAsync(
            postgres,
            changeB: o =>
            {
                mounted(SmallVolume.MountForCluster(o.DataFolder, mebibytes));
                return o with { DatabaseConnection = null, OwnerConnection = null, Health = limits };
            },
            run: false);

    private static async Task<(bool Taken, string Answer)> InjectAsync(TwoGateways pair, byte[] message)
    {
        try
        {
            var result = await pair.InjectAsync(message, SharedPair.AnHoaAddress);
            result.Outcome.ShouldBeOneOf(SmtpOutcome.Delivered, SmtpOutcome.Transient);
            return (result.Outcome == SmtpOutcome.Delivered, $"{result.Reply?.Code} {result.Reply?.Enhanced}");
        }
        catch (SmtpException e) when (e.Outcome == SmtpOutcome.Transient)
        {
            return (false, e.Message.Split('\n')[0]);
        }
    }
}
