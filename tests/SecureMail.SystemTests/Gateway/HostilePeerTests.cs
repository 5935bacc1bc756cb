using System.Diagnostics;
using Microsoft.Extensions.Logging.Abstractions;
using SecureMail.Exchange;
using SecureMail.Gateway;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Storage.Queue;
using Xunit.Abstractions;

namespace SecureMail.SystemTests.Gateway;

/// <summary>Peers that do what no honest gateway does; each is a destination of its own, and one dispatch goes to them
/// all at once.</summary>
public sealed class HostilePeerTests(PostgresFixture postgres, ITestOutputHelper output)
    : IClassFixture<PostgresFixture>
{
    private const string Sent = "sent",
        Unknown = "unknown sent",
        Failed = "failed",
        SentOrUnknown = Sent + "|" + Unknown;

    // What the peer's first connection meets, and what must become of the transmission; every later connection is
    // served well. After the states stand how many whole messages the peer got: two is a duplicate, which a gateway
    // tells by its digest (UnknownSendTests, CutConnectionTests).
    private static readonly (string At, string Do, string States, int Messages)[] Once =
    [
        // Silence in each state: ended by that state's timeout. The body of a small message is sent whole before
        // anybody could notice, so it is unknown.
        ("greeting", "hang", Sent, 1),
        ("ehlo", "hang", Sent, 1),
        ("starttls", "hang", Sent, 1),
        ("tls", "hang", Sent, 1),
        ("ehlo2", "hang", Sent, 1),
        ("mail", "hang", Sent, 1),
        ("rcpt", "hang", Sent, 1),
        ("data", "hang", Sent, 1),
        ("body", "hang", Unknown, 1),
        ("dot", "hang", Unknown, 2),
        ("quit", "hang", Sent, 1),
        // The connection ends in each state. Once 250 was said, it is sent, whatever QUIT meets. A reset within the
        // body is noticed before or after the dot has left.
        ("greeting", "reset", Sent, 1),
        ("ehlo", "close", Sent, 1),
        ("starttls", "reset", Sent, 1),
        ("tls", "reset", Sent, 1),
        ("ehlo2", "reset", Sent, 1),
        ("mail", "reset", Sent, 1),
        ("rcpt", "close", Sent, 1),
        ("data", "reset", Sent, 1),
        ("body", "reset", SentOrUnknown, 1),
        ("dot", "reset", Unknown, 2),
        ("dot", "close", Unknown, 2),
        ("quit", "reset", Sent, 1),
        // 4xx: later. At the greeting every refusal is the host's.
        ("greeting", "421 4.3.2 closing\r\n", Sent, 1),
        ("greeting", "554 5.3.2 no SMTP service here\r\n", Sent, 1),
        ("ehlo", "550 5.7.1 not you\r\n", Sent, 1),
        ("starttls", "454 4.7.0 no TLS now\r\n", Sent, 1),
        ("ehlo2", "502 5.5.1 no\r\n", Sent, 1),
        ("mail", "451 4.3.0 disk full\r\n", Sent, 1),
        ("mail", "530 5.7.0 STARTTLS first\r\n", Sent, 1),
        ("rcpt", "450 4.2.1 busy\r\n", Sent, 1),
        ("data", "421 4.3.2 closing\r\n", Sent, 1),
        ("dot", "452 4.3.1 disk full\r\n", Sent, 2),
        // 5xx to the message: never again by itself, though the peer would take it the next time.
        ("mail", "550 5.7.1 not from you\r\n", Failed, 0),
        ("rcpt", "550 5.1.1 nobody here\r\n", Failed, 0),
        ("data", "554 5.5.1 no\r\n", Failed, 0),
        ("dot", "554 5.6.0 not this\r\n", Failed, 1),
        ("dot", "552 5.3.4 too large\r\n", Failed, 1),
        // Garbage.
        ("greeting", "\0\u0001\u00ff\u00fe\0\0\r\n\u0080\u0081\r\n", Sent, 1),
        ("greeting", "HTTP/1.1 400 Bad Request\r\n\r\n", Sent, 1),
        ("ehlo", "250-a\r\n251 b\r\n", Sent, 1),
        ("ehlo", "250 no TLS here\r\n", Sent, 1),
        ("ehlo2", "ENDLESS", Sent, 1),
        ("ehlo2", "ENDLESS LINES", Sent, 1),
        ("starttls", "220 go\r\n250 injected\r\n", Sent, 1),
        ("tls", "raw", Sent, 1),
        ("mail", "raw", Sent, 1),
        ("mail", "354 go on\r\n", Sent, 1),
        ("rcpt", "354 go on\r\n", Sent, 1),
        ("data", "250 ok\r\n", Sent, 1),
        ("data", "ENDLESS", Sent, 1),
        ("dot", "354 go on\r\n", Unknown, 2),
        ("dot", "raw", Unknown, 2),
        ("dot", "220 what\n", Unknown, 2),
        ("dot", "ENDLESS", Unknown, 2),
        ("quit", "ENDLESS", Sent, 1),
        ("quit", "raw", Sent, 1),
    ];

    [Fact]
    public async Task Each_peer_brings_its_transmission_into_the_one_right_state()
    {
        var started = Stopwatch.GetTimestamp();
        var folder = Directory.CreateTempSubdirectory("smhostile").FullName;
        var peers = Once.Select(
                (row, n) =>
                    new HostilePeer($"hostile-{n}.test", folder, c =>
                        c == 1 ? new PeerFault(row.At, Endless(row.Do)) : null))
            .ToList();
        // Four that never change: refuse for ever, take and forget, and two that go on being cut.
        peers.Add(new HostilePeer("later-for-ever.test", folder, _ => new PeerFault("rcpt", "450 4.2.1 later\r\n")));
        peers.Add(new HostilePeer("dead-for-ever.test", folder, _ => new PeerFault("greeting", "close")));
        peers.Add(new HostilePeer("forgets.test", folder, _ => null));
        try
        {
            await using var pair = await StartAsync(peers);
            var codes = peers.Select((_, n) => $"H90.XX.{n:000}").ToArray();
            var answer = await pair.A.Node.SubmitAsync(TwoGateways.Submission(codes), CancellationToken.None);
            var settled = await pair.A.OutgoingAsync(answer.DispatchId, d =>
                d.Recipients.Count(r => r.State is "sent" or "failed") == Once.Length + 1);
            var stories = (
                await pair.A.Node.Ledger.AuditTrailAsync(answer.DispatchId, CancellationToken.None)
            ).ToLookup(l => l.Object, l => l.Kind.Split('.')[1]);
            var settling = Stopwatch.GetElapsedTime(started);
            List<string> wrong = [];
            for (var n = 0; n < Once.Length; n++)
            {
                var (at, what, states, messages) = Once[n];
                var story = string.Join(
                    ' ', stories[settled.Recipients.Single(r => r.Code == codes[n]).Transmission.ToString()]);
                if (!states.Split('|').Contains(story) || peers[n].Messages != messages)
                {
                    wrong.Add(
                        $"{at} {what.Trim()}: {story} with {peers[n].Messages} messages in "
                            + $"{peers[n].Connections} connections, not {states} with {messages}"
                    );
                }
            }

            wrong.ShouldBeEmpty();
            await NeverAsync(pair, peers, settled);
            output.WriteLine(
                $"{Once.Length} hostile peers, one dispatch to each: all ended as they must; 2 were given up, "
                    + $"1 is overdue; {peers.Sum(p => p.Connections)} connections, "
                    + $"{Stopwatch.GetElapsedTime(started).TotalSeconds:0.0} s, of it {settling.TotalSeconds:0.0} s "
                    + "to settle"
            );
        }
        finally
        {
            foreach (var peer in peers)
            {
                await peer.DisposeAsync();
            }

            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Those that never deliver: told late once, then given up, with notices; and one that took it and forgot:
    /// overdue, and never sent again.</summary>
    private static async Task NeverAsync(TwoGateways pair, List<HostilePeer> peers, OutgoingDispatch settled)
    {
        var (later, dead, forgets) = (
            Of(settled, peers.Count - 3), Of(settled, peers.Count - 2), Of(settled, peers.Count - 1));
        (later.State, dead.State, forgets.State).ShouldBe(("queued", "queued", "sent"));
        var options = new DeliveryOptions();
        var giveUp = new GiveUp(pair.A.Node.Database, options, TimeProvider.System, NullLogger<GiveUp>.Instance);
        (
            await giveUp.AddDelayNoticesAsync(CancellationToken.None) + await giveUp.GiveUpAsync(CancellationToken.None)
        ).ShouldBe(0);

        await pair.A.Probe.Outgoing.QueuedAgoAsync(TimeSpan.FromHours(5));
        // A node whose own clock is a year ahead or behind tells and gives up nothing more: the database's clock
        // counts.
        var wrongClock = new GiveUp(
            pair.A.Node.Database, options, new ShiftedTime(TimeSpan.FromDays(365)), NullLogger<GiveUp>.Instance);
        (
            await Task.WhenAll(
                giveUp.AddDelayNoticesAsync(CancellationToken.None),
                wrongClock.AddDelayNoticesAsync(CancellationToken.None)))
            .Sum()
            .ShouldBe(2);
        (
            await wrongClock.AddDelayNoticesAsync(CancellationToken.None)
            + await wrongClock.GiveUpAsync(CancellationToken.None)).ShouldBe(0);
        var down = (await pair.A.Node.Destinations.BackingOffAsync(CancellationToken.None)).ShouldHaveSingleItem();
        (down.Destination, down.LastError, down.Failures > 1).ShouldBe(("dead-for-ever.test", "ConnectionLost", true));

        await pair.A.Probe.Outgoing.QueuedAgoAsync(TimeSpan.FromDays(6));
        await pair.A.Probe.Outgoing.SentAgoAsync(TimeSpan.FromDays(2));
        await TwoGateways.UntilAsync(
            async () =>
            {
                await Task.WhenAll(
                    giveUp.GiveUpAsync(CancellationToken.None), giveUp.GiveUpAsync(CancellationToken.None));
                return await pair.A.Probe.Outgoing.TransmissionsAsync([TransmissionState.Queued]) == 0;
            },
            "what is too old to be given up");
        await new Overdue(pair.A.Node.Database, options, TimeProvider.System, NullLogger<Overdue>.Instance).MarkAsync(
            CancellationToken.None);

        var notices = await pair.A.Node.Notices.ListAsync(TwoGateways.Province, 500, CancellationToken.None);
        NoticesOf(notices, later).ShouldBe(["delayed  Refused 450 4.2.1", "failed GIVEN_UP Refused 450 4.2.1"]);
        NoticesOf(notices, dead).ShouldBe(["delayed  ConnectionLost", "failed GIVEN_UP ConnectionLost"]);
        NoticesOf(notices, forgets).ShouldHaveSingleItem().ShouldStartWith("overdue");
        foreach (var refused in settled.Recipients.Where(r => r.State == "failed"))
        {
            NoticesOf(notices, refused).ShouldHaveSingleItem().ShouldBe($"failed {refused.Reason} {refused.Reason}");
        }

        var story = await pair.A.Node.Ledger.AuditTrailAsync(settled.Id, CancellationToken.None);
        foreach (var never in new[] { later, dead })
        {
            story
                .Where(l => l.Object == never.Transmission.ToString())
                .Select(l => l.Kind)
                .ShouldBe(["dispatch.failed"]);
        }

        // Nothing is left to do, and nobody sends to the one that forgot: its clerk is told instead.
        (await pair.A.Probe.Queue.CountAsync(WorkKind.Send)).ShouldBe(0);
        (peers[^1].Connections, peers[^1].Messages).ShouldBe((1, 1));
    }

    private static OutgoingRecipient Of(OutgoingDispatch dispatch, int n) =>
        dispatch.Recipients.Single(r => r.Code == $"H90.XX.{n:000}");

    private static List<string> NoticesOf(IReadOnlyList<SenderNotice> notices, OutgoingRecipient recipient) =>
        [
            .. notices
                .Where(n => n.RecipientCode == recipient.Code)
                .OrderBy(n => n.Id)
                .Select(n => $"{n.Action} {n.Reason} {n.Diagnostic}"),
        ];

    private static string Endless(string what) =>
        what switch
        {
            "ENDLESS" => "250-" + new string('x', 200_000),
            "ENDLESS LINES" => string.Concat(Enumerable.Repeat("250-more\r\n", 5000)),
            _ => what,
        };

    private async Task<TwoGateways> StartAsync(List<HostilePeer> peers) =>
        await TwoGateways.StartAsync(
            postgres,
            changeA: o =>
                o with
                {
                    SmtpTimeouts = SmtpClientTimeouts.All(TimeSpan.FromSeconds(2)) with
                    {
                        Farewell = TimeSpan.FromMilliseconds(500),
                    },
                    Retry = new RetrySchedule(TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(1)),
                    Probe = new RetrySchedule(TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(1)),
                },
            changeDirectory: d =>
            {
                var like = d.Agencies.Single(a => a.Names.Any(n => n.Code == TwoGateways.BinhMinh));
                return d with
                {
                    Gateways = [.. d.Gateways, .. peers.Select(p => p.Record)],
                    Agencies = [.. d.Agencies, .. peers.Select((p, n) => p.Agency(like, n))],
                };
            });
}
