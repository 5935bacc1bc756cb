using System.Diagnostics;
using SecureMail.Exchange;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.Storage.Queue;
using Xunit.Abstractions;

namespace SecureMail.FaultTests;

/// <summary>A destination that takes connections and then hangs, each time in another state, with the timeouts of a
/// real gateway: nobody else waits for it.</summary>
public sealed class DeadDestinationTests(PostgresFixture postgres, ITestOutputHelper output)
    : IClassFixture<PostgresFixture>
{
    private const int Dispatches = 10,
        Each = 10;
    private static readonly string[] States =
    [
        "greeting",
        "ehlo",
        "starttls",
        "tls",
        "ehlo2",
        "mail",
        "rcpt",
        "data",
        "body",
        "dot",
    ];

    [Fact]
    public async Task A_destination_that_hangs_in_every_state_delays_no_other()
    {
        var folder = Directory.CreateTempSubdirectory("smhang").FullName;
        var living = new HostilePeer("living.test", folder, _ => null);
        var hanging = new HostilePeer("hanging.test", folder, n => new PeerFault(States[n % States.Length], "hang"));
        try
        {
            await using var pair = await TwoGateways.StartAsync(
                postgres, changeDirectory: d => Served(d, (living, "H90.OK"), (hanging, "H90.NO")));
            try
            {
                var without = await RunAsync(pair, living);
                for (var n = 0; n < 8; n++)
                {
                    await pair.A.Node.SubmitAsync(TwoGateways.Submission(Codes("H90.NO")), CancellationToken.None);
                }

                await TwoGateways.UntilAsync(
                    async () => await pair.A.Probe.Queue.BatchesUnderWayAsync("hanging.test") == 4,
                    "the hanging lane's share to be taken");
                var with = await RunAsync(pair, living);
                // All of it passed while four slots hung: no more than its share was ever taken, and not one of its
                // messages was done with.
                // Two of the four wait to open their connections, because the first two hang before TLS.
                hanging.Connections.ShouldBe(2);
                (await pair.A.Probe.Queue.CountAsync(destination: "hanging.test")).ShouldBe(80);
                (await pair.A.Probe.Queue.BatchesUnderWayAsync("hanging.test")).ShouldBe(4);
                output.WriteLine(
                    $"{Dispatches} messages for {Each} agencies of a living gateway: "
                        + $"{without.TotalSeconds:0.0} s alone, {with.TotalSeconds:0.0} s while another with 8 "
                        + $"waiting hangs in 4 of 16 slots (ratio {with / without:0.00})"
                );
                (with / without).ShouldBeLessThan(5);
            }
            finally
            {
                // Before the gateway, or its end waits for the sessions that hang.
                await hanging.DisposeAsync();
            }
        }
        finally
        {
            await living.DisposeAsync();
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task A_destination_that_comes_back_gets_what_waited_and_our_own_database_is_never_its_fault()
    {
        var folder = Directory.CreateTempSubdirectory("smback").FullName;
        var down = true;
        var peer = new HostilePeer("comes-back.test", folder, _ => down ? new PeerFault("greeting", "reset") : null);
        try
        {
            await using var pair = await TwoGateways.StartAsync(
                postgres,
                changeA: o =>
                    o with
                    {
                        Probe = new RetrySchedule(TimeSpan.FromMilliseconds(100), TimeSpan.FromMilliseconds(400)),
                    },
                changeDirectory: d => Served(d, (peer, "H90.UP")));
            for (var n = 0; n < 4; n++)
            {
                await pair.A.Node.SubmitAsync(TwoGateways.Submission(Codes("H90.UP")), CancellationToken.None);
            }

            await TwoGateways.UntilAsync(
                async () =>
                    (await pair.A.Node.Destinations.BackingOffAsync(CancellationToken.None))
                        is [{ Failures: >= 5, Waiting: >= 30 }],
                "five failed probes");
            var probes = peer.Connections;
            // Forty wait, and it was not forty times that somebody knocked.
            probes.ShouldBeLessThan(16);
            down = false;
            await TwoGateways.UntilAsync(
                async () => await pair.A.Probe.Outgoing.TransmissionsAsync([TransmissionState.Sent]) == 40,
                "all that waited");
            (peer.Messages, peer.Copies).ShouldBe((4, 40));
            (await pair.A.Node.Destinations.BackingOffAsync(CancellationToken.None)).ShouldBeEmpty();

            // The database refuses what a send writes: tried again, and the destination, which is well, is not held to
            // have failed.
            await pair.A.Probe.Outgoing.RefuseSentAsync();
            var answer = await pair.A.Node.SubmitAsync(TwoGateways.Submission("H90.UP.000"), CancellationToken.None);
            await TwoGateways.EventuallyAsync(
                async () =>
                    (await pair.A.Node.Queue.ListAsync(CancellationToken.None)).FirstOrDefault(w =>
                        w is { Kind: "send", LastError: not null }),
                "an attempt that our database spoilt");
            (await pair.A.Probe.Queue.FailuresOfAsync("comes-back.test")).ShouldBe(0);
            await pair.A.Probe.Outgoing.AcceptSentAsync();
            await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients[0].State == "sent");
            output.WriteLine(
                $"40 messages behind one dead destination: {probes} connections while it was down; all 40 went "
                    + "when it came back"
            );
        }
        finally
        {
            await peer.DisposeAsync();
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task A_destination_that_calls_is_tried_at_once()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        // It was down for long, and its next probe is an hour away; only what it sends shows that it is back.
        await pair.A.Probe.Queue.BackOffAsync("gateway-b.test", 9, TimeSpan.FromHours(1));
        var waiting = await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        await pair.A.OutgoingAsync(waiting.DispatchId, d => d.Recipients[0].State == "queued");
        await pair.B.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.Province) with
            {
                Sender = TwoGateways.AnHoa,
            },
            CancellationToken.None);
        await pair.A.OutgoingAsync(waiting.DispatchId, d => d.Recipients[0].State == "acknowledged");
        (await pair.A.Node.Destinations.BackingOffAsync(CancellationToken.None)).ShouldBeEmpty();
    }

    [Fact]
    public async Task Agencies_behind_one_gateway_get_one_mail_and_each_answer_is_for_its_own()
    {
        var folder = Directory.CreateTempSubdirectory("smmany").FullName;
        // The first connection refuses the second recipient for good, the third one's for now.
        var peer = new HostilePeer("many.test", folder, n => n switch
            {
                1 => new PeerFault("rcpt2", "550 5.1.1 nobody\r\n"),
                2 => new PeerFault("rcpt2", "450 4.2.1 later\r\n"),
                _ => null,
            });
        try
        {
            await using var pair = await TwoGateways.StartAsync(
                postgres,
                changeA: o =>
                    o with
                    {
                        Retry = new RetrySchedule(TimeSpan.FromMilliseconds(100), TimeSpan.FromMilliseconds(500)),
                    },
                changeDirectory: d => Served(d, (peer, "H90.MY")));
            var refused = await pair.A.Node.SubmitAsync(
                TwoGateways.Submission(Codes("H90.MY")), CancellationToken.None);
            var first = await pair.A.OutgoingAsync(refused.DispatchId, d =>
                d.Recipients.All(r => r.State is "sent" or "failed"));
            first.Recipients.Count(r => r.State == "sent").ShouldBe(Each - 1);
            first.Recipients.Single(r => r.State == "failed").Reason.ShouldBe("Refused 550 5.1.1");
            (peer.Connections, peer.Messages, peer.Copies).ShouldBe((1, 1, Each - 1));

            var delayed = await pair.A.Node.SubmitAsync(
                TwoGateways.Submission(Codes("H90.MY")), CancellationToken.None);
            await pair.A.OutgoingAsync(delayed.DispatchId, d => d.Recipients.All(r => r.State == "sent"));
            (peer.Connections, peer.Messages, peer.Copies).ShouldBe((3, 3, Each - 1 + Each));
            (await pair.A.Probe.Ledger.EntriesAsync(EntryKind.DispatchSent)).ShouldBe((2 * Each) - 1);
            await TwoGateways.UntilAsync(
                async () => await pair.A.Probe.Queue.CountAsync() == 0,
                "nothing left to do");
            output.WriteLine(
                $"2 dispatches to {Each} agencies of one gateway: {peer.Connections} connections, "
                    + $"{peer.Messages} mails, {peer.Copies} delivered, 1 refused, 1 put off and sent by itself"
            );
        }
        finally
        {
            await peer.DisposeAsync();
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string[] Codes(string prefix) => [.. Enumerable.Range(0, Each).Select(n => $"{prefix}.{n:000}")];

    private static async Task<TimeSpan> RunAsync(TwoGateways pair, HostilePeer living)
    {
        var before = living.Copies;
        var started = Stopwatch.GetTimestamp();
        for (var n = 0; n < Dispatches; n++)
        {
            await pair.A.Node.SubmitAsync(TwoGateways.Submission(Codes("H90.OK")), CancellationToken.None);
        }

        await TwoGateways.UntilAsync(
            () => Task.FromResult(living.Copies >= before + (Dispatches * Each)),
            "the living gateway's messages");
        living.Copies.ShouldBe(before + (Dispatches * Each));
        return Stopwatch.GetElapsedTime(started);
    }

    /// <summary>The directory with gateways more, each of which serves agencies of its own.</summary>
    private static DirectoryDocument Served(
        DirectoryDocument directory, params (HostilePeer Peer, string Codes)[] peers)
    {
        var like = directory.Agencies.Single(a => a.Names.Any(n => n.Code == TwoGateways.BinhMinh));
        return directory with
        {
            Gateways = [.. directory.Gateways, .. peers.Select(p => p.Peer.Record)],
            Agencies =
            [
                .. directory.Agencies,
                .. peers.SelectMany(p => Enumerable.Range(0, Each).Select(n => p.Peer.Agency(like, n, p.Codes))),
            ],
        };
    }
}
