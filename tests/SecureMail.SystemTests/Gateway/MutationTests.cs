using System.Net;
using System.Security.Cryptography;
using System.Text;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage.Queue;
using SecureMail.TestKit.Mutators;

namespace SecureMail.SystemTests.Gateway;

/// <summary>A valid message, damaged at random, through the whole of a gateway: listener, storage, judgement,
/// register.</summary>
public sealed class MutationTests(SharedPair shared) : IClassFixture<SharedPair>
{
    [Fact]
    public async Task Of_two_hundred_mutated_copies_none_is_delivered_and_none_is_lost()
    {
        var pair = shared.Pair;
        var dispatch = new TestDispatch(pair);
        var octets = await dispatch.MakeAsync();
        (await shared.DeliverAsync(octets)).Disposition.ShouldBe("inbox");
        var good = await pair.B.Probe.Incoming.ReceivedAsync();

        var random = new Random(20261121);
        List<byte[]> mutants =
        [
            .. Enumerable.Range(0, 200).Select(_ => Mutation.Of([octets], [OctetMutator.Mutate], random)),
        ];
        List<byte[]> taken = [];
        RawPeer? peer = null;
        foreach (var mutant in mutants)
        {
            peer ??= await ConnectAsync();
            var octetsSent = mutant.AsSpan().EndsWith("\r\n"u8) ? mutant : [.. mutant, .. "\r\n"u8];
            if (await SendAsync(peer, octetsSent))
            {
                taken.Add(octetsSent);
            }
            else
            {
                // Refused, or let go: the next one comes over a connection of its own.
                await peer.DisposeAsync();
                peer = null;
            }
        }

        if (peer is not null)
        {
            await peer.DisposeAsync();
        }

        taken.Count.ShouldBeGreaterThan(100);
        (await pair.B.Probe.Incoming.ReceivedAsync()).ShouldBe(
            good + taken.Count, "what was answered 250 is kept, what was refused is not");
        await TwoGateways.UntilAsync(
            async () => await pair.B.Probe.Incoming.CountAsync(IncomingState.Received) == 0,
            "all to be recorded");
        (await pair.B.Probe.Incoming.CountAsync(disposition: Disposition.Inbox)).ShouldBe(1);
        (await pair.B.Probe.Incoming.DispositionsAsync()).Keys.ShouldBeSubsetOf(
            [Disposition.Inbox, Disposition.Quarantine, Disposition.Duplicate]);
        (await pair.B.Probe.Queue.CountAsync(state: WorkState.Dead)).ShouldBe(0);
        (await pair.B.Probe.Queue.CountAsync(state: WorkState.Held)).ShouldBe(0);
        foreach (var mutant in taken.Where(m => !m.AsSpan().SequenceEqual(octets)))
        {
            (await pair.B.Probe.Incoming.OfAsync(mutant)).ShouldNotBeEmpty();
        }

        (await shared.DeliverAsync(await new TestDispatch(pair).MakeAsync())).Disposition.ShouldBe("inbox");
    }

    private async Task<RawPeer> ConnectAsync()
    {
        var peer = await RawPeer.ConnectAsync(new IPEndPoint(IPAddress.Loopback, shared.Pair.B.Port));
        await peer.ReplyAsync();
        await peer.AskAsync("EHLO gateway-a.test");
        await peer.AskAsync("STARTTLS");
        await peer.AsClientAsync(shared.Pair.A.Node.Identity.Tls);
        await peer.AskAsync("EHLO gateway-a.test");
        return peer;
    }

    /// <summary>The octets as they are, damaged line ends too; only dots are stuffed.</summary>
    private static async Task<bool> SendAsync(RawPeer peer, byte[] octets)
    {
        (await peer.AskAsync("MAIL FROM:<vanthu@tinhuy.songlam.test>"))!.ShouldStartWith("250");
        (await peer.AskAsync("RCPT TO:<vanthu@anhoa.songlam.test>"))!.ShouldStartWith("250");
        (await peer.AskAsync("DATA"))!.ShouldStartWith("354");
        var text = Encoding.Latin1.GetString(octets);
        var stuffed = (text.StartsWith('.') ? "." : "") + text.Replace("\r\n.", "\r\n..", StringComparison.Ordinal);
        try
        {
            await peer.WriteAsync(stuffed);
            return await peer.AskAsync(".") is { } reply && reply.StartsWith("250", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    }
}
