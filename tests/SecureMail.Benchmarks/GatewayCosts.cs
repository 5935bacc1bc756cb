using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Npgsql;

namespace SecureMail.Benchmarks;

/// <summary>
/// What a gateway costs as a whole, as CPU time of its process and of its PostgreSQL: at rest, and for one dispatch of
/// 10 KB to one agency, judged, receipted and in both ledgers, alone or among others. The dispatch is compared with its
/// floor: what the steps that cannot be left out cost by themselves in the same run, where each dispatch has
/// connections and checkpoints of its own.
/// </summary>
internal static class GatewayCosts
{
    public const string Idle = "host.idle";
    public const string Dispatch = "e2e.10k";
    public const string Together = "e2e.10k.together";

    // Until then the compiler works on what is called often.
    private const int Warm = 60;
    private const int Dispatches = 30;

    // So many at a time: an agency's morning.
    private const int AtATime = 8;
    private const int DispatchesTogether = 64;
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Settles = TimeSpan.FromSeconds(30);

    // The signature of the document, that of the receipt, and the content key that the recipient's token opens.
    private const int TokenCalls = 3;

    // Sender: taken in, signed, sent, receipt taken in, receipt judged. Recipient: taken in, judged, receipt signed,
    // receipt sent. And a checkpoint for the entries of each step that something waits for: two at each.
    private const int Commits = 13;

    // The dispatch and the receipt go over one connection each.
    private const int Handshakes = 2;

    public static IEnumerable<string> Names => [Idle, Dispatch, Together];

