using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace SecureMail.Mail.Smtp.Server;

/// <summary>
/// An SMTP server (RFC 5321) with STARTTLS, SIZE, 8BITMIME, PIPELINING and enhanced status codes. The server listens,
/// limits connections and runs a session for each. A session implements the protocol and passes messages to the
/// delegates of <see cref="SmtpServerOptions"/>. The server leaves out on purpose: AUTH, SMTPUTF8, CHUNKING, relaying,
/// and every policy about who may send what to whom.
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
    private readonly ConnectionLimiter _limiter;
    private readonly RefusalLog _refusals;
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
        _limiter = new ConnectionLimiter(options.Limits);
        _refusals = new RefusalLog(time, logger);
        _listener = new TcpListener(options.Listen);
    }

    /// <summary>The address and port that the server listens on, once started.</summary>
    public IPEndPoint Endpoint => (IPEndPoint)_listener.LocalEndpoint;

    /// <summary>Begins to listen; returns when connections are accepted.</summary>
    /// <exception cref="SocketException">The address is in use or does not belong to this host.</exception>
    public Task StartAsync()
    {
        _listener.Start();
        Log.Listening(_logger, Endpoint.ToString());
        _accepting = AcceptAsync();
        return Task.CompletedTask;
    }

    /// <summary>
    /// Stops listening, ends each session with 421 and waits for all sessions. A commit in progress is cancelled
    /// through its token.
    /// </summary>
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
                // The connection was reset before it was accepted, or no descriptors are left. The next accept may
                // succeed.
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

        if (_limiter.TryEnter(remote.Address) is not { } place)
        {
            _refusals.Add(remote, "too many connections");
            Refuse(socket);
            return;
        }

        // The session runs in a task of its own, so that none of its delegates can delay the next accept.
        var session = Task.Run(() => RunAsync(socket, remote, place));
        lock (_gate)
        {
            _sessions.Add(session);
        }

        _ = session.ContinueWith(Forget, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
    }

    private async Task RunAsync(Socket socket, IPEndPoint remote, ConnectionPlace place)
    {
        try
        {
            socket.NoDelay = true;
            await using var session = new SmtpSession(
                new NetworkStream(socket, ownsSocket: true), remote, _options, _limiter, place, _refusals, _time,
                _logger, _stop.Token);
            await session.RunAsync();
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            socket.Dispose(); // the peer closed the connection before the session began
        }
        finally
        {
            place.Dispose();
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
            // The reply fits any socket buffer, so the call never blocks.
            socket.Send(new SmtpReply(421, null, "4.7.0 Too many connections, try again later").ToWire());
        }
        catch (SocketException)
        {
            // The connection is being refused, so it does not matter that the peer has closed it.
        }

        socket.Dispose();
    }
}
