using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Mail.Smtp.Server;

namespace SecureMail.Tests.Mail;

/// <summary>Connections without a known certificate, many at once and from many addresses, and peers beside
/// them.</summary>
public sealed class SmtpStrangersTests : IDisposable
{
    private readonly X509Certificate2 _server = TestCertificates.SelfSigned("mx.test");
    private readonly X509Certificate2 _peer = TestCertificates.SelfSigned("peer.test");

    public void Dispose()
    {
        _server.Dispose();
        _peer.Dispose();
    }

    [Fact]
    public async Task Sixty_six_strangers_shut_no_peer_out_and_the_oldest_give_way()
    {
        await using var server = await StartAsync();
        var strangers = new List<RawPeer>();
        // 22 addresses with three connections each: two more than there are places.
        for (var n = 0; n < 66; n++)
        {
            strangers.Add(await GreetedAsync(server, AddressOf(n / 3)));
        }

        await GaveWayAsync(strangers[0]);
        await GaveWayAsync(strangers[1]);
        await using (var client = await SmtpClient.ConnectAsync(PeerOf(server), TimeProvider.System))
        {
            // The peer's connection, before it had TLS, took the place of the third. It has given that place back.
            await GaveWayAsync(strangers[2]);
            var mail = new MemoryStream(Encoding.ASCII.GetBytes("Subject: x\r\n\r\nx\r\n"));
            (await client.SendAsync("a@peer.test", ["b@mx.test"], mail))[0].Outcome.ShouldBe(SmtpOutcome.Delivered);
            strangers.Add(await GreetedAsync(server, AddressOf(0)));
        }

        server.Taken.ShouldHaveSingleItem();
        foreach (var stranger in strangers[3..])
        {
            (await stranger.AskAsync("NOOP")).ShouldStartWith("250");
        }

        await DisposeAsync(strangers);
    }

    [Fact]
    public async Task The_fourth_stranger_of_an_address_is_refused_and_gets_in_when_one_has_gone()
    {
        await using var server = await StartAsync();
        var strangers = new List<RawPeer>();
        for (var n = 0; n < 3; n++)
        {
            strangers.Add(await GreetedAsync(server, IPAddress.Loopback));
        }

        await using (var fourth = await RawPeer.ConnectAsync(server.Endpoint, IPAddress.Loopback))
        {
            (await fourth.ReplyAsync()).ShouldStartWith("421 4.7.0");
            (await fourth.ReplyAsync()).ShouldBeNull();
        }

        await using (await GreetedAsync(server, AddressOf(1)))
        {
            (await strangers[0].AskAsync("QUIT")).ShouldStartWith("221");
            (await strangers[0].ReplyAsync()).ShouldBeNull();
            // The place is given back just after the connection is closed.
            string? greeting;
            do
            {
                await using var again = await RawPeer.ConnectAsync(server.Endpoint, IPAddress.Loopback);
                greeting = await again.ReplyAsync();
            }
            while (greeting!.StartsWith("421", StringComparison.Ordinal));
            greeting.ShouldStartWith("220");
        }

        await DisposeAsync(strangers);
    }

    [Fact]
    public async Task Authenticated_connections_do_not_count_for_their_address()
    {
        await using var server = await StartAsync();
        var peers = new List<RawPeer>();
        for (var n = 0; n < 6; n++)
        {
            peers.Add(await AuthenticatedAsync(server, IPAddress.Loopback));
        }

        for (var n = 0; n < 3; n++)
        {
            peers.Add(await GreetedAsync(server, IPAddress.Loopback));
        }

        foreach (var peer in peers)
        {
            (await peer.AskAsync("NOOP")).ShouldStartWith("250");
        }

        await DisposeAsync(peers);
    }

    [Fact]
    public async Task Half_of_the_places_are_peers_alone_whatever_is_configured()
    {
        await using var server = await StartAsync(
            new SmtpServerLimits { Connections = 8, UnauthenticatedConnections = 100, ConnectionsPerAddress = 100 });
        var strangers = new List<RawPeer>();
        for (var n = 0; n < 5; n++)
        {
            strangers.Add(await GreetedAsync(server, AddressOf(n)));
        }

        await GaveWayAsync(strangers[0]);
        var peers = new List<RawPeer>();
        for (var n = 0; n < 4; n++)
        {
            peers.Add(await AuthenticatedAsync(server, IPAddress.Loopback));
        }

        await using var fifth = await GreetedAsync(server, IPAddress.Loopback);
        await SecureAsync(fifth, _peer);
        (await fifth.AskAsync("EHLO peer.test")).ShouldStartWith("421 4.7.0");
        foreach (var peer in peers)
        {
            (await peer.AskAsync("NOOP")).ShouldStartWith("250");
        }

        await DisposeAsync([.. strangers, .. peers]);
    }

