using System.Diagnostics;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.Storage.Queue;
using Xunit.Abstractions;

namespace SecureMail.SystemTests.Gateway;

/// <summary>
/// The connection between two real gateways is reset after each of many octet counts, in either direction, from before
/// the greeting to behind the answer to QUIT: whatever the count, each dispatch is in the addressee's inbox once and
/// acknowledged.
/// </summary>
public sealed class CutConnectionTests(PostgresFixture postgres, ITestOutputHelper output)
    : IClassFixture<PostgresFixture>
{
    private const int Dispatches = 15;

    [Fact]
    public async Task Wherever_the_connection_is_reset_each_dispatch_arrives_once()
    {
        TwoGateways? pair = null;
        await using var wire = new FaultyWire(() => pair!.B.Port);
        await using var started = pair = await TwoGateways.StartAsync(
            postgres,
            changeA: o =>
                o with
                {
                    Retry = new RetrySchedule(TimeSpan.FromMilliseconds(100), TimeSpan.FromMilliseconds(500)),
                    Probe = new RetrySchedule(TimeSpan.FromMilliseconds(50), TimeSpan.FromMilliseconds(100)),
                },
            changeDirectory: d =>
                d with
                {
                    Gateways =
                    [
                        .. d.Gateways.Select(g => g.Name == "gateway-b.test" ? g with { Port = wire.Port } : g),
                    ],
                });

        // Some that are not cut say how many octets there are to cut at.
        List<Guid> sent = [];
        for (var n = 1; n <= 3; n++)
        {
            sent.Add(
                (
                    await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
                ).DispatchId);
            await pair.A.OutgoingAsync(sent[^1], d => d.Recipients[0].State == "acknowledged");
            await TwoGateways.UntilAsync(
                () => Task.FromResult(wire.Passed.Count == n), "the connection's end");
        }

        var (up, down) = wire.Passed.Last();
        var cuts = Samples(up)
            .Select(after => (Up: true, After: after))
            .Concat(Samples(down).Select(after => (Up: false, After: after)))
            .ToList();
        // Interleaved, so that a run of one kind of cut does not fall upon one dispatch.
        foreach (var cut in cuts.OrderBy(c => (c.After * 7919L) % 1009))
        {
            wire.CutNext(cut.Up, cut.After);
        }

        var began = Stopwatch.GetTimestamp();
        for (var n = 0; n < Dispatches; n++)
        {
            sent.Add(
                (
                    await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
                ).DispatchId);
        }

        // While cuts are left, there must be something to send.
        while (wire.CutsLeft > 0)
        {
            await TwoGateways.UntilAsync(
                async () =>
                    wire.CutsLeft == 0
                    || await pair.A.Probe.Queue.CountAsync(WorkKind.SignAndEncrypt)
                        + await pair.A.Probe.Queue.CountAsync(WorkKind.Send) == 0,
                "the cuts to be made");
            if (wire.CutsLeft > 0)
            {
                sent.Add(
                    (
                        await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
                    ).DispatchId);
            }
        }

        foreach (var dispatch in sent)
        {
            await pair.A.OutgoingAsync(dispatch, d => d.Recipients[0].State == "acknowledged");
        }

        await TwoGateways.UntilAsync(
            async () =>
                await pair.A.Probe.Queue.CountAsync()
                    + await pair.B.Probe.Queue.CountAsync() == 0,
            "nothing left to do");
        var inbox = await pair.B.Node.Incoming.ListAsync(TwoGateways.AnHoa, "inbox", 1000, CancellationToken.None);
        inbox.Select(m => m.DispatchId!.Value).Order().ShouldBe(sent.Order());
        var received = await pair.B.Probe.Incoming.ReceivedAsync();
        var unknown = await pair.A.Probe.Ledger.EntriesAsync(EntryKind.DispatchUnknown);
        // What came twice is known as such, and it came twice only where the sender knew that it might. It comes twice
        // seldom: where the receipt is quicker than the next try, nothing is sent again.
        (await pair.B.Probe.Incoming.CountAsync(disposition: Disposition.Duplicate)).ShouldBe(received - sent.Count);
        (received - sent.Count).ShouldBeLessThanOrEqualTo(unknown);
        unknown.ShouldBeGreaterThan(0);
        output.WriteLine(
            $"{cuts.Count} cuts in {up} octets one way and {down} the other, {sent.Count} dispatches: "
                + $"{unknown} times unknown, {received - sent.Count} duplicates recognised, each in the inbox once "
                + $"and acknowledged, {Stopwatch.GetElapsedTime(began).TotalSeconds:0.0} s"
        );
    }

    /// <summary>
    /// The beginning and the middle by steps, the end octet-near: there are the final dot, its answer and QUIT. Later
    /// sessions are longer by the sizes of the ledger that were seen meanwhile, so the samples reach beyond what was
    /// measured; a connection that is shorter passes whole.
    /// </summary>
    private static IEnumerable<int> Samples(long total) =>
        new long[] { 0, 1, 5 }
            .Concat(Enumerable.Range(1, 11).Select(n => total * n / 12))
            .Concat(Enumerable.Range(0, 18).Select(n => total - 120 + (n * 14)))
            .Where(n => n >= 0)
            .Distinct()
            .Select(n => (int)n);
}
