using System.Net;
using System.Net.Sockets;

namespace SecureMail.SystemTests.Faults;

/// <summary>A wire on loopback to a port that may change: it can hang, and be cut after so many octets of the next connection.</summary>
internal sealed class FaultyWire : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly List<Task> _running = [];
    private readonly List<TcpClient> _held = [];
    private bool _hangs;
    private long _cutAfter = -1;
    private int _cuts;

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
    public int Cuts => _cuts;

    /// <summary>While set, new connections are taken and nothing is said on them; when it is taken back they are closed.</summary>
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

    /// <summary>One connection, the next over which so many octets have gone to the target, is reset there.</summary>
    public void CutOnceAfter(long octets) => Interlocked.Exchange(ref _cutAfter, octets);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        Hangs = false;
        Task[] all;
        lock (_lock)
            all = [.. _running];
        await Task.WhenAll(all);
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var near = await _listener.AcceptTcpClientAsync(_stop.Token);
                lock (_lock)
                {
                    if (_hangs)
                        _held.Add(near);
                    else
                        _running.Add(JoinAsync(near));
                    _running.RemoveAll(t => t.IsCompletedSuccessfully);
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
        await Task.Yield();
        using (near)
        using (var far = new TcpClient())
        {
            try
            {
                await far.ConnectAsync(IPAddress.Loopback, Target(), _stop.Token);
                await Task.WhenAny(CopyAsync(near, far, mayCut: true), CopyAsync(far, near, mayCut: false));
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException)
            {
                // One side is not there, or the test is over.
            }
        }
    }

    private async Task CopyAsync(TcpClient from, TcpClient to, bool mayCut)
    {
        var buffer = new byte[16 * 1024];
        long gone = 0;
        try
        {
            for (int read; (read = await from.GetStream().ReadAsync(buffer, _stop.Token)) > 0;)
            {
                gone += read;
                if (mayCut && Interlocked.Read(ref _cutAfter) is >= 0 and var after && gone > after && Interlocked.CompareExchange(ref _cutAfter, -1, after) == after)
                {
                    Interlocked.Increment(ref _cuts);
                    // RST, not FIN: neither side is told that the other was done.
                    from.LingerState = to.LingerState = new LingerOption(true, 0);
                    return;
                }

                await to.GetStream().WriteAsync(buffer.AsMemory(0, read), _stop.Token);
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException or InvalidOperationException)
        {
            // Cut, or over.
        }
    }
}