    [Fact]
    public async Task A_connection_from_an_address_of_a_peer_gives_way_after_all_others()
    {
        await using var server = await StartAsync(new SmtpServerLimits { UnauthenticatedConnections = 3 });
        await using (var peer = await AuthenticatedAsync(server, AddressOf(1)))
        {
            (await peer.AskAsync("QUIT")).ShouldStartWith("221");
        }

        await using var known = await GreetedAsync(server, AddressOf(1));
        var strangers = new List<RawPeer>();
        for (var n = 2; n < 6; n++)
        {
            strangers.Add(await GreetedAsync(server, AddressOf(n)));
        }

        await GaveWayAsync(strangers[0]);
        await GaveWayAsync(strangers[1]);
        (await known.AskAsync("NOOP")).ShouldStartWith("250");
        // Where there are no others it gives way, too.
        var own = new List<RawPeer>
        {
            await GreetedAsync(server, AddressOf(1)),
            await GreetedAsync(server, AddressOf(1)),
        };
        await GaveWayAsync(strangers[2]);
        await GaveWayAsync(strangers[3]);
        strangers.Add(await GreetedAsync(server, AddressOf(7)));
        await GaveWayAsync(known);
        await DisposeAsync([.. strangers, .. own]);
    }

    [Fact]
    public async Task Half_a_handshake_gives_way()
    {
        await using var server = await StartAsync(new SmtpServerLimits { UnauthenticatedConnections = 1 });
        await using var half = await GreetedAsync(server, AddressOf(1));
        (await half.AskAsync("EHLO x.test"))!.ShouldContain("STARTTLS");
        (await half.AskAsync("STARTTLS")).ShouldStartWith("220");
        await half.WriteAsync("\u0016\u0003\u0001\u0002\0\u0001\0");
        await using var other = await GreetedAsync(server, AddressOf(2));
        await half.ReadToEndAsync();
        (await other.AskAsync("NOOP")).ShouldStartWith("250");
    }

    [Fact]
    public async Task Where_no_peer_is_asked_for_TLS_keeps_the_place_and_the_newcomer_is_refused()
    {
        await using var server = await TestServer.StartAsync(o =>
            o with { Certificate = _server, Limits = new SmtpServerLimits { UnauthenticatedConnections = 2 } });
        await using var first = await GreetedAsync(server, AddressOf(1));
        await using var second = await GreetedAsync(server, AddressOf(2));
        foreach (var peer in new[] { first, second })
        {
            await SecureAsync(peer, null);
            (await peer.AskAsync("EHLO x.test")).ShouldStartWith("250");
        }

        await using var third = await RawPeer.ConnectAsync(server.Endpoint, AddressOf(3));
        (await third.ReplyAsync()).ShouldStartWith("421 4.7.0");
        (await first.AskAsync("NOOP")).ShouldStartWith("250");
        (await second.AskAsync("NOOP")).ShouldStartWith("250");
    }

    /// <summary>RFC 4291 §2.5.4: the network has 64 bits.</summary>
    [Theory]
    [InlineData("2001:db8::1", "2001:db8::ffff:2", false)]
    [InlineData("2001:db8::1", "2001:db8:0:1::1", true)]
    [InlineData("::ffff:192.0.2.1", "192.0.2.1", false)]
    [InlineData("192.0.2.1", "192.0.2.2", true)]
    public void A_network_of_one_subscriber_counts_as_one_address(string first, string second, bool entersBoth)
    {
        var limiter = new ConnectionLimiter(new SmtpServerLimits { ConnectionsPerAddress = 1 });
        limiter.TryEnter(IPAddress.Parse(first)).ShouldNotBeNull();
        (limiter.TryEnter(IPAddress.Parse(second)) is not null).ShouldBe(entersBoth);
    }

    private static IPAddress AddressOf(int n) => new([127, 0, 1, (byte)(n + 1)]);

    private Task<TestServer> StartAsync(SmtpServerLimits? limits = null) =>
        TestServer.StartAsync(o =>
            o with
            {
                Certificate = _server,
                RequireTls = true,
                AuthenticatePeer = shown => shown.Thumbprint == _peer.Thumbprint ? "peer.test" : null,
                Limits = limits ?? new SmtpServerLimits(),
            });

    private SmtpClientOptions PeerOf(TestServer server) =>
        server.ClientOptions with { RequireTls = true, ClientCertificate = _peer, PinServer = _ => true };

    private static async Task<RawPeer> GreetedAsync(TestServer server, IPAddress from)
    {
        var peer = await RawPeer.ConnectAsync(server.Endpoint, from);
        (await peer.ReplyAsync()).ShouldStartWith("220");
        return peer;
    }

    private async Task<RawPeer> AuthenticatedAsync(TestServer server, IPAddress from)
    {
        var peer = await GreetedAsync(server, from);
        await SecureAsync(peer, _peer);
        (await peer.AskAsync("EHLO peer.test")).ShouldStartWith("250");
        return peer;
    }

    private static async Task SecureAsync(RawPeer peer, X509Certificate2? own)
    {
        (await peer.AskAsync("EHLO peer.test")).ShouldStartWith("250");
        (await peer.AskAsync("STARTTLS")).ShouldStartWith("220");
        await peer.AsClientAsync(own);
    }

    private static async Task GaveWayAsync(RawPeer peer)
    {
        (await peer.ReplyAsync()).ShouldStartWith("421 4.7.0");
        (await peer.ReplyAsync()).ShouldBeNull();
    }

    private static async Task DisposeAsync(IEnumerable<RawPeer> peers)
    {
        foreach (var peer in peers)
        {
            await peer.DisposeAsync();
        }
    }
}
