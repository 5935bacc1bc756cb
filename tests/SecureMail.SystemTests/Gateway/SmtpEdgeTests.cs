using System.Net;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SecureMail.Storage;

namespace SecureMail.SystemTests.Gateway;

/// <summary>The gateway's own listener, spoken to octet by octet.</summary>
public sealed class SmtpEdgeTests(SharedPair shared) : IClassFixture<SharedPair>
{
    private const string Mail = "MAIL FROM:<vanthu@tinhuy.songlam.test>";
    private const string Rcpt = "RCPT TO:<vanthu@anhoa.songlam.test>";

    [Fact]
    public async Task In_the_clear_nothing_is_taken()
    {
        await using var peer = await ConnectAsync();
        (await peer.AskAsync("EHLO gateway-a.test"))!.ShouldContain("STARTTLS");
        (await peer.AskAsync(Mail))!.ShouldStartWith("530 5.7.0");
        (await peer.AskAsync(Rcpt))!.ShouldStartWith("530 5.7.0");
        (await peer.AskAsync("DATA"))!.ShouldStartWith("530 5.7.0");
    }

    [Theory]
    [InlineData("none")]
    [InlineData("unpinned")]
    public async Task A_peer_that_the_directory_does_not_know_is_refused_before_anything(string certificate)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var unpinned = new CertificateRequest(
            "CN=gateway-a.test",
            key,
            HashAlgorithmName.SHA256
        ).CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        await using var peer = await ConnectAsync();
        await peer.AskAsync("EHLO gateway-a.test");
        (await peer.AskAsync("STARTTLS"))!.ShouldStartWith("220");
        string? answer = null;
        try
        {
            await peer.AsClientAsync(certificate == "none" ? null : unpinned);
            // In TLS 1.3 the client has finished before the server refuses it.
            answer = await peer.AskAsync("EHLO gateway-a.test");
        }
        catch (Exception e) when (e is IOException or AuthenticationException)
        {
            // Closed while we spoke.
        }

