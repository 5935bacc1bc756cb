using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Npgsql;
using SecureMail.Storage;
using SecureMail.TestKit;
using SecureMail.TestKit.Probes;

namespace SecureMail.Benchmarks;

/// <summary>
/// Two gateways as scripts/demo makes them, each <c>securemail serve</c> in a process of its own on a private
/// PostgreSQL of its own, with the tokens of the development PKI; used as people use them, by the command line and the
/// console.
/// </summary>
internal sealed partial class GatewayPair : IAsyncDisposable
{
    /// <summary>The program as it is published, with its own runtime: what an office installs.</summary>
    public static readonly string Program = Path.Combine(
        Repository.Root, "artifacts", "bench", "securemail", "securemail");

    private const string Sender = "H90.SL.001";
    private const string Recipient = "H90.SL.101";
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(15);
    private static readonly TimeSpan SampleEvery = TimeSpan.FromMilliseconds(200);
    private static readonly string Pki = Path.Combine(Repository.Root, "certs-dev", "made");
    private readonly string _folder;
    private readonly HttpClient _http = new() { Timeout = Patience };
    private readonly List<Running> _gateways = [];
    private readonly List<PrivateCluster> _clusters = [];
    private readonly List<ProcessWatch> _watches = [];
    private readonly CancellationTokenSource _stop = new();
    private Task _sampling = Task.CompletedTask;

    private GatewayPair(string folder) => _folder = folder;

    public static async Task<GatewayPair> StartAsync(string folder)
    {
        var pair = new GatewayPair(folder);
        try
        {
            await pair.StartAsync();
            return pair;
        }
        catch
        {
            await pair.DisposeAsync();
            throw;
        }
    }

    /// <summary>Sends one document through both gateways and reads it out of the inbox; throws unless it is the same
    /// octets and the receipt came back.</summary>
    public async Task<Transfer> SendAsync(string document)
    {
        foreach (var watch in Watches())
        {
            watch.Sample();
        }

        var before = Watches().Where(w => w.Name != "send").ToDictionary(w => w.Name, w => w.CpuSeconds);
        // The runtime keeps its diagnostic sockets there.
        var runtimes = TemporaryFiles();
        var clock = Stopwatch.StartNew();
        using var sending = new Running(
            Program, Environment(), "send", "--config", ConfigurationOf("a"), "--json", "--from", Sender, "--to",
            Recipient, "--notation", "CV/VPTU", "--subject", "V/v đo lường", document);
        var send = new ProcessWatch("send", sending.Process.Id);
        lock (_watches)
        {
            _watches.RemoveAll(w => w.Name == send.Name);
            _watches.Add(send);
        }

        var answer = JsonDocument.Parse(await sending.EndAsync()).RootElement;
        var accepted = clock.Elapsed;
        var dispatch = answer.GetProperty("dispatchId").GetString()!;

        await UntilAsync(
            async () =>
                (await _http.GetStringAsync($"{_gateways[0].Url}/outgoing/{dispatch}")).Contains(
                    "dispatch.acknowledged", StringComparison.Ordinal),
            "the receipt");
        var acknowledged = clock.Elapsed;

        var link = IncomingLink().Match(await _http.GetStringAsync($"{_gateways[1].Url}/incoming"));
        using var response = await _http.GetAsync(
            $"{_gateways[1].Url}{link.Value}/documents/1", HttpCompletionOption.ResponseHeadersRead);
        response.EnsureSuccessStatusCode();
        await using var received = await response.Content.ReadAsStreamAsync();
        await using var sent = File.OpenRead(document);
        if (Convert.ToHexString(await SHA256.HashDataAsync(received))
            != Convert.ToHexString(await SHA256.HashDataAsync(sent)))
        {
            throw new InvalidOperationException("The document in the inbox is not the one that was sent.");
        }

        var read = clock.Elapsed;

        foreach (var watch in Watches())
        {
            watch.Sample();
        }

        if (TemporaryFiles().Except(runtimes).FirstOrDefault() is { } left)
        {
            throw new InvalidOperationException($"A temporary file was left behind: {Path.GetFileName(left)}");
        }

        return new Transfer(
            sent.Length, accepted, acknowledged, read, Watches().ToDictionary(w => w.Name),
            Watches().ToDictionary(w => w.Name, w => w.CpuSeconds - before.GetValueOrDefault(w.Name)));
    }

    /// <summary>The sender's database, for who reads what the gateway wrote, or measures what a bare commit costs
    /// there.</summary>
    public PrivateCluster SendersDatabase => _clusters[0];

    /// <summary>CPU seconds of both gateways and both servers so far, by name.</summary>
    public Dictionary<string, double> Cpu()
    {
        foreach (var watch in Watches())
        {
            watch.Sample();
        }

        return Watches().Where(w => w.Name != "send").ToDictionary(w => w.Name, w => w.CpuSeconds);
    }

