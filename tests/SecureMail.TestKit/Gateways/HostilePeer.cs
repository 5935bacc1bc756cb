using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;
using SecureMail.Exchange;
using SecureMail.Gateway;
using SecureMail.Gateway.Keys;

namespace SecureMail.TestKit;

/// <summary>Where a peer goes wrong, and how: <c>hang</c>, <c>close</c>, <c>reset</c>, <c>raw</c> (octets that are no
/// TLS, on the socket below it), or what it says instead.</summary>
/// <param name="At">greeting, ehlo, starttls, tls, ehlo2, mail, rcpt, rcpt2 (the second one), data, body, dot or
/// quit.</param>
internal sealed record PeerFault(string At, string Do);

/// <summary>A message that a peer took, and for whom.</summary>
internal sealed record TakenMail(IReadOnlyList<string> Recipients, byte[] Octets);

/// <summary>
/// The SMTP side of another gateway, with a TLS key that the directory pins, that takes mail as it should but for the
/// fault that each of its connections is given. It counts, and keeps what it took.
/// </summary>
internal sealed class HostilePeer : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task> _running = [];
    private readonly ConcurrentQueue<TakenMail> _taken = [];
    private readonly GatewayIdentity _identity;
    private readonly Func<int, PeerFault?> _faultOf;
    private int _connections;
    private int _messages;
    private int _copies;

    /// <param name="faultOf">The fault of the n-th connection, from 1; null: none.</param>
    public HostilePeer(string name, string folder, Func<int, PeerFault?> faultOf)
    {
        _faultOf = faultOf;
        _listener.Start();
        var options = new GatewaySetup { Name = name, DataFolder = Path.Combine(folder, name) };
        Record = options.CreateIdentity("127.0.0.1", ((IPEndPoint)_listener.LocalEndpoint).Port);
        _identity = GatewayIdentity.Load(options.Keys, options.Name);
        _running.Add(AcceptAsync());
    }

    public GatewayRecord Record { get; }

    public GatewayIdentity Identity => _identity;

    public int Connections => _connections;

    /// <summary>Whole messages that came, the final dot included.</summary>
    public int Messages => _messages;

    /// <summary>The same, each as often as it had recipients.</summary>
    public int Copies => _copies;

    /// <summary>The same, as they came.</summary>
    public IReadOnlyCollection<TakenMail> Taken => _taken;

    /// <summary>An agency like another, served by this peer.</summary>
    public AgencyRecord Agency(AgencyRecord like, int number, string prefix = "H90.XX") =>
        like.ServedBy(Record.Name) with
        {
            Id = Guid.CreateVersion7(),
            Names =
            [
                like.Names[^1] with
                {
                    Code = $"{prefix}.{number:000}",
                    Name = $"Cơ quan {number}",
                    Address = $"vanthu{number}@{Record.Name}",
                },
            ],
        };

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        await Task.WhenAll(_running);
        _identity.Dispose();
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var socket = await _listener.AcceptSocketAsync(_stop.Token);
                var fault = _faultOf(Interlocked.Increment(ref _connections));
                lock (_running)
                {
                    _running.Add(ServeAsync(socket, fault));
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }

    private async Task ServeAsync(Socket socket, PeerFault? fault)
    {
        using (socket)
        {
            try
            {
                await using var raw = new NetworkStream(socket);
                await new Session(this, socket, raw, fault).RunAsync(_stop.Token);
            }
            catch (Exception e)
                when (e
                        is IOException
                            or SocketException
                            or OperationCanceledException
                            or AuthenticationException
                            or ObjectDisposedException)
            {
                // The client went, or the test is over.
            }
        }
    }

    private sealed class Session(HostilePeer peer, Socket socket, NetworkStream raw, PeerFault? fault)
    {
        private readonly byte[] _octet = new byte[1];
        private Stream _stream = raw;
        private int _named;
        private readonly List<string> _recipients = [];

        public async Task RunAsync(CancellationToken stop)
        {
            var secured = false;
            if (!await SayAsync("greeting", "220 peer.test ESMTP\r\n", stop))
            {
                return;
            }

            while (await LineAsync(stop) is { } line)
            {
                var verb = line.Split(' ', ':')[0].ToUpperInvariant();
                var goesOn = verb switch
                {
                    "EHLO" => await SayAsync(
                        secured ? "ehlo2" : "ehlo",
                        secured
                            ? "250-peer.test\r\n250-8BITMIME\r\n250 SIZE 100000000\r\n"
                            : "250-peer.test\r\n250 STARTTLS\r\n",
                        stop),
                    "STARTTLS" => await SayAsync("starttls", "220 go\r\n", stop) && (secured = await SecureAsync(stop)),
                    "MAIL" => await SayAsync("mail", "250 2.1.0 ok\r\n", stop),
                    "RCPT" => await RecipientAsync(line, stop),
                    "DATA" => await SayAsync("data", "354 go\r\n", stop)
                        && (fault is { At: "data" } || await TakeAsync(stop)),
                    _ => await SayAsync("quit", "221 bye\r\n", stop) && verb != "QUIT",
                };
                if (!goesOn)
                {
                    return;
                }
            }
        }

        private async Task<bool> RecipientAsync(string line, CancellationToken stop)
        {
            if (++_named == 2 && fault is { At: "rcpt2" })
            {
                return await SayAsync("rcpt2", "", stop);
            }

            _recipients.Add(line[(line.IndexOf('<', StringComparison.Ordinal) + 1)..line.LastIndexOf('>')]);
            return await SayAsync("rcpt", "250 2.1.5 ok\r\n", stop);
        }

        private async Task<bool> TakeAsync(CancellationToken stop)
        {
            if (fault is { At: "body" })
            {
                await LineAsync(stop);
                return await SayAsync("body", "", stop);
            }

            using var data = new MemoryStream();
            var buffer = new byte[64 * 1024];
            while (!data.GetBuffer().AsSpan(0, (int)data.Length).EndsWith("\r\n.\r\n"u8))
            {
                var read = await _stream.ReadAsync(buffer, stop);
                if (read == 0)
                {
                    return false;
                }

                data.Write(buffer, 0, read);
            }

            // Lines of mail that is encrypted begin with no dot, so none was doubled.
            peer._taken.Enqueue(new TakenMail([.. _recipients], data.ToArray()[..^3]));
            Interlocked.Increment(ref peer._messages);
            Interlocked.Add(ref peer._copies, _recipients.Count);
            return await SayAsync("dot", "250 2.0.0 taken\r\n", stop);
        }

        private async Task<bool> SecureAsync(CancellationToken stop)
        {
            if (fault is { At: "tls" })
            {
                return await SayAsync("tls", "", stop);
            }

            var tls = new SslStream(raw, leaveInnerStreamOpen: true);
            _stream = tls;
            await tls.AuthenticateAsServerAsync(
                new SslServerAuthenticationOptions
                {
                    ServerCertificate = peer._identity.Tls,
                    ClientCertificateRequired = true,
                    EnabledSslProtocols = SslProtocols.Tls13,
                    RemoteCertificateValidationCallback = (_, shown, _, _) => shown is not null,
                },
                stop);
            return true;
        }

        /// <summary>Says what belongs here, or does what the fault says. False: the session is over.</summary>
        private async Task<bool> SayAsync(string at, string text, CancellationToken stop)
        {
            switch (fault?.At == at ? fault.Do : null)
            {
                case null:
                    await _stream.WriteAsync(Encoding.Latin1.GetBytes(text), stop);
                    return true;
                case "hang":
                    // Until the client goes, or the test is over.
                    while (await raw.ReadAsync(new byte[4096], stop) > 0) { }

                    return false;
                case "close":
                    return false;
                case "reset":
                    socket.LingerState = new LingerOption(true, 0);
                    return false;
                case "raw":
                    await raw.WriteAsync(Enumerable.Range(0, 3000).Select(i => (byte)(i * 31)).ToArray(), stop);
                    return true;
                case { } said:
                    await _stream.WriteAsync(Encoding.Latin1.GetBytes(said), stop);
                    return true;
            }
        }

        private async Task<string?> LineAsync(CancellationToken stop)
        {
            var line = new StringBuilder();
            while (await _stream.ReadAsync(_octet, stop) == 1)
            {
                if (_octet[0] == '\n')
                {
                    return line.ToString().TrimEnd('\r');
                }

                line.Append((char)_octet[0]);
            }

            return null;
        }
    }
}
