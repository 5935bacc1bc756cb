using System.Net;
using System.Security.Authentication;
using System.Text;
using SecureMail.Mail.Smtp.Client;

namespace SecureMail.SystemTests.Gateway;

/// <summary>What the listener takes beside mail for agencies, and whom it does not take for a peer.</summary>
public sealed class PostmasterTests(SharedPair shared) : IClassFixture<SharedPair>
{
    /// <summary>RFC 5321 §4.5.1: any case, no domain, and every domain that mail is taken for here.</summary>
    [Theory]
    [InlineData("postmaster")]
    [InlineData("PostMaster")]
    [InlineData("postmaster@gateway-b.test")]
    [InlineData("POSTMASTER@anhoa.songlam.test")]
    [InlineData("postmaster@BinhMinh.SongLam.test")]
    public async Task Mail_for_postmaster_is_kept_for_an_administrator_and_never_answered(string recipient)
    {
        var octets = Encoding.UTF8.GetBytes(
            $"From: quan-tri@tinhuy.songlam.test\r\nSubject: {Guid.NewGuid()}\r\n\r\nThư của anh không tới\r\n");
        var message = await shared.DeliverAsync(octets, recipient);
        (message.Disposition, message.Reason, message.Verdict).ShouldBe(("quarantine", "FOR_POSTMASTER", "unsigned"));
        (message.AgencyCode, message.AgencyName).ShouldBe(("postmaster", "postmaster"));
        await using var kept = await shared.Pair.B.Node.Incoming.OpenReceivedAsync(message.Id, CancellationToken.None);
        using var copy = new MemoryStream();
        await kept.CopyToAsync(copy);
        copy.ToArray().ShouldBe(octets);
        (await shared.Pair.B.Node.Incoming.ListAsync(null, "quarantine", 1000, CancellationToken.None))
            .ShouldContain(m => m.Id == message.Id);
        await NothingIsAnsweredAsync(message.Id);
    }

    [Fact]
    public async Task A_valid_dispatch_for_postmaster_is_not_delivered_and_not_answered_either()
    {
        var message = await shared.DeliverAsync(await new TestDispatch(shared.Pair).MakeAsync(), "postmaster");
        (message.Disposition, message.Reason).ShouldBe(("quarantine", "FOR_POSTMASTER"));
        message.ArrivalNumber.ShouldBeNull();
        await NothingIsAnsweredAsync(message.Id);
    }

    [Theory]
    [InlineData("postmaster@tinhuy.songlam.test")]
    [InlineData("postmaster@elsewhere.test")]
    [InlineData("postmaster2@anhoa.songlam.test")]
    public async Task Postmaster_of_a_domain_of_others_is_nobody_here(string recipient) =>
        (await shared.Pair.InjectAsync("From: a@b.test\r\n\r\nx\r\n"u8.ToArray(), recipient)).Reply!.Code.ShouldBe(550);

    [Fact]
    public async Task A_gateway_does_not_take_its_own_key_for_a_peer()
    {
        await using var peer = await RawPeer.ConnectAsync(new IPEndPoint(IPAddress.Loopback, shared.Pair.B.Port));
        (await peer.ReplyAsync()).ShouldStartWith("220");
        await peer.AskAsync("EHLO gateway-b.test");
        (await peer.AskAsync("STARTTLS")).ShouldStartWith("220");
        string? answer = null;
        try
        {
            await peer.AsClientAsync(shared.Pair.B.Node.Identity.Tls);
            // In TLS 1.3 the client has finished before the server refuses it.
            answer = await peer.AskAsync("EHLO gateway-b.test");
        }
        catch (Exception e) when (e is IOException or AuthenticationException)
        {
            // Closed while we spoke.
        }

        answer.ShouldBeNull();
    }

    [Fact]
    public async Task A_dispatch_between_two_agencies_of_one_gateway_arrives_and_is_acknowledged()
    {
        var answer = await shared.Pair.B.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.BinhMinh) with { Sender = TwoGateways.AnHoa, Notation = "CV/ĐU" },
            CancellationToken.None);
        var sent = await shared.Pair.B.OutgoingAsync(
            answer.DispatchId, d => d.Recipients.All(r => r.State is not ("waiting" or "queued" or "sent")));
        sent.Recipients.ShouldHaveSingleItem().State.ShouldBe("acknowledged");
        var message = await shared.Pair.B.IncomingAsync(m => m.DispatchId == answer.DispatchId);
        (message.Disposition, message.AgencyCode, message.Peer).ShouldBe(
            ("inbox", TwoGateways.BinhMinh, "gateway-b.test"));
    }

    private async Task NothingIsAnsweredAsync(Guid message)
    {
        (await shared.Pair.B.Probe.Queue.CountAsync(subject: message))
            .ShouldBe(0);
        (await shared.Pair.B.Probe.Incoming.AnswersAsync(message)).ShouldBe(0);
    }
}
