using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using SecureMail.Gateway;
using SecureMail.Gateway.Health;
using SecureMail.Mail.Smtp.Server;
using Xunit.Abstractions;

namespace SecureMail.FaultTests;

/// <summary>Too many connections, and connections that are too slow: bounded, refused at once, and the others are
/// served.</summary>
public sealed class ConnectionPressureTests(PostgresFixture postgres, ITestOutputHelper output)
    : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task Of_two_hundred_connections_at_once_those_over_the_limits_are_refused_and_the_others_served()
    {
        const int All = 200,
            PerAddress = 120,
            PerPeer = 40,
            PerPeerMessages = 20;
        var limits = new SmtpServerLimits
        {
            UnauthenticatedConnections = PerAddress,
            ConnectionsPerAddress = PerAddress,
            ConnectionsPerPeer = PerPeer,
            Messages = PerPeerMessages + 5,
            MessagesPerPeer = PerPeerMessages,
        };
        var folder = Directory.CreateTempSubdirectory("smcrowd").FullName;
        // Only its key is wanted: another gateway that the directory knows.
        var other = new HostilePeer("other.test", folder, _ => null);
        try
        {
            await using var pair = await TwoGateways.StartAsync(
                postgres, changeB: o => o with { SmtpLimits = limits },
                changeDirectory: d => d with { Gateways = [.. d.Gateways, other.Record] }, run: false);
            var http = TestPorts.Next();
            await using var process = GatewayProcess.Serve(pair.B.Options, http);
            await Pressure.ReadyAsync(http);
            // From another address: its place is given back after its connection has ended, and nobody sees when.
            await Pressure.MailAsync(pair, IPAddress.Parse("127.0.0.2"));
            var (before, callers) = (Pressure.Of(process), Pressure.OfCallers(process));
            var clock = Stopwatch.StartNew();

            var crowd = await Task.WhenAll(Enumerable.Range(0, All).Select(_ => Pressure.ConnectAsync(pair.B.Port)));
            var greeted = crowd
                .Where(c => c.Greeting!.StartsWith("220", StringComparison.Ordinal))
                .Select(c => c.Peer)
                .ToList();
            greeted.Count.ShouldBe(PerAddress);
            crowd.Count(c => c.Greeting!.StartsWith("421 4.7.0", StringComparison.Ordinal)).ShouldBe(All - PerAddress);
            var turnedAway = clock.Elapsed;

            // Those within the limit of the address, but for five places, are all one peer.
            var one = greeted.Take(PerAddress - 5).ToList();
            var hellos = await Task.WhenAll(one.Select(p => Pressure.HelloAsync(p, pair.A.Node.Identity.Tls)));
            hellos.Count(h => h is not null && h.StartsWith("250", StringComparison.Ordinal)).ShouldBe(PerPeer);
            hellos
                .Count(h => h is not null && h.StartsWith("421 4.7.0", StringComparison.Ordinal))
                .ShouldBe(PerAddress - 5 - PerPeer);
            var sessions = one.Where((_, n) => hellos[n]!.StartsWith("250", StringComparison.Ordinal)).ToList();
            var datas = await Task.WhenAll(sessions.Select(DataAsync));
            datas.Count(d => d.StartsWith("354", StringComparison.Ordinal)).ShouldBe(PerPeerMessages);
            datas.Count(d => d.StartsWith("452 4.3.2", StringComparison.Ordinal)).ShouldBe(PerPeer - PerPeerMessages);

            // One peer has all that it may have: another is served as ever, and health is not troubled.
            (await Pressure.HelloAsync(greeted[^1], other.Identity.Tls)).ShouldStartWith("250");
            (await DataAsync(greeted[^1])).ShouldStartWith("354");
            (await EndAsync(greeted[^1])).ShouldStartWith("250");
            (await Pressure.HealthAsync(http))!.Value.Status.ShouldBe(200);
            var at = Pressure.Of(process);
            foreach (
                var (session, n) in sessions
                    .Select((s, n) => (s, n))
                    .Where(s => datas[s.n].StartsWith("354", StringComparison.Ordinal)))
            {
                (await EndAsync(session)).ShouldStartWith("250", customMessage: $"session {n}");
            }

            foreach (var (peer, _) in crowd)
            {
                await peer.DisposeAsync();
            }

            (await pair.B.Probe.Incoming.ReceivedAsync()).ShouldBe(PerPeerMessages + 1);
            await Pressure.GivenBackAsync(process, callers, pair.B.Port, http);
            await Outcome.NothingLeftAsync(pair.B);
            var after = Pressure.Of(process);
            output.WriteLine(
                $"{All} connections at once: {All - PerAddress} refused within "
                    + $"{turnedAway.TotalMilliseconds:F0} ms, of one peer's {PerAddress - 5} "
                    + $"{PerAddress - 5 - PerPeer} refused, {PerPeer - PerPeerMessages} of its messages put off, "
                    + "another peer served; "
                    + $"RSS {before.Rss} → {at.Rss} → {after.Rss} MiB, descriptors {before.Descriptors} → "
                    + $"{at.Descriptors} → {after.Descriptors}, threads {before.Threads} → {at.Threads}; "
                    + $"{clock.Elapsed.TotalSeconds:F1} s"
            );
            at.Rss.ShouldBeLessThan(before.Rss + 200);
            at.Descriptors.ShouldBeLessThan(before.Descriptors + PerAddress + 60);
            at.Threads.ShouldBeLessThan(100);
        }
        finally
        {
            await other.DisposeAsync();
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task Whoever_sends_an_octet_now_and_then_is_cut_in_every_state_and_honest_peers_are_served_meanwhile()
    {
        const int Each = 5;
        var limits = new SmtpServerLimits
        {
            TimeToTls = TimeSpan.FromSeconds(4),
            TlsTimeout = TimeSpan.FromSeconds(2),
            CommandTimeout = TimeSpan.FromSeconds(3),
            ConnectionsPerAddress = 50,
            SessionTime = TimeSpan.FromSeconds(6),
            DataGrace = TimeSpan.FromSeconds(3),
            DataBytesPerSecond = 4096,
            DataBlockTimeout = TimeSpan.FromSeconds(3),
        };
        await using var pair = await TwoGateways.StartAsync(
            postgres, changeB: o => o with { SmtpLimits = limits }, run: false);
        var http = TestPorts.Next();
        await using var process = GatewayProcess.Serve(pair.B.Options, http);
        await Pressure.ReadyAsync(http);
        var (before, callers) = (Pressure.Of(process), Pressure.OfCallers(process));
        var clock = Stopwatch.StartNew();
        using var until = new CancellationTokenSource(TimeSpan.FromSeconds(40));
        var states = new Dictionary<string, Func<Task<TimeSpan>>>
        {
            // One line without an end; commands in time, but for ever no TLS; half a handshake; the same under TLS; and
            // a message.
            ["line"] = () => TrickleAsync(pair, tls: false, "", "E", until.Token),
            ["commands"] = () => TrickleAsync(pair, tls: false, "", "NOOP\r\n", until.Token),
            ["handshake"] = () =>
                TrickleAsync(
                    pair, tls: false, "EHLO x.test\r\nSTARTTLS\r\n", "\0", until.Token,
                    "\u0016\u0003\u0001\u0002\0\u0001\0\u0001\u00fc"),
            ["line under TLS"] = () => TrickleAsync(pair, tls: true, "", "N", until.Token),
            ["commands under TLS"] = () => TrickleAsync(pair, tls: true, "", "NOOP\r\n", until.Token),
            ["DATA"] = () =>
                TrickleAsync(pair, tls: true, $"{Pressure.Mail}\r\n{Pressure.Rcpt}\r\nDATA\r\n", "x", until.Token),
            ["HTTP head"] = () =>
                TrickleAsync(IPEndPoint.Parse($"127.0.0.1:{http}"), "GET /incoming HTTP/1.1\r\nX: ", "x", until.Token),
        };
        var slow = states.ToDictionary(s => s.Key, s => Enumerable.Range(0, Each).Select(_ => s.Value()).ToList());
        pair.A.Run();
        List<Guid> dispatches = [];
        for (var n = 0; n < 5; n++)
        {
            dispatches.Add(
                (
                    await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
                ).DispatchId);
        }

        foreach (var dispatch in dispatches)
        {
            await Outcome.DeliveredOnceAsync(
                pair.A, new Dictionary<string, RunningGateway> { [TwoGateways.AnHoa] = pair.B }, dispatch);
        }

        var served = clock.Elapsed;
        (await Pressure.HealthAsync(http))!.Value.Status.ShouldBe(200);
        var at = Pressure.Of(process);
        var cut = new Dictionary<string, TimeSpan>();
        foreach (var (state, all) in slow)
        {
            cut[state] = (await Task.WhenAll(all)).Max();
        }

        await Outcome.NothingLeftAsync(pair.A, pair.B);
        await Pressure.GivenBackAsync(process, callers, pair.B.Port, http);
        output.WriteLine(
            $"{Each} slow clients in each of {states.Count} states, cut after at most: "
                + $"{string.Join(", ", cut.Select(c => $"{c.Key} {c.Value.TotalSeconds:F1} s"))}; {dispatches.Count} "
                + $"dispatches delivered meanwhile within {served.TotalSeconds:F1} s; "
                + $"RSS {before.Rss} → {at.Rss} MiB, descriptors {before.Descriptors} → {at.Descriptors} → "
                + $"{Pressure.Of(process).Descriptors}"
        );
        cut.Values.ShouldAllBe(t => t < TimeSpan.FromSeconds(20));
    }

    private static async Task<string> DataAsync(RawPeer peer)
    {
        (await peer.AskAsync(Pressure.Mail)).ShouldStartWith("250");
        (await peer.AskAsync(Pressure.Rcpt)).ShouldStartWith("250");
        return await peer.AskAsync("DATA") ?? "";
    }

    private static async Task<string> EndAsync(RawPeer peer)
    {
        await peer.WriteAsync($"From: a@b.test\r\n\r\n{Guid.NewGuid()}\r\n");
        return await peer.AskAsync(".") ?? "";
    }

    private static async Task<TimeSpan> TrickleAsync(
        TwoGateways pair, bool tls, string first, string then, CancellationToken until, string? second = null)
    {
        var (peer, greeting) = await Pressure.ConnectAsync(pair.B.Port);
        greeting.ShouldStartWith("220");
        await using (peer)
        {
            if (tls)
            {
                (await Pressure.HelloAsync(peer, pair.A.Node.Identity.Tls)).ShouldStartWith("250");
            }

            return await TrickleAsync(text => peer.WriteAsync(text), peer.ReadToEndAsync(), first, then, until, second);
        }
    }

    private static async Task<TimeSpan> TrickleAsync(IPEndPoint to, string first, string then, CancellationToken until)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(to, until);
        var stream = client.GetStream();
        return await TrickleAsync(
            async text => await stream.WriteAsync(Encoding.ASCII.GetBytes(text), until), RawPeer.ReadToEndAsync(stream),
            first, then, until);
    }

    /// <summary>Writes a little four times a second until the other side has closed; how long that took.</summary>
    private static async Task<TimeSpan> TrickleAsync(
        Func<string, Task> write, Task closed, string first, string then, CancellationToken until,
        string? second = null)
    {
        var clock = Stopwatch.StartNew();
        try
        {
            await write(first);
            // The pace of the client is what is tested here; nothing waits for it.
            while (!closed.IsCompleted)
            {
                await write(second ?? then);
                second = null;
                await Task.WhenAny(closed, Task.Delay(250, until));
                until.ThrowIfCancellationRequested();
            }
        }
        catch (IOException)
        {
            // Cut while it wrote.
        }

        await closed.WaitAsync(until);
        return clock.Elapsed;
    }
}
