using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace SecureMail.Mail.Smtp.Server;

/// <summary>
/// An SMTP server (RFC 5321) with STARTTLS, SIZE, 8BITMIME, PIPELINING and enhanced status codes. It listens, counts
/// connections and runs a session for each; a session knows the protocol and hands messages to the delegates of
/// <see cref="SmtpServerOptions"/>. It leaves out on purpose: AUTH, SMTPUTF8, CHUNKING, relaying, and every opinion
/// about who may send what to whom.
/// </summary>
public sealed class SmtpServer : IAsyncDisposable
{
    private readonly SmtpServerOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stop = new();
    private readonly TcpListener _listener;
    private readonly Lock _gate = new();
    private readonly HashSet<Task> _sessions = [];
    private readonly ConnectionLimiter _places;
    private Task _accepting = Task.CompletedTask;
    private bool _disposed;

    public SmtpServer(SmtpServerOptions options, TimeProvider time, ILogger logger)
    {
        if (options.Certificate is null && (options.RequireTls || options.AuthenticatePeer is not null))
        {
            throw new ArgumentException(
                "TLS is required of peers, but the server has no certificate.", nameof(options));
        }

        if (options.Certificate is { HasPrivateKey: false })
        {
            throw new ArgumentException("The server's certificate comes without its private key.", nameof(options));
        }

        _options = options;
        _time = time;
        _logger = logger;
        _places = new ConnectionLimiter(options.Limits);
        _listener = new TcpListener(options.Listen);
    }

    /// <summary>Where it listens, once started.</summary>
    public IPEndPoint Endpoint => (IPEndPoint)_listener.LocalEndpoint;

    /// <summary>Begins to listen; returns when connections are taken.</summary>
    /// <exception cref="SocketException">The address is taken or not ours.</exception>
    public Task StartAsync()
    {
        _listener.Start();
        Log.Listening(_logger, Endpoint.ToString());
        _accepting = AcceptAsync();
        return Task.CompletedTask;
    }

    /// <summary>Stops listening, tells each session to end (421) and waits for them; a commit under way is cancelled
    /// through its token.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        await _stop.CancelAsync();
        _listener.Stop();
        await _accepting;
        Task[] sessions;
        lock (_gate)
        {
            sessions = [.. _sessions];
        }

        await Task.WhenAll(sessions);
        _listener.Dispose();
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            Socket socket;
            try
            {
                socket = await _listener.AcceptSocketAsync(_stop.Token);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e)
            {
                // One connection reset before it was taken, or no descriptors left: the next may do.
                Log.AcceptFailed(_logger, e);
                await Task.Delay(TimeSpan.FromMilliseconds(100), _time, CancellationToken.None);
                continue;
            }

            Begin(socket);
        }
    }

    private void Begin(Socket socket)
    {
        if (socket.RemoteEndPoint is not IPEndPoint remote)
        {
            socket.Dispose();
            return;
        }

        if (!_places.Addresses.TryTake(remote.Address))
        {
            Log.ConnectionRefused(_logger, remote.ToString(), "too many connections");
            Refuse(socket);
            return;
        }

        // The session is started by a task of its own so that no delegate of it can hold up the accepting.
        var session = Task.Run(() => RunAsync(socket, remote));
        lock (_gate)
        {
            _sessions.Add(session);
        }

        _ = session.ContinueWith(Forget, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
    }

    private async Task RunAsync(Socket socket, IPEndPoint remote)
    {
        try
        {
            socket.NoDelay = true;
            await using var session = new SmtpSession(
                new NetworkStream(socket, ownsSocket: true), remote, _options, _places, _time, _logger, _stop.Token);
            await session.RunAsync();
        }
        catch (SocketException)
        {
            socket.Dispose(); // gone before it began
        }
        finally
        {
            _places.Addresses.GiveBack(remote.Address);
        }
    }

    private void Forget(Task session)
    {
        lock (_gate)
        {
            _sessions.Remove(session);
        }
    }

    private static void Refuse(Socket socket)
    {
        try
        {
            // Fits any socket buffer, so it never blocks.
            socket.Send(new SmtpReply(421, null, "4.7.0 Too many connections, try again later").ToWire());
        }
        catch (SocketException)
        {
            // It is being refused; that it has gone already is as good.
        }

        socket.Dispose();
    }
}
