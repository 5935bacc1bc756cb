using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SecureMail.Mail.Smtp;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Mail.Smtp.Server;

namespace SecureMail.TestKit;

/// <summary>A server that keeps what it takes, and what it was told to answer.</summary>
internal sealed class TestServer : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private SmtpServer _server = null!;

    public List<(SmtpEnvelope Envelope, byte[] Octets)> Taken { get; } = [];

    public int Aborted { get; private set; }

    /// <summary>Done when the first octets of some message have come in.</summary>
    public TaskCompletionSource Arrived { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Func<SmtpReply> OnCommit { get; set; } = () => new SmtpReply(250, "2.0.0", "Taken");

    public IPEndPoint Endpoint => _server.Endpoint;

    public static async Task<TestServer> StartAsync(
        Func<SmtpServerOptions, SmtpServerOptions>? change = null, TimeProvider? time = null)
    {
        var test = new TestServer();
        var options = new SmtpServerOptions
        {
            Listen = new IPEndPoint(IPAddress.Loopback, 0),
            HostName = "mx.test",
            OnData = (envelope, _) => Task.FromResult<SmtpReception>(new Reception(test, envelope)),
        };
        test._server = new SmtpServer(
            change?.Invoke(options) ?? options, time ?? TimeProvider.System,
            Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
        await test._server.StartAsync();
        return test;
    }

    public SmtpClientOptions ClientOptions =>
        new()
        {
            Host = "127.0.0.1",
            Port = Endpoint.Port,
            EhloName = "client.test",
        };

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    private sealed class Reception(TestServer test, SmtpEnvelope envelope) : SmtpReception
    {
        private readonly MemoryStream _octets = new();

        public override Task WriteAsync(ReadOnlyMemory<byte> octets, CancellationToken ct)
        {
            _octets.Write(octets.Span);
            test.Arrived.TrySetResult();
            return Task.CompletedTask;
        }

        public override Task<SmtpReply> CommitAsync(CancellationToken ct)
        {
            var reply = test.OnCommit();
            lock (test._gate)
            {
                test.Taken.Add((envelope, _octets.ToArray()));
            }

            return Task.FromResult(reply);
        }

        public override Task AbortAsync()
        {
            lock (test._gate)
            {
                test.Aborted++;
            }

            return Task.CompletedTask;
        }
    }
}

/// <summary>One end of a connection, spoken octet by octet.</summary>
internal sealed class RawPeer(Stream stream) : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private Stream _stream = stream;

    /// <param name="from">Null: whatever the system takes.</param>
    public static async Task<RawPeer> ConnectAsync(IPEndPoint endpoint, IPAddress? from = null)
    {
        var socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        if (from is not null)
        {
            socket.Bind(new IPEndPoint(from, 0));
        }

        await socket.ConnectAsync(endpoint);
        return new RawPeer(new NetworkStream(socket, ownsSocket: true));
    }

    public async Task WriteAsync(string text) => await _stream.WriteAsync(Encoding.Latin1.GetBytes(text));

    /// <summary>One line without its end; null when the other side has closed.</summary>
    public async Task<string?> LineAsync()
    {
        using var limit = new CancellationTokenSource(Patience);
        var line = new StringBuilder();
        var octet = new byte[1];
        while (true)
        {
            int read;
            try
            {
                read = await _stream.ReadAsync(octet, limit.Token);
            }
            catch (IOException)
            {
                read = 0;
            }

            if (read == 0)
            {
                return line.Length == 0 ? null : line.ToString();
            }

            if (octet[0] == '\n')
            {
                return line.ToString().TrimEnd('\r');
            }

            line.Append((char)octet[0]);
        }
    }

    /// <summary>One whole reply, its lines joined by "|".</summary>
    public async Task<string?> ReplyAsync()
    {
        var lines = new List<string>();
        while (await LineAsync() is { } line)
        {
            lines.Add(line);
            if (line.Length < 4 || line[3] != '-')
            {
                return string.Join('|', lines);
            }
        }

        return lines.Count == 0 ? null : string.Join('|', lines);
    }

    /// <summary>Reads and forgets until the other side has closed, or has broken off.</summary>
    public Task ReadToEndAsync() => ReadToEndAsync(_stream);

    public static async Task ReadToEndAsync(Stream stream)
    {
        var buffer = new byte[4096];
        try
        {
            while (await stream.ReadAsync(buffer) > 0)
            {
                // Whatever it says.
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // Broken off.
        }
    }

    public async Task<string?> AskAsync(string command)
    {
        await WriteAsync(command + "\r\n");
        return await ReplyAsync();
    }

    public async Task AsClientAsync(X509Certificate2? own)
    {
        var tls = new SslStream(_stream);
        await tls.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions
            {
                TargetHost = "mx.test",
                ClientCertificates = own is null ? null : [own],
                RemoteCertificateValidationCallback = (_, shown, _, _) => shown is not null,
            });
        _stream = tls;
    }

    public async Task AsServerAsync(X509Certificate2 own)
    {
        var tls = new SslStream(_stream);
        await tls.AuthenticateAsServerAsync(own);
        _stream = tls;
    }

    public ValueTask DisposeAsync() => _stream.DisposeAsync();
}

/// <summary>A server that does what the script says, for what no honest server does.</summary>
internal sealed class ScriptedServer : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly Task _script;

    public ScriptedServer(Func<RawPeer, Task> script)
    {
        _listener.Start();
        _script = RunAsync(script);
    }

    public SmtpClientOptions ClientOptions =>
        new()
        {
            Host = "127.0.0.1",
            Port = ((IPEndPoint)_listener.LocalEndpoint).Port,
            EhloName = "client.test",
        };

    public async ValueTask DisposeAsync()
    {
        _listener.Stop();
        await _script;
    }

    private async Task RunAsync(Func<RawPeer, Task> script)
    {
        using var socket = await _listener.AcceptSocketAsync();
        await using var peer = new RawPeer(new NetworkStream(socket));
        await script(peer);
    }
}

internal static class TestCertificates
{
    public static X509Certificate2 SelfSigned(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        using var made = request.CreateSelfSigned(
            DateTimeOffset.UnixEpoch.AddYears(50), DateTimeOffset.UnixEpoch.AddYears(80));
        return X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
    }
}