    /// <summary>Sends one document and waits for its receipt; asks nothing of the gateways meanwhile.</summary>
    public async Task DispatchAsync(string document)
    {
        var answer = JsonDocument.Parse(
            await Running.RunAsync(
                Program, Environment(), "send", "--config", ConfigurationOf("a"), "--json", "--from", Sender, "--to",
                Recipient, "--notation", "CV/VPTU", "--subject", "V/v đo lường", document)).RootElement;
        // What asking costs is counted with the sender's server, so it is asked as cheaply as can be.
        var asking = new NpgsqlConnectionStringBuilder(SendersDatabase.ConnectionString("securemail_owner"))
        {
            MaxAutoPrepare = 1,
            AutoPrepareMinUsages = 1,
            NoResetOnClose = true,
        };
        var outgoing = new OutgoingProbe(new ProbeDatabase(asking.ConnectionString));
        var dispatch = answer.GetProperty("dispatchId").GetGuid();
        await UntilAsync(() => outgoing.IsAcknowledgedAsync(dispatch), "the receipt");
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _sampling;
        foreach (var gateway in _gateways)
        {
            await gateway.StopAsync();
        }

        foreach (var cluster in _clusters)
        {
            await cluster.DisposeAsync();
            cluster.DeleteFiles();
        }

        _http.Dispose();
        _stop.Dispose();
    }

    private async Task StartAsync()
    {
        await Running.RunAsync(Path.Combine(Repository.Root, "certs-dev", "make"), Environment());
        var (ports, directory) = (FreePorts(4), Path.Combine(_folder, "directory.p7m"));
        foreach (var (letter, n) in new[] { ("a", 0), ("b", 1) })
        {
            Directory.CreateDirectory(TemporaryOf(letter));
            await WriteConfigurationAsync(letter, http: ports[n], smtp: ports[2 + n]);
            await File.WriteAllTextAsync(
                Path.Combine(_folder, letter + ".record.json"),
                await Running.RunAsync(
                    Program, Environment(), "init", "--config", ConfigurationOf(letter), "--host", "127.0.0.1"));
        }

        await Running.RunAsync(
            Path.Combine(Repository.Root, "certs-dev", "publish"), Environment(), "1", directory,
            $"a={_folder}/a.record.json", $"b={_folder}/b.record.json");
        foreach (var (letter, n) in new[] { ("a", 0), ("b", 1) })
        {
            var gateway = new Running(
                Program, [.. Environment(), ("TMPDIR", TemporaryOf(letter))], "serve", "--config",
                ConfigurationOf(letter))
            {
                Url = $"http://127.0.0.1:{ports[n]}",
            };
            _gateways.Add(gateway);
            await UntilAsync(() => AnswersAsync(gateway, "live"), "a gateway to start");
            await Running.RunAsync(
                Program, Environment(), "directory", "import", directory, "--config", ConfigurationOf(letter));
            var cluster = await PrivateCluster.OpenAsync(Path.Combine(_folder, letter), CancellationToken.None);
            _clusters.Add(cluster);
            var role = n == 0 ? "sender" : "receiver";
            _watches.Add(new ProcessWatch(role, gateway.Process.Id, temporary: TemporaryOf(letter)));
            // The server's own lock file begins with the postmaster's process id.
            _watches.Add(
                new ProcessWatch(
                    role + "-postgresql",
                    int.Parse(
                        File.ReadLines(Path.Combine(cluster.SocketDirectory, ".s.PGSQL.5432.lock")).First(),
                        CultureInfo.InvariantCulture),
                    isServer: true));
        }

        foreach (var gateway in _gateways)
        {
            await UntilAsync(() => AnswersAsync(gateway, "ready"), "a gateway to be ready");
        }

        foreach (var watch in _watches)
        {
            watch.Sample();
        }

        _sampling = SampleAsync();
    }

    private async Task SampleAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            foreach (var watch in Watches())
            {
                watch.Sample();
            }

