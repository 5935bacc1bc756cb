using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using SecureMail.Gateway.Queue;
using Xunit.Abstractions;

namespace SecureMail.SystemTests.Gateway;

/// <summary>
/// The connection between two real gateways is reset after each of many octet counts, in either direction, from before the greeting to behind the answer to QUIT:
/// whatever the count, each dispatch is in the addressee's inbox once and acknowledged.
/// </summary>
[Collection("postgres")]
public sealed class CutConnectionTests(PostgresFixture postgres, ITestOutputHelper output)
{
    private const int Dispatches = 15;

    [Fact]
    public async Task Wherever_the_connection_is_reset_each_dispatch_arrives_once()
    {
        TwoGateways? pair = null;
        await using var wire = new CuttingWire(() => pair!.B.Port);
        await using var started = pair = await TwoGateways.StartAsync(postgres,
            changeA: o => o with { Retry = new RetrySchedule(TimeSpan.FromMilliseconds(100), TimeSpan.FromMilliseconds(500)), Probe = new RetrySchedule(TimeSpan.FromMilliseconds(50), TimeSpan.FromMilliseconds(100)) },
            changeDirectory: d => d with { Gateways = [.. d.Gateways.Select(g => g.Name == "gateway-b.test" ? g with { Port = wire.Port } : g)] });

        // Some that are not cut say how many octets there are to cut at.
        List<Guid> sent = [];
        for (var n = 1; n <= 3; n++)
        {
            sent.Add((await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)).DispatchId);
            await pair.A.OutgoingAsync(sent[^1], d => d.Recipients[0].State == "acknowledged");
            await TwoGateways.EventuallyAsync(() => Task.FromResult(wire.Ended.Count == n ? "" : null), "the connection's end");
        }

        var (up, down) = wire.Ended.Last();
        var cuts = Samples(up).Select(after => (Up: true, After: after)).Concat(Samples(down).Select(after => (Up: false, After: after))).ToList();
        // Interleaved, so that a run of one kind of cut does not fall upon one dispatch.
        foreach (var cut in cuts.OrderBy(c => (c.After * 7919L) % 1009))
        {
            wire.Cuts.Enqueue(cut);
        }

