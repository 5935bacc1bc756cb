using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Retention;
using SecureMail.Host.Schema;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Storage;
using SecureMail.TestKit.Probes;

namespace SecureMail.TestKit;

/// <summary>
/// Two gateways as in the demo, in this process: A serves the province, B two communes. Each has a database of its own
/// on the run's cluster, keys of its own and tokens of the development PKI; they meet over SMTP with mutual TLS on
/// loopback.
/// </summary>
public sealed class TwoGateways : IAsyncDisposable
{
    public const string Province = "H90.SL.001";
    public const string AnHoa = "H90.SL.101";
    public const string BinhMinh = "H90.SL.102";

    private static readonly TimeSpan Patience = TimeLimit.Limit;

    // What the gateways say is shown where a run asks for it: SECUREMAIL_TEST_LOG=1.
    private static readonly ILoggerFactory Loggers = Environment.GetEnvironmentVariable("SECUREMAIL_TEST_LOG") is null
        ? NullLoggerFactory.Instance
        : LoggerFactory.Create(b =>
            b.SetMinimumLevel(LogLevel.Debug)
                .AddSimpleConsole(o => (o.SingleLine, o.TimestampFormat) = (true, "mm:ss.fff ")));

    private static readonly Lazy<Task<DirectoryDocument>> Published = new(PublishOnceAsync);

    private readonly string _folder = Directory.CreateTempSubdirectory("smgw").FullName;

    private GatewayRecord _a = null!;
    private GatewayRecord _b = null!;

    private TwoGateways() { }

    public RunningGateway A { get; private set; } = null!;

    public RunningGateway B { get; private set; } = null!;

    public string Folder => _folder;

    /// <summary>Starts both, with the directory imported.</summary>
    /// <param name="changeA">Changes A's options: other tokens, shorter times.</param>
    /// <param name="changeDirectory">Changes the directory that both import.</param>
    /// <param name="postgresB">B's databases lie on a server of its own; null: on the same.</param>
    /// <param name="run">False: they are opened, and serve when the test says so, here or as processes of their
    /// own.</param>
    public static async Task<TwoGateways> StartAsync(
        PostgresServer postgres, Func<GatewaySetup, GatewaySetup>? changeA = null,
        Func<GatewaySetup, GatewaySetup>? changeB = null, TimeProvider? timeA = null, TimeProvider? timeB = null,
        Func<DirectoryDocument, DirectoryDocument>? changeDirectory = null, bool run = true,
        PostgresServer? postgresB = null)
    {
        var pair = new TwoGateways();
        (pair.A, pair._a) = await pair.OpenAsync("a", changeA, timeA, postgres);
        (pair.B, pair._b) = await pair.OpenAsync("b", changeB, timeB, postgresB ?? postgres);
        var directory = await pair.PublishAsync(1);
        if (changeDirectory is not null)
        {
            directory = await TestDirectory.SignAsync(changeDirectory(await TestDirectory.ReadAsync(directory)));
        }

        foreach (var gateway in new[] { pair.A, pair.B })
        {
            await gateway.Node.Directory.ImportAsync(directory, CancellationToken.None);
            if (run)
            {
                gateway.Run();
            }
        }

        return pair;
    }

    /// <summary>A directory of this version, signed by the publisher, in the file <c>directory-N.p7m</c> too. The
    /// agencies
    /// are those that certs-dev/publish writes, which runs once; the gateways are these two.</summary>
    public async Task<byte[]> PublishAsync(long version)
    {
        var agencies = await Published.Value;
        var signed = await TestDirectory.SignAsync(
            agencies with { Version = version, Issued = DateTimeOffset.UtcNow, Gateways = [_a, _b] });
        await File.WriteAllBytesAsync(Path.Combine(_folder, $"directory-{version}.p7m"), signed);
        return signed;
    }

