using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Microsoft.Extensions.Logging.Abstractions;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Gateway.Keys;
using SecureMail.Mail.Smtp.Client;
using SecureMail.TestKit;
using SecureMail.TestKit.Probes;

namespace SecureMail.Benchmarks;

/// <summary>
/// The product's listener for mail with all that it stands on (mutual TLS, the directory, Receive, encrypted blobs, the
/// ledger's entry, the work queue) over a private PostgreSQL, in a process of its own with the runtime settings of the
/// product. Nothing else of a gateway runs there: what came in stays as it was committed.
/// </summary>
internal sealed class AcceptingGateway : IAsyncDisposable
{
    /// <summary>The argument that makes this program that process; the folder follows.</summary>
    public const string Command = "--accept-mail";

    public const string Recipient = "vanthu@receiver.test";

    private const string Name = "receiver.test";
    private const string PeerName = "sender.test";
    private const int AnyPort = 2525; // the directory wants one; the client is told which it is
    private readonly Process _process;
    private readonly GatewayIdentity _peer;

    private AcceptingGateway(Process process, GatewayIdentity peer) => (_process, _peer) = (process, peer);

    /// <summary>The gateway and its database server.</summary>
    public ProcessTree Processes { get; private set; } = null!;

    /// <summary>How its peer calls it.</summary>
    public SmtpClientOptions Client { get; private set; } = null!;