    public static async Task RunAsync(Func<string, bool> wanted, Action<GatewayCost> print)
    {
        if (!Names.Any(wanted))
        {
            return;
        }

        var folder = Directory.CreateTempSubdirectory("securemail-bench-");
        try
        {
            var document = Path.Combine(folder.FullName, "document.bin");
            await File.WriteAllBytesAsync(document, RandomNumberGenerator.GetBytes(10_000));
            await using var pair = await GatewayPair.StartAsync(folder.FullName);
            for (var i = 0; i < Warm; i++)
            {
                await pair.DispatchAsync(document);
            }

            var floor = wanted(Dispatch) || wanted(Together) ? await FloorAsync(pair) : null;
            if (wanted(Dispatch))
            {
                var cpu = await MeasureAsync(
                    pair,
                    async () =>
                    {
                        for (var i = 0; i < Dispatches; i++)
                        {
                            await pair.DispatchAsync(document);
                        }
                    });
                print(
                    new GatewayCost(
                        Dispatch, "ms of CPU a dispatch",
                        cpu.ToDictionary(c => c.Key, c => c.Value * 1000 / Dispatches), floor, MostOfFloor: 5));
            }

            if (wanted(Together))
            {
                var cpu = await MeasureAsync(
                    pair,
                    () => Parallel.ForEachAsync(
                        Enumerable.Range(0, DispatchesTogether),
                        new ParallelOptions { MaxDegreeOfParallelism = AtATime },
                        async (_, _) => await pair.DispatchAsync(document)));
                print(
                    new GatewayCost(
                        Together, "ms of CPU a dispatch",
                        cpu.ToDictionary(c => c.Key, c => c.Value * 1000 / DispatchesTogether), floor, MostOfFloor: 5));
            }

            if (wanted(Idle))
            {
                await Task.Delay(Settles);
                var cpu = await MeasureAsync(pair, () => Task.Delay(Rest));
                print(
                    new GatewayCost(
                        Idle, "% of a core", cpu.ToDictionary(c => c.Key, c => c.Value * 100 / Rest.TotalSeconds), null,
                        MostOfFloor: null));
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static async Task<Dictionary<string, double>> MeasureAsync(GatewayPair pair, Func<Task> work)
    {
        var before = pair.Cpu();
        await work();
        return pair.Cpu().ToDictionary(c => c.Key, c => c.Value - before[c.Key]);
    }

    /// <summary>Milliseconds of CPU, by part.</summary>
    private static async Task<Dictionary<string, double>> FloorAsync(GatewayPair pair)
    {
        using var tokens = new TokenContests();
        using var cms = new CmsContests();
        return new()
        {
            ["token calls"] = TokenCalls * Own(200, tokens.All.Single(c => c.Name == "token.sign").Make().Theirs),
            // The recipient opens and verifies the dispatch, and the sender the receipt. What is written costs less.
            ["ciphers"] = 2 * Own(200, cms.All.Single(c => c.Name == "cms.decrypt-verify.10k").Make().Theirs),
            ["commits"] = Commits * await CommitAsync(pair),
            ["TLS"] = Handshakes * await HandshakeAsync(),
        };
    }

    private static double Own(int times, Action work)
    {
        work();
        var before = Interop.CpuMicroseconds();
        for (var i = 0; i < times; i++)
        {
            work();
        }

        return (Interop.CpuMicroseconds() - before) / times / 1000;
    }

    /// <summary>One row inserted and committed, as CPU of the client and of the server.</summary>
    private static async Task<double> CommitAsync(GatewayPair pair)
    {
        const int Times = 500;
        await using var connection = new NpgsqlConnection(pair.SendersDatabase.ConnectionString("securemail_owner"));
        await connection.OpenAsync();
        await using (var make = new NpgsqlCommand("CREATE TABLE public.floor (row bytea NOT NULL)", connection))
        {
            await make.ExecuteNonQueryAsync();
        }

        await using var insert = new NpgsqlCommand("INSERT INTO public.floor VALUES ($1)", connection)
        {
            Parameters = { new() { Value = RandomNumberGenerator.GetBytes(300) } },
        };
        await insert.PrepareAsync();
        await insert.ExecuteNonQueryAsync();
        var (own, server) = (Interop.CpuMicroseconds(), pair.Cpu()["sender-postgresql"]);
        for (var i = 0; i < Times; i++)
        {
            await insert.ExecuteNonQueryAsync();
        }

        return ((Interop.CpuMicroseconds() - own) / 1000 + ((pair.Cpu()["sender-postgresql"] - server) * 1000)) / Times;
    }

    /// <summary>TLS 1.3 with a certificate on each side, both ends in this process. What can be made once is made once,
    /// and the compiler has come to its end.</summary>
    private static async Task<double> HandshakeAsync()
    {
        const int Times = 200;
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var made = new CertificateRequest("CN=bench", key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        using var certificate = X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
        var context = SslStreamCertificateContext.Create(certificate, additionalCertificates: null, offline: true);
        var chain = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            DisableCertificateDownloads = true,
            RevocationMode = X509RevocationMode.NoCheck,
        };
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        for (var i = 0; i < Times; i++)
        {
            await ShakeAsync();
        }

        var before = Interop.CpuMicroseconds();
        for (var i = 0; i < Times; i++)
        {
            await ShakeAsync();
        }

        return (Interop.CpuMicroseconds() - before) / 1000 / Times;

        bool IsOurs(object sender, X509Certificate? presented, X509Chain? chain, SslPolicyErrors errors) =>
            presented is not null && presented.GetRawCertData().AsSpan().SequenceEqual(certificate.RawData);

        async Task ShakeAsync()
        {
            var accepted = listener.AcceptTcpClientAsync();
            using var client = new TcpClient();
            await client.ConnectAsync((IPEndPoint)listener.LocalEndpoint);
            using var server = await accepted;
            await using var theirs = new SslStream(server.GetStream());
            await using var ours = new SslStream(client.GetStream());
            await Task.WhenAll(
                theirs.AuthenticateAsServerAsync(
                    new SslServerAuthenticationOptions
                    {
                        ServerCertificateContext = context,
                        ClientCertificateRequired = true,
                        EnabledSslProtocols = SslProtocols.Tls13,
                        CertificateChainPolicy = chain,
                        AllowTlsResume = false,
                        RemoteCertificateValidationCallback = IsOurs,
                    }),
                ours.AuthenticateAsClientAsync(
                    new SslClientAuthenticationOptions
                    {
                        TargetHost = "bench",
                        ClientCertificateContext = context,
                        EnabledSslProtocols = SslProtocols.Tls13,
                        CertificateChainPolicy = chain,
                        AllowTlsResume = false,
                        RemoteCertificateValidationCallback = IsOurs,
                    }));
        }
    }
}

/// <summary>A cost by process, and its floor by part in the same unit.</summary>
/// <param name="MostOfFloor">How many times the floor the sum may be.</param>
internal sealed record GatewayCost(
    string Name, string Unit, IReadOnlyDictionary<string, double> Parts, IReadOnlyDictionary<string, double>? Floor,
    double? MostOfFloor)
{
    public double Sum => Parts.Values.Sum();

    public double? TimesFloor => Floor is { } floor ? Sum / floor.Values.Sum() : null;
}
