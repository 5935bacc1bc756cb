using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace SecureMail.TestKit;

/// <summary>
/// A wire on loopback to a port that may change: it can hang, reset a connection after so many octets in either
/// direction, and lose what comes back.
/// </summary>
internal sealed class FaultyWire : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly List<Task> _running = [];
    private readonly List<Socket> _held = [];
    private readonly ConcurrentQueue<(bool Up, long After)> _cuts = new();
    private bool _hangs;
    private long _wanted = -1;
    private int _made;

    public FaultyWire(Func<int> target)
    {
        Target = target;
        _listener.Start();
        Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
        _running.Add(AcceptAsync());
    }

    public int Port { get; }

    /// <summary>Where the next connection leads.</summary>
    public Func<int> Target { get; set; }

    /// <summary>How many connections were cut.</summary>
    public int CutsMade => _made;

    /// <summary>Connections still to come that will be cut.</summary>
    public int CutsLeft => _cuts.Count;

    /// <summary>Octets that went up and down connections that were not to be cut and are over.</summary>
    public ConcurrentQueue<Tuple<long, long>> Passed { get; } = new();

    /// <summary>Asked before each piece that comes back; the connection ends where it answers false.</summary>
    public Func<Task<bool>> MayComeBack { get; init; } = () => Task.FromResult(true);

    /// <summary>While set, new connections are taken and nothing is said on them; when it is taken back they are
    /// closed.</summary>
    public bool Hangs
    {
        get => _hangs;
        set
        {
            lock (_lock)
            {
                _hangs = value;
                if (!value)
                {
                    _held.ForEach(c => c.Dispose());
                    _held.Clear();
                }
            }
        }
    }

    /// <summary>One connection, the first over which so many octets go to the target, is reset there.</summary>
    public void CutOnceAfter(long octets) => Interlocked.Exchange(ref _wanted, octets);

    /// <summary>The next connection that nothing was said about is reset after so many octets in one direction; a
    /// shorter one passes whole.</summary>
    public void CutNext(bool up, long after) => _cuts.Enqueue((up, after));

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        Hangs = false;
        Task[] all;
        lock (_lock)
        {
            all = [.. _running];
        }

        await Task.WhenAll(all);
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var near = await _listener.AcceptSocketAsync(_stop.Token);
                lock (_lock)
                {
                    if (_hangs)
                    {
                        _held.Add(near);
                    }
                    else
                    {
                        _running.Add(JoinAsync(near, _cuts.TryDequeue(out var cut) ? cut : null));
                    }

                    _running.RemoveAll(t => t.IsCompletedSuccessfully);
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }

    private async Task JoinAsync(Socket near, (bool Up, long After)? cut)
    {
        await Task.Yield();
        using (near)
        using (var far = new Socket(SocketType.Stream, ProtocolType.Tcp))
        {
            try
            {
                await far.ConnectAsync(IPAddress.Loopback, Target(), _stop.Token);
                var up = PassAsync(near, far, cut is { Up: true } u ? u.After : long.MaxValue, ask: cut is null, () =>
                    Task.FromResult(true));
                var down = PassAsync(
                    far, near, cut is { Up: false } d ? d.After : long.MaxValue, ask: false, MayComeBack);
                var first = await Task.WhenAny(up, down);
                switch ((await first).End)
                {
                    case End.Cut:
                        // With SO_LINGER 0 a close is a reset, and what is on its way is lost: neither side is told
                        // that the other was done.
                        Interlocked.Increment(ref _made);
                        near.LingerState = far.LingerState = new LingerOption(true, 0);
                        near.Close();
                        far.Close();
                        break;
                    case End.Lost:
                        near.Close();
                        far.Close();
                        break;
                    default:
                        (first == up ? far : near).Shutdown(SocketShutdown.Send);
                        break;
                }

                await Task.WhenAll(up, down);
                if (cut is null)
                {
                    Passed.Enqueue(Tuple.Create((await up).Octets, (await down).Octets));
                }
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                // One side is not there, or the test is over.
            }
        }
    }

    /// <summary>Answers true to one asker alone.</summary>
    private bool IsWanted(long passed) =>
        Interlocked.Read(ref _wanted) is >= 0 and var after
        && passed > after
        && Interlocked.CompareExchange(ref _wanted, -1, after) == after;

    private enum End
    {
        Closed,
        Cut,
        Lost,
    }

    /// <param name="most">So many octets pass before the cut.</param>
    /// <param name="ask">Whether the cut that waits for a connection may fall upon this one.</param>
    private async Task<(long Octets, End End)> PassAsync(
        Socket from, Socket to, long most, bool ask, Func<Task<bool>> mayPass)
    {
        var buffer = new byte[16 * 1024];
        long passed = 0;
        try
        {
            while (passed < most)
            {
                var read = await from.ReceiveAsync(
                    buffer.AsMemory(0, (int)Math.Min(buffer.Length, most - passed)), _stop.Token);
                if (read == 0)
                {
                    return (passed, End.Closed);
                }

                if (ask && IsWanted(passed + read))
                {
                    return (passed, End.Cut);
                }

                if (!await mayPass().WaitAsync(_stop.Token))
                {
                    return (passed, End.Lost);
                }

                await to.SendAsync(buffer.AsMemory(0, read), _stop.Token);
                passed += read;
            }

            return (passed, End.Cut);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // Cut by the other direction, or over.
            return (passed, End.Closed);
        }
    }
}