            await Task.Delay(SampleEvery, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private ProcessWatch[] Watches()
    {
        lock (_watches)
        {
            return [.. _watches];
        }
    }

    private async Task WriteConfigurationAsync(string letter, int http, int smtp)
    {
        var module = await File.ReadAllTextAsync(Path.Combine(Pki, "module"));
        using var agencies = JsonDocument.Parse(
            await File.ReadAllTextAsync(Path.Combine(Repository.Root, "certs-dev", "agencies.json")));
        await File.WriteAllTextAsync(
            ConfigurationOf(letter),
            JsonSerializer.Serialize(
                new
                {
                    Name = $"gateway-{letter}.test",
                    Data = letter,
                    Http = $"127.0.0.1:{http}",
                    Smtp = $"127.0.0.1:{smtp}",
                    // 200 MB become 356 MB of mail: base64 inside the signature, and again around the envelope.
                    Delivery = new { LargestMessage = 400L * 1024 * 1024 },
                    Trust = new
                    {
                        Anchors = new[] { $"{Pki}/root.pem" },
                        Intermediates = new[] { $"{Pki}/issuing.pem" },
                        Crls = new[] { $"{Pki}/root.crl.pem", $"{Pki}/issuing.crl.pem" },
                    },
                    Directory = new { Publisher = $"{Pki}/publisher.pem" },
                    Tokens = agencies
                        .RootElement.GetProperty("agencies")
                        .EnumerateArray()
                        .Where(a => a.GetProperty("gateway").GetString() == letter)
                        .Select(a => a.GetProperty("label").GetString())
                        .Select(label => new
                        {
                            Uri = $"pkcs11:token={label}?module-path={module}",
                            PinFile = $"{Pki}/agencies/{label}.pin",
                        }),
                }));
    }

    private string ConfigurationOf(string letter) => Path.Combine(_folder, letter + ".json");

    private string TemporaryOf(string letter) => Path.Combine(_folder, "temporary-" + letter);

    private string[] TemporaryFiles() =>
        [.. new[] { "a", "b" }.SelectMany(letter => Directory.EnumerateFileSystemEntries(TemporaryOf(letter)))];

    private static (string Name, string Value)[] Environment() =>
        [("SOFTHSM2_CONF", Path.Combine(Pki, "softhsm2.conf"))];

    private async Task<bool> AnswersAsync(Running gateway, string question)
    {
        if (gateway.Process.HasExited)
        {
            throw new InvalidOperationException(gateway.Said);
        }

        try
        {
            using var answer = await _http.GetAsync($"{gateway.Url}/health/{question}");
            return answer.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    private static async Task UntilAsync(Func<Task<bool>> isSo, string what)
    {
        for (var clock = Stopwatch.StartNew(); !await isSo(); await Task.Delay(SampleEvery))
        {
            if (clock.Elapsed > Patience)
            {
                throw new TimeoutException(what);
            }
        }
    }

    private static int[] FreePorts(int count)
    {
        var listeners = Enumerable.Range(0, count).Select(_ => new TcpListener(IPAddress.Loopback, 0)).ToList();
        listeners.ForEach(l => l.Start());
        int[] ports = [.. listeners.Select(l => ((IPEndPoint)l.LocalEndpoint).Port)];
        listeners.ForEach(l => l.Dispose());
        return ports;
    }

    [GeneratedRegex("/incoming/[0-9a-f-]{36}")]
    private static partial Regex IncomingLink();

    /// <summary>A program, and what it says.</summary>
    private sealed class Running : IDisposable
    {
        private readonly StringBuilder _said = new();
        private readonly Task<string> _output;
        private readonly Task _errors;

        public Running(string program, (string Name, string Value)[] environment, params string[] arguments)
        {
            var start = new ProcessStartInfo(program, arguments)
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                UseShellExecute = false,
            };
            start.Environment.Remove("SECUREMAIL_CONFIG");
            foreach (var (name, value) in environment)
            {
                start.Environment[name] = value;
            }

            Process = Process.Start(start)!;
            (_output, _errors) = (ReadAsync(Process.StandardOutput), ReadAsync(Process.StandardError));
        }

        public Process Process { get; }

        public string Url { get; init; } = "";

        public string Said
        {
            get
            {
                lock (_said)
                {
                    return _said.ToString();
                }
            }
        }

        public static async Task<string> RunAsync(
            string program, (string Name, string Value)[] environment, params string[] arguments)
        {
            using var running = new Running(program, environment, arguments);
            return await running.EndAsync();
        }

        /// <summary>Its standard output; it throws when the program was not content.</summary>
        public async Task<string> EndAsync()
        {
            var output = await _output;
            await _errors;
            await Process.WaitForExitAsync();
            return Process.ExitCode == 0
                ? output
                : throw new InvalidOperationException(
                    $"{Process.StartInfo.FileName} ended with {Process.ExitCode}: {Said}");
        }

        public async Task StopAsync()
        {
            if (!Process.HasExited && Interop.kill(Process.Id, Interop.SIGTERM) != 0)
            {
                Process.Kill();
            }

            await Process.WaitForExitAsync();
            Dispose();
        }

        public void Dispose() => Process.Dispose();

        private async Task<string> ReadAsync(StreamReader from)
        {
            var read = new StringBuilder();
            while (await from.ReadLineAsync() is { } line)
            {
                read.AppendLine(line);
                lock (_said)
                {
                    _said.AppendLine(line);
                }
            }

            return read.ToString();
        }
    }
}

/// <summary>One dispatch on its way: when it was accepted, when the receipt was back and when it had been read out of
/// the inbox; and what each process had cost until then.</summary>
internal sealed record Transfer(
    long Octets, TimeSpan Accepted, TimeSpan Acknowledged, TimeSpan Read,
    IReadOnlyDictionary<string, ProcessWatch> Watches, IReadOnlyDictionary<string, double> CpuSeconds);