        answer.ShouldBeNull();
    }

    [Fact]
    public async Task What_was_sent_in_the_clear_behind_STARTTLS_is_forgotten()
    {
        await using var peer = await ConnectAsync();
        await peer.AskAsync("EHLO gateway-a.test");
        await peer.WriteAsync($"STARTTLS\r\nEHLO gateway-a.test\r\n{Mail}\r\n");
        (await peer.ReplyAsync())!.ShouldStartWith("220");
        // What came in the clear may have been read as TLS; either way none of it is obeyed.
        try
        {
            await peer.AsClientAsync(shared.Pair.A.Node.Identity.Tls);
        }
        catch (Exception e) when (e is IOException or AuthenticationException)
        {
            return;
        }

        (await peer.AskAsync(Rcpt))!.ShouldStartWith("503");
    }

    [Fact]
    public async Task Only_addresses_of_agencies_here_are_taken()
    {
        await using var peer = await PinnedAsync();
        (await peer.AskAsync(Mail))!.ShouldStartWith("250");
        (await peer.AskAsync("RCPT TO:<khong.co@anhoa.songlam.test>"))!.ShouldStartWith("550 5.1.1");
        (await peer.AskAsync("RCPT TO:<vanthu@tinhuy.songlam.test>"))!.ShouldStartWith(
            "550 5.1.1", customMessage: "the province's gateway is another");
        (await peer.AskAsync("RCPT TO:<vanthu@anphu.songlam.test>"))!.ShouldStartWith(
            "550 5.1.1", customMessage: "an agency that has ended");
        (await peer.AskAsync("RCPT TO:<\"a b\"@anhoa.songlam.test>"))!.ShouldStartWith("5");
        (await peer.AskAsync(Rcpt))!.ShouldStartWith("250");
    }

    [Fact]
    public async Task Too_large_is_refused_when_said_and_when_sent()
    {
        await using var peer = await PinnedAsync();
        (await peer.AskAsync(Mail + " SIZE=16777217"))!.ShouldStartWith("552");
        (await peer.AskAsync(Mail + " SIZE=1000"))!.ShouldStartWith("250");
        await peer.AskAsync(Rcpt);
        (await peer.AskAsync("DATA"))!.ShouldStartWith("354");
        var before = await ReceivedAsync();
        var line = new string('x', 900) + "\r\n";
        var block = string.Concat(Enumerable.Repeat(line, 1000));
        await peer.WriteAsync("From: a@b.test\r\n\r\n");
        for (var n = 0; n < 19; n++)
        {
            await peer.WriteAsync(block);
        }

        (await peer.AskAsync("\r\n."))!.ShouldStartWith("552");
        (await ReceivedAsync()).ShouldBe(before);
    }

    [Fact]
    public async Task Commands_out_of_order_are_refused_and_the_session_goes_on()
    {
        await using var peer = await PinnedAsync();
        foreach (var command in new[] { Rcpt, "DATA" })
        {
            (await peer.AskAsync(command))!.ShouldStartWith("503");
        }

        (await peer.AskAsync(Mail))!.ShouldStartWith("250");
        (await peer.AskAsync(Mail))!.ShouldStartWith("503");
        (await peer.AskAsync("DATA"))!.ShouldStartWith("503");
        (await peer.AskAsync("STARTTLS"))!.ShouldStartWith("5");
        (await peer.AskAsync("BDAT 5 LAST"))!.ShouldStartWith("500");
        (await peer.AskAsync("RSET"))!.ShouldStartWith("250");
        (await peer.AskAsync(Rcpt))!.ShouldStartWith("503");
        (await peer.AskAsync("QUIT"))!.ShouldStartWith("221");
    }

    [Theory]
    [InlineData("\n.\n")]
    [InlineData("\n.\r\n")]
    [InlineData("\r.\r\n")]
    [InlineData("\r\n.\r")]
    [InlineData("\r\n.\n")]
    [InlineData("\r\n\0.\r\n")]
    public async Task A_smuggled_end_of_data_smuggles_nothing(string end)
    {
        await using var peer = await PinnedAsync();
        var before = await ReceivedAsync();
        await peer.AskAsync(Mail);
        await peer.AskAsync(Rcpt);
        (await peer.AskAsync("DATA"))!.ShouldStartWith("354");
        await peer.WriteAsync(
            $"From: a@b.test\r\n\r\nOne{end}{Mail}\r\n{Rcpt}\r\nDATA\r\nSubject: smuggled\r\n\r\nTwo\r\n.\r\n");
        (await peer.ReplyAsync())!.ShouldStartWith("5");
        (await ReceivedAsync()).ShouldBe(before);
    }

    [Fact]
    public async Task A_peer_that_says_HELO_is_not_excused_from_proving_its_ledger()
    {
        await shared.DeliverAsync(await new TestDispatch(shared.Pair).MakeAsync());
        var dispatch = new TestDispatch(shared.Pair);
        var (mail, manifest) = await dispatch.ComposeAsync();
        var evidence = await TestMail.EvidenceAsync(
            shared.Pair.A, await dispatch.CommitAsync(mail, manifest), asker: null);
        var octets = TestMail.WithField(evidence, mail.Message);
        await using var peer = await PinnedAsync("HELO gateway-a.test");
        await peer.AskAsync(Mail);
        await peer.AskAsync(Rcpt);
        await peer.AskAsync("DATA");
        await peer.WriteAsync(Encoding.Latin1.GetString(octets).Replace("\r\n.", "\r\n..", StringComparison.Ordinal));
        (await peer.AskAsync("."))!.ShouldStartWith("250");
        var message = await shared.Pair.B.IncomingAsync(m => m.DispatchId == dispatch.Id && m.State == "recorded");
        (message.Disposition, message.Reason).ShouldBe(("quarantine", "LEDGER_EVIDENCE"));
    }

    private async Task<RawPeer> ConnectAsync()
    {
        var peer = await RawPeer.ConnectAsync(new IPEndPoint(IPAddress.Loopback, shared.Pair.B.Port));
        (await peer.ReplyAsync())!.ShouldStartWith("220");
        return peer;
    }

    private async Task<RawPeer> PinnedAsync(string hello = "EHLO gateway-a.test")
    {
        var peer = await ConnectAsync();
        await peer.AskAsync("EHLO gateway-a.test");
        (await peer.AskAsync("STARTTLS"))!.ShouldStartWith("220");
        await peer.AsClientAsync(shared.Pair.A.Node.Identity.Tls);
        (await peer.AskAsync(hello))!.ShouldStartWith("250");
        return peer;
    }

    private Task<long> ReceivedAsync() => shared.Pair.B.Probe.Incoming.ReceivedAsync();
}