    private static async Task<DirectoryDocument> PublishOnceAsync()
    {
        var work = Directory.CreateTempSubdirectory("smdir").FullName;
        try
        {
            foreach (var letter in new[] { "a", "b" })
            {
                var record = new GatewaySetup
                {
                    Name = $"gateway-{letter}.test",
                    DataFolder = Path.Combine(work, letter),
                }.CreateIdentity("127.0.0.1", 2525);
                await File.WriteAllTextAsync(
                    Path.Combine(work, letter + ".json"),
                    System.Text.Json.JsonSerializer.Serialize(record, System.Text.Json.JsonSerializerOptions.Web));
            }

            var file = Path.Combine(work, "directory.p7m");
            SoftHsm.SetNativeVariable("SECUREMAIL_DEV_PKI", Pki);
            await SoftHsm.RunAsync(
                Path.Combine(Repository.Root, "certs-dev", "publish"), "1", file, $"a={Path.Combine(work, "a.json")}",
                $"b={Path.Combine(work, "b.json")}");
            return await TestDirectory.ReadAsync(await File.ReadAllBytesAsync(file));
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }

    public static string Pki => Path.Combine(SoftHsm.Folder, "pki");

    /// <summary>The documents of a submission.</summary>
    public static IAsyncEnumerable<SubmittedDocument> Documents(params SubmittedDocument[] documents) =>
        documents.ToAsyncEnumerable();

    public static Submission Submission(params string[] recipients) =>
        new()
        {
            Sender = Province,
            Recipients = recipients,
            Notation = "CV/VPTU",
            Fields = new DispatchFields { Number = "", Subject = "V/v triệu tập hội nghị" },
            Documents = Documents(
                new SubmittedDocument("Công văn số 1.txt", "text/plain", () =>
                    new MemoryStream(Encoding.UTF8.GetBytes("Nội dung công văn")))),
        };

    /// <summary>Asks until the answer is there; the wait is bounded and its end is a failure.</summary>
    public static async Task<T> EventuallyAsync<T>(Func<Task<T?>> ask, string what)
        where T : class
    {
        using var patience = new CancellationTokenSource(Patience);
        while (!patience.IsCancellationRequested)
        {
            if (await ask() is { } answer)
            {
                return answer;
            }

            await Task.Delay(50, CancellationToken.None);
        }

        throw new TimeoutException(what);
    }

    /// <summary>Asks until it is so; the wait is bounded and its end is a failure.</summary>
    public static Task UntilAsync(Func<Task<bool>> isSo, string what) =>
        EventuallyAsync(async () => await isSo() ? "" : null, what);

    /// <summary>Waits until both take mail: a test that speaks to them itself does not try again as a gateway
    /// would.</summary>
    public async Task ListeningAsync()
    {
        await EventuallyAsync(() => Task.FromResult(A.Node.SmtpEndpoint), "gateway A to listen");
        await EventuallyAsync(() => Task.FromResult(B.Node.SmtpEndpoint), "gateway B to listen");
    }

    /// <summary>Delivers octets to B as gateway A would: over TLS with A's key.</summary>
    public async Task<SmtpRecipientResult> InjectAsync(
        byte[] message, string recipient, string from = "vanthu@tinhuy.songlam.test")
    {
        await using var client = await SmtpClient.ConnectAsync(
            new SmtpClientOptions
            {
                Host = "127.0.0.1",
                Port = B.Port,
                EhloName = "gateway-a.test",
                RequireTls = true,
                ClientCertificate = A.Node.Identity.Tls,
                PinServer = _ => true,
            },
            TimeProvider.System);
        return (await client.SendAsync(from, [recipient], new MemoryStream(message)))[0];
    }

    public async ValueTask DisposeAsync()
    {
        await A.DisposeAsync();
        await B.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private async Task<(RunningGateway Gateway, GatewayRecord Record)> OpenAsync(
        string letter, Func<GatewaySetup, GatewaySetup>? change, TimeProvider? time, PostgresServer postgres)
    {
        var owner = await postgres.CreateMigratedDatabaseAsync();
        var options = new GatewaySetup
        {
            Name = $"gateway-{letter}.test",
            DataFolder = Path.Combine(_folder, letter),
            DatabaseConnection = PostgresServer.AsGateway(owner),
            OwnerConnection = owner,
            Smtp = new IPEndPoint(IPAddress.Loopback, 0),
            Anchors = [Path.Combine(Pki, "root.pem")],
            Intermediates = [Path.Combine(Pki, "issuing.pem")],
            Crls = [Path.Combine(Pki, "root.crl.pem"), Path.Combine(Pki, "issuing.crl.pem")],
            DirectoryPublisher = Path.Combine(Pki, "publisher.pem"),
            Tokens =
            [
                .. (
                    letter == "a" ? new[] { "tinh-uy-song-lam", "tinh-uy-thanh-binh" } : ["an-hoa", "binh-minh"]
                ).Select(TokenOf),
            ],
        };
        options = change?.Invoke(options) ?? options;
        if (options.DatabaseConnection is null)
        {
            // A private cluster instead of the database that was made, which is migrated already.
            await GatewayDatabase.MigrateAsync(options.Database, HostSchema.Migrator, CancellationToken.None);
        }

        var port = TestPorts.Next();
        options = options with { Smtp = new IPEndPoint(IPAddress.Loopback, port) };
        var record = options.CreateIdentity("127.0.0.1", port);
        var node = await TestGateway.OpenAsync(options, time ?? TimeProvider.System, Loggers, CancellationToken.None);
        var gateway = new RunningGateway(
            node, options, node.Database.Cluster?.ConnectionString("securemail_owner") ?? owner, port);
        return (gateway, record);
    }

    public static TokenOptions TokenOf(string label) =>
        new($"pkcs11:token={label}?module-path={SoftHsm.Module}", Path.Combine(Pki, "agencies", label + ".pin"), null);
}

/// <summary>One gateway of a test, running until disposed.</summary>
public sealed class RunningGateway(TestGateway node, GatewaySetup options, string owner, int port) : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private Task _run = Task.CompletedTask;

    public TestGateway Node => node;

    public GatewaySetup Options => options;

    /// <summary>A connection string of the role that owns the schema.</summary>
    public string Owner => owner;

    /// <summary>For looking, and for damage that the gateway itself could not do.</summary>
    internal GatewayProbe Probe { get; } = new(owner);

    public int Port => port;

    public void Run() => _run = node.RunAsync(_stop.Token);

    /// <summary>Ends serving; the node stays open to be read.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await _run;
    }

    public Task<OutgoingDispatch> OutgoingAsync(Guid dispatch, Func<OutgoingDispatch, bool> until) =>
        TwoGateways.EventuallyAsync(
            async () => await node.Outgoing.FindAsync(dispatch, CancellationToken.None) is { } d && until(d) ? d : null,
            $"dispatch {dispatch}");

    /// <summary>The first incoming message that fits.</summary>
    public Task<IncomingMessage> IncomingAsync(Func<IncomingMessage, bool> fits) =>
        TwoGateways.EventuallyAsync(
            async () => (await node.Incoming.ListAsync(null, null, 1000, CancellationToken.None)).FirstOrDefault(fits),
            "an incoming message");

    internal RetentionSweep Sweeper(RetentionOptions retention) =>
        new(node.Database, retention, TimeProvider.System, NullLogger<RetentionSweep>.Instance);

    internal Task<IReadOnlyDictionary<string, long>> SweepAsync(RetentionOptions retention) =>
        Sweeper(retention).RunAsync(CancellationToken.None);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _run;
        await node.DisposeAsync();
        _stop.Dispose();
    }
}