    /// <param name="folder">Empty, and the caller's to delete.</param>
    public static async Task<AcceptingGateway> StartAsync(string folder)
    {
        var peer = Setup(folder, PeerName);
        var record = Setup(folder, Name).CreateIdentity("127.0.0.1", AnyPort);
        await PublishAsync(folder, record, peer.CreateIdentity("127.0.0.1", AnyPort));
        // The runtime lies in shared/Microsoft.NETCore.App/VERSION beside the program that starts it.
        var dotnet = Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", "dotnet");
        var process = Process.Start(
            new ProcessStartInfo(
                dotnet,
                [
                    "exec", "--runtimeconfig", Path.Combine(AppContext.BaseDirectory, "securemail.runtimeconfig.json"),
                    typeof(AcceptingGateway).Assembly.Location, Command, folder,
                ])
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                UseShellExecute = false,
            })!;
        var gateway = new AcceptingGateway(process, GatewayIdentity.Load(peer.Keys, PeerName));
        try
        {
            var state = await gateway.ReadAsync();
            gateway.Processes = new ProcessTree(process.Id, state.Postmaster);
            gateway.Client = gateway._peer.CallTo(
                record with { Port = state.Port }, PeerName, new SmtpClientTimeouts(), TimeProvider.System);
            return gateway;
        }
        catch
        {
            await gateway.DisposeAsync();
            throw;
        }
    }

    /// <summary>What it has.</summary>
    public async Task<AcceptingState> AskAsync()
    {
        await _process.StandardInput.WriteLineAsync();
        return await ReadAsync();
    }

    public async ValueTask DisposeAsync()
    {
        _process.StandardInput.Close();
        await _process.WaitForExitAsync();
        _process.Dispose();
        _peer.Dispose();
    }

    /// <summary>The process itself: it says what it has once it listens, and after each line of its input; at the end
    /// of its input it deletes its database and ends.</summary>
    public static async Task ServeHereAsync(string folder)
    {
        var setup = Setup(folder, Name) with
        {
            Smtp = new IPEndPoint(IPAddress.Loopback, 0),
            DirectoryPublisher = Path.Combine(folder, "publisher.pem"),
        };
        var gateway = await TestGateway.OpenAsync(
            setup, TimeProvider.System, NullLoggerFactory.Instance, CancellationToken.None);
        var cluster = gateway.Database.Cluster!;
        await using (gateway)
        {
            await gateway.Directory.ImportAsync(
                await File.ReadAllBytesAsync(Path.Combine(folder, "directory.p7m")), CancellationToken.None);
            // A handshake goes by the version that was last asked for.
            await gateway.Directory.CurrentAsync(CancellationToken.None);
            await gateway.ListenAsync(CancellationToken.None);
            // The server's own lock file begins with the postmaster's process id.
            var postmaster = int.Parse(
                File.ReadLines(Path.Combine(cluster.SocketDirectory, ".s.PGSQL.5432.lock")).First(),
                CultureInfo.InvariantCulture);
            do
            {
                Console.WriteLine(
                    JsonSerializer.Serialize(
                        await StateAsync(gateway, cluster.ConnectionString("securemail_owner"), postmaster)));
            }
            // On a thread of its own: one of the pool's would be missing there while it waits.
            while (await Task.Factory.StartNew(
                Console.ReadLine, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)
                is not null);
        }

        cluster.DeleteFiles();
    }

    private static async Task<AcceptingState> StateAsync(TestGateway gateway, string owner, int postmaster)
    {
        var incoming = new IncomingProbe(new ProbeDatabase(owner));
        string? digest = null;
        if ((await incoming.IdsAsync()).FirstOrDefault() is var id && id != Guid.Empty)
        {
            await using var received = await gateway.Incoming.OpenReceivedAsync(id, CancellationToken.None);
            digest = Convert.ToHexString(await SHA256.HashDataAsync(received));
        }

        // Asked over the gateway's own connections, because a role or a connection may have its own setting.
        await using var settings = gateway.Database.Source.CreateCommand(
            "SELECT current_setting('fsync') = 'on' AND current_setting('synchronous_commit') = 'on'");
        return new AcceptingState(
            gateway.SmtpEndpoint!.Port, postmaster, (bool)(await settings.ExecuteScalarAsync())!,
            await incoming.ReceivedAsync(), digest);
    }

    private async Task<AcceptingState> ReadAsync() =>
        JsonSerializer.Deserialize<AcceptingState>(
            await _process.StandardOutput.ReadLineAsync()
                ?? throw new InvalidOperationException("The gateway that only accepts has ended."))!;

    private static GatewaySetup Setup(string folder, string name) =>
        new() { Name = name, DataFolder = Path.Combine(folder, name) };

    /// <summary>A directory with the two gateways and one agency at the one that receives, and its publisher's
    /// certificate.</summary>
    private static async Task PublishAsync(string folder, GatewayRecord receiver, GatewayRecord sender)
    {
        using var key = RSA.Create(2048);
        var now = DateTimeOffset.UtcNow;
        using var publisher = new CertificateRequest(
            "CN=publisher", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
            .CreateSelfSigned(now.AddDays(-1), now.AddDays(2));
        var directory = new DirectoryDocument
        {
            Version = 1,
            Issued = now,
            Gateways = [receiver, sender],
            Agencies =
            [
                new AgencyRecord(
                    Guid.CreateVersion7(), null, null, now.AddDays(-1), null,
                    [new AgencyGateway(Name, now.AddDays(-1), null)],
                    [new AgencyName("H90.SL.101", "Cơ quan nhận", Recipient, now.AddDays(-1), null)], []),
            ],
        };
        await File.WriteAllTextAsync(Path.Combine(folder, "publisher.pem"), publisher.ExportCertificatePem());
        await using var output = File.Create(Path.Combine(folder, "directory.p7m"));
        await CmsSigner.SignAttachedAsync(
            new MemoryStream(directory.ToBytes()), output,
            new SigningRequest(publisher, [], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1, now), key);
    }
}

/// <summary>What a gateway that only accepts has.</summary>
/// <param name="Port">Where it listens.</param>
/// <param name="Postmaster">Its PostgreSQL's first process.</param>
/// <param name="IsDurable">Whether fsync and synchronous_commit are on for what it commits.</param>
/// <param name="Received">Messages committed.</param>
/// <param name="Sha256">Of one of them as it is stored; null before the first.</param>
internal sealed record AcceptingState(int Port, int Postmaster, bool IsDurable, long Received, string? Sha256);
