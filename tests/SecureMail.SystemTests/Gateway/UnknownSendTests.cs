using System.Net;
using System.Net.Sockets;

namespace SecureMail.SystemTests.Gateway;

/// <summary>The connection is lost after the peer took the message and before its answer came: unknown, sent again, delivered once.</summary>
[Collection("postgres")]
public sealed class UnknownSendTests(PostgresFixture postgres)
{
    [Fact]
    public async Task A_lost_answer_leaves_the_dispatch_unknown_and_the_second_sending_is_a_duplicate()
    {
        TwoGateways? pair = null;
        var lost = 0;
        var open = new TaskCompletionSource();
        // B's answer is lost once, as soon as it has the message; nothing of what B says to A passes before the test lets it.
        await using var toB = new Wire(() => pair!.B.Port, async () => await pair!.B.ScalarAsync<long>("SELECT count(*) FROM gateway.received") == 0 || Interlocked.Exchange(ref lost, 1) == 1);
        await using var toA = new Wire(() => pair!.A.Port, async () =>
        {
            await open.Task;
            return true;
        });
        await using var started = pair = await TwoGateways.StartAsync(postgres, changeDirectory: d => d with { Gateways = [.. d.Gateways.Select(g => g with { Port = g.Name == "gateway-a.test" ? toA.Port : toB.Port })] });

        var answer = await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        (await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients[0].State is not ("waiting" or "queued"))).Recipients[0].State.ShouldBe("unknown");
        await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients[0].State == "sent");
        var story = (await pair.A.Node.Ledger.StoryAsync(answer.DispatchId, CancellationToken.None)).Select(l => l.Kind).ToList();
        story.ShouldBe(["dispatch.accepted", "dispatch.signed", "dispatch.unknown", "dispatch.sent"]);

        var came = await TwoGateways.EventuallyAsync(async () => await pair.B.Node.Incoming.ListAsync(TwoGateways.AnHoa, null, 10, CancellationToken.None) is { Count: 2 } two && two.All(m => m.State == "recorded") ? two : null, "two messages");
        came.Select(m => m.Place).Order().ShouldBe(["duplicate", "inbox"]);
        open.SetResult();
        await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients[0].State == "acknowledged");
    }

    /// <summary>A wire that can be cut: it asks before each piece that comes back.</summary>
    private sealed class Wire : IAsyncDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly Func<int> _target;
        private readonly Func<Task<bool>> _mayPass;
        private readonly CancellationTokenSource _stop = new();
        private readonly List<Task> _running = [];

        public Wire(Func<int> target, Func<Task<bool>> mayPass)
        {
            (_target, _mayPass) = (target, mayPass);
            _listener.Start();
            Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
            _running.Add(AcceptAsync());
        }

        public int Port { get; }

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
                    var near = await _listener.AcceptTcpClientAsync(_stop.Token);
                    lock (_running)
                    {
                        _running.Add(JoinAsync(near));
                    }
                }
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                // The test is over.
            }
        }

        private async Task JoinAsync(TcpClient near)
        {
            using (near)
            using (var far = new TcpClient())
            {
                try
                {
                    await far.ConnectAsync(IPAddress.Loopback, _target(), _stop.Token);
                    await Task.WhenAny(CopyAsync(near.GetStream(), far.GetStream(), () => Task.FromResult(true)), CopyAsync(far.GetStream(), near.GetStream(), _mayPass));
                }
                catch (Exception e) when (e is OperationCanceledException or SocketException)
                {
                    // One side is not there, or the test is over.
                }
            }
        }

        private async Task CopyAsync(NetworkStream from, NetworkStream to, Func<Task<bool>> mayPass)
        {
            var buffer = new byte[64 * 1024];
            try
            {
                for (int read; (read = await from.ReadAsync(buffer, _stop.Token)) > 0 && await mayPass().WaitAsync(_stop.Token);)
                {
                    await to.WriteAsync(buffer.AsMemory(0, read), _stop.Token);
                }
            }
            catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
            {
                // Cut, or over.
            }
        }
    }
}