        var began = Stopwatch.GetTimestamp();
        for (var n = 0; n < Dispatches; n++)
        {
            sent.Add((await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)).DispatchId);
        }

        // While cuts are left, there must be something to send.
        while (!wire.Cuts.IsEmpty)
        {
            await TwoGateways.EventuallyAsync(async () => wire.Cuts.IsEmpty || await pair.A.ScalarAsync<long>("SELECT count(*) FROM gateway.work WHERE kind IN ('seal', 'send')") == 0 ? "" : null, "the cuts to be made");
            if (!wire.Cuts.IsEmpty)
            {
                sent.Add((await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)).DispatchId);
            }
        }

        foreach (var dispatch in sent)
        {
            await pair.A.OutgoingAsync(dispatch, d => d.Recipients[0].State == "acknowledged");
        }

        await TwoGateways.EventuallyAsync(async () => await pair.A.ScalarAsync<long>("SELECT count(*) FROM gateway.work") + await pair.B.ScalarAsync<long>("SELECT count(*) FROM gateway.work") == 0 ? "" : null, "nothing left to do");
        var inbox = await pair.B.Node.Incoming.ListAsync(TwoGateways.AnHoa, "inbox", 1000, CancellationToken.None);
        inbox.Select(m => m.DispatchId!.Value).Order().ShouldBe(sent.Order());
        var received = await pair.B.ScalarAsync<long>("SELECT count(*) FROM gateway.received");
        var unknown = await pair.A.ScalarAsync<long>("SELECT count(*) FROM ledger.entry WHERE kind = 'dispatch.unknown'");
        // What came twice is known as such, and it came twice only where the sender knew that it might. It comes twice seldom: where the receipt is quicker than
        // the next try, nothing is sent again.
        (await pair.B.ScalarAsync<long>("SELECT count(*) FROM gateway.incoming WHERE place = 'duplicate'")).ShouldBe(received - sent.Count);
        (received - sent.Count).ShouldBeLessThanOrEqualTo(unknown);
        unknown.ShouldBeGreaterThan(0);
        output.WriteLine($"{cuts.Count} cuts in {up} octets one way and {down} the other, {sent.Count} dispatches: {unknown} times unknown, {received - sent.Count} duplicates recognised, each in the inbox once and acknowledged, {Stopwatch.GetElapsedTime(began).TotalSeconds:0.0} s");
    }

    /// <summary>
    /// The beginning and the middle by steps, the end octet-near: there are the final dot, its answer and QUIT. Later sessions are longer by the sizes of the
    /// ledger that were seen meanwhile, so the samples reach beyond what was measured; a connection that is shorter passes whole.
    /// </summary>
    private static IEnumerable<int> Samples(long total) =>
        new long[] { 0, 1, 5 }.Concat(Enumerable.Range(1, 11).Select(n => total * n / 12)).Concat(Enumerable.Range(0, 18).Select(n => total - 120 + (n * 14)))
            .Where(n => n >= 0).Distinct().Select(n => (int)n);

    /// <summary>Passes octets between the two, and resets both sides when so many have passed in one direction.</summary>
    private sealed class CuttingWire : IAsyncDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly Func<int> _target;
        private readonly CancellationTokenSource _stop = new();
        private readonly List<Task> _running = [];

        public CuttingWire(Func<int> target)
        {
            _target = target;
            _listener.Start();
            Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
            _running.Add(AcceptAsync());
        }

        public int Port { get; }

        /// <summary>One for each connection that comes; when none is left, they pass.</summary>
        public ConcurrentQueue<(bool Up, int After)> Cuts { get; } = new();

        /// <summary>Octets up and down of connections that were not cut.</summary>
        public ConcurrentQueue<Tuple<long, long>> Ended { get; } = new();

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            _listener.Stop();
            await Task.WhenAll(_running);
            _stop.Dispose();
        }

        private async Task AcceptAsync()
        {
            try
            {
                while (true)
                {
                    var near = await _listener.AcceptSocketAsync(_stop.Token);
                    lock (_running)
                    {
                        _running.Add(JoinAsync(near, Cuts.TryDequeue(out var cut) ? cut : null));
                    }
                }
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                // The test is over.
            }
        }

        private async Task JoinAsync(Socket near, (bool Up, int After)? cut)
        {
            using var far = new Socket(SocketType.Stream, ProtocolType.Tcp);
            using (near)
            {
                try
                {
                    await far.ConnectAsync(IPAddress.Loopback, _target(), _stop.Token);
                    var up = PassAsync(near, far, cut is { Up: true } u ? u.After : long.MaxValue);
                    var down = PassAsync(far, near, cut is { Up: false } d ? d.After : long.MaxValue);
                    var first = await Task.WhenAny(up, down);
                    if ((await first).Cut)
                    {
                        // With SO_LINGER 0 a close is a reset, and what is on its way is lost.
                        near.LingerState = far.LingerState = new LingerOption(true, 0);
                        near.Close();
                        far.Close();
                    }
                    else
                    {
                        (first == up ? far : near).Shutdown(SocketShutdown.Send);
                    }

                    await Task.WhenAll(up, down);
                    if (cut is null)
                    {
                        Ended.Enqueue(Tuple.Create((await up).Octets, (await down).Octets));
                    }
                }
                catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
                {
                    // One side is not there, or the test is over.
                }
            }
        }

        private async Task<(long Octets, bool Cut)> PassAsync(Socket from, Socket to, long most)
        {
            var buffer = new byte[16 * 1024];
            long passed = 0;
            try
            {
                for (int read; passed < most && (read = await from.ReceiveAsync(buffer.AsMemory(0, (int)Math.Min(buffer.Length, most - passed)), _stop.Token)) > 0;)
                {
                    await to.SendAsync(buffer.AsMemory(0, read), _stop.Token);
                    passed += read;
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
            {
                // Cut by the other direction, or over.
            }

            return (passed, passed >= most);
        }
    }
}
