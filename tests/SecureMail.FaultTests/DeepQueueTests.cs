using System.Diagnostics;
using SecureMail.Exchange;
using SecureMail.Gateway;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using Xunit.Abstractions;

namespace SecureMail.FaultTests;

/// <summary>Ten thousand messages for one destination that is away. <c>SECUREMAIL_TEST_LONG=1</c> drains all of them
/// instead of a part.</summary>
public sealed class DeepQueueTests(PostgresFixture postgres, ITestOutputHelper output)
    : IClassFixture<PostgresFixture>
{
    private const int Deep = 10_000,
        Real = 20,
        Living = 40,
        Part = 300;

    [Fact]
    public async Task Ten_thousand_queued_dispatches_disturb_nobody_and_drain_when_their_destination_comes()
    {
        var folder = Directory.CreateTempSubdirectory("smdeep").FullName;
        var living = new HostilePeer("living.test", folder, _ => null);
        try
        {
            var limits = new HealthOptions { QueueDepth = Deep };
            await using var pair = await TwoGateways.StartAsync(
                postgres,
                changeA: o => o with { Health = limits },
                run: false,
                changeDirectory: d =>
                    d with
                    {
                        Gateways = [.. d.Gateways, living.Record],
                        Agencies =
                        [
                            .. d.Agencies,
                            .. Enumerable
                                .Range(0, 10)
                                .Select(n =>
                                    living.Agency(
                                        d.Agencies.Single(a => a.Names.Any(x => x.Code == TwoGateways.BinhMinh)), n,
                                        "H90.OK")),
                        ],
                    });
            var http = TestPorts.Next();
            await using var process = GatewayProcess.Serve(pair.A.Options, http);
            await Pressure.ReadyAsync(http);
            var alone = await LivingAsync(pair, living);
            List<Guid> dispatches = [];
            for (var n = 0; n < Real; n++)
            {
                dispatches.Add(
                    (
                        await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
                    ).DispatchId);
            }

            await TwoGateways.UntilAsync(
                async () =>
                    await pair.A.Probe.Outgoing.TransmissionsAsync(
                        [TransmissionState.Queued, TransmissionState.Unknown]) == Real,
                "all to be sealed");
            var empty = await LeaseAsync(pair);
            var before = Pressure.Of(process);

            // Of the rest, copies of one dispatch under other numbers: to the queue and the wire they are as good as
            // any.
            await FillAsync(pair, Deep - Real - 100);
            var deep = await LeaseAsync(pair);
            var beside = await LivingAsync(pair, living);
            dispatches.Add(
                (
                    await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
                ).DispatchId);
            await using (var list = GatewayProcess.Run(pair.A.Options, null, "queue", "list"))
            {
                (await list.EndAsync()).ShouldBe(0);
                list.Said.Split('\n').Length.ShouldBeGreaterThan(900);
            }

            await FillAsync(pair, 200);
            await Pressure.ProblemAsync(http, "queue-full");
            // Another process, which counts for itself and not at each submission: a few more than the limit may be
            // taken.
            (
                await TwoGateways.EventuallyAsync(
                    async () =>
                    {
                        try
                        {
                            dispatches.Add(
                                (
                                    await pair.A.Node.SubmitAsync(
                                        TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
                                ).DispatchId);
                            return null;
                        }
                        catch (StorageUnavailableException e)
                        {
                            return e.Message;
                        }
                    },
                    "a refusal")
            ).ShouldContain("queue of what is to go out is full");
            // What comes in is no part of that queue: two gateways full of mail for each other still take it.
            (await SharedPair.DeliverToAAsync(pair, "From: a@b.test\r\n\r\nx\r\n"u8.ToArray())).State.ShouldBe(
                "recorded");
            var at = Pressure.Of(process);

            var all = Environment.GetEnvironmentVariable("SECUREMAIL_TEST_LONG") is not null;
            if (!all)
            {
                await pair.A.Probe.Outgoing.DropCopiesAsync(but: Part);
            }

            var waiting = await pair.A.Probe.Queue.CountAsync(WorkKind.Send, destination: "gateway-b.test");
            var clock = Stopwatch.StartNew();
            pair.B.Run();
            await TwoGateways.EventuallyAsync(
                () => Task.FromResult(pair.B.Node.SmtpEndpoint), "the destination to come");
            await pair.A.Probe.Queue.ProbeDestinationsAsync();
            for (long left = waiting, last = waiting; left > 0; last = left)
            {
                await TwoGateways.UntilAsync(
                    async () =>
                        (left = await pair.A.Probe.Queue.CountAsync(WorkKind.Send)) < last
                        || left == 0,
                    "the queue to go on draining");
            }

            var sent = clock.Elapsed;
            await TwoGateways.UntilAsync(
                async () => await pair.B.Probe.Queue.CountAsync() == 0,
                "the destination to judge what came");
            foreach (var dispatch in dispatches)
            {
                await Outcome.DeliveredOnceAsync(
                    pair.A, new Dictionary<string, RunningGateway> { [TwoGateways.AnHoa] = pair.B }, dispatch);
            }

            await Pressure.ReadyAsync(http);
            // The dispatch that was copied may have been answered by a copy's receipt before its own turn came. Then it
            // is
            // not sent any more.
            (await pair.B.Probe.Incoming.ReceivedAsync()).ShouldBeGreaterThanOrEqualTo(waiting - 1,
                string.Join(
                    "; ",
                    await pair.A.Probe.Outgoing.DescribeTransmissionsAsync()));
            var after = Pressure.Of(process);
            output.WriteLine(
                $"{Deep} messages behind a destination that is away: leasing takes {deep:F1} ms instead of "
                    + $"{empty:F1} ms, {Living} messages elsewhere {beside.TotalSeconds:F1} s instead of "
                    + $"{alone.TotalSeconds:F1} s, refused from {Deep} on; "
                    + $"RSS {before.Rss} → {at.Rss} → {after.Rss} MiB, descriptors {before.Descriptors} → "
                    + $"{after.Descriptors}; {waiting} drained in {sent.TotalSeconds:F1} s, "
                    + $"{waiting / sent.TotalSeconds:F0} a second"
            );
            at.Rss.ShouldBeLessThan(before.Rss + 120);
            after.Rss.ShouldBeLessThan(before.Rss + 300);
            deep.ShouldBeLessThan((10 * empty) + 20);
            (beside / alone).ShouldBeLessThan(5);
        }
        finally
        {
            await living.DisposeAsync();
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>How long a few messages to a destination that is there take, from submission to the last dot.</summary>
    private static async Task<TimeSpan> LivingAsync(TwoGateways pair, HostilePeer living)
    {
        var (before, clock) = (living.Copies, Stopwatch.StartNew());
        for (var n = 0; n < Living / 10; n++)
        {
            await pair.A.Node.SubmitAsync(
                TwoGateways.Submission([.. Enumerable.Range(0, 10).Select(i => $"H90.OK.{i:000}")]),
                CancellationToken.None);
        }

        await TwoGateways.UntilAsync(
            () => Task.FromResult(living.Copies >= before + Living), "the living destination's messages");
        return clock.Elapsed;
    }

    /// <summary>The median time of asking what is due and leasing it, milliseconds. Another owner's lease of nothing:
    /// the destination backs off.</summary>
    private static async Task<double> LeaseAsync(TwoGateways pair)
    {
        List<double> took = [];
        for (var n = 0; n < 21; n++)
        {
            var clock = Stopwatch.StartNew();
            await pair.A.Node.Queue.NextAsync(["seal", "send", "judge", "receipt"], CancellationToken.None);
            await using var connection = await pair.A.Node.Database.Source.OpenConnectionAsync();
            await using var transaction = await connection.BeginTransactionAsync();
            await using var command = new Npgsql.NpgsqlCommand(
                $"{LeaseByDestination.Pick(16, new DestinationLimits(4, 8))} SELECT count(*) FROM pick", connection,
                transaction);
            command.Parameters.AddWithValue("kind", "send");
            command.Parameters.AddWithValue("owner", "nobody");
            command.Parameters.AddWithValue("lease", TimeSpan.FromSeconds(20));
            await command.ExecuteScalarAsync();
            await transaction.RollbackAsync();
            took.Add(clock.Elapsed.TotalMilliseconds);
        }

        took.Sort();
        return took[took.Count / 2];
    }

    private static async Task FillAsync(TwoGateways pair, int rows)
    {
        await pair.A.Probe.Outgoing.CopyQueuedAsync(TwoGateways.AnHoa, rows);
    }
}
