using System.Globalization;
using System.Net;
using System.Net.Http;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using SecureMail.Gateway;

namespace SecureMail.FaultTests;

/// <summary>What the tests of pressure look at: a gateway's process from outside, its health, and sessions of its
/// peers.</summary>
internal static class Pressure
{
    public const string Rcpt = "RCPT TO:<vanthu@anhoa.songlam.test>";
    public const string Mail = "MAIL FROM:<vanthu@tinhuy.songlam.test>";

    private static readonly HttpClient Http = new(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.Zero })
    {
        Timeout = TimeSpan.FromSeconds(30),
    };

    /// <summary>Memory in MiB, descriptors and threads of a process.</summary>
    public static (long Rss, int Descriptors, int Threads) Of(GatewayProcess process)
    {
        var status = File.ReadAllLines($"/proc/{process.Id}/status")
            .Where(l => l.Contains(':', StringComparison.Ordinal))
            .ToDictionary(l => l.Split(':')[0], l => l.Split(':')[1].Trim());
        return (
            long.Parse(status["VmRSS"].Split(' ')[0], CultureInfo.InvariantCulture) / 1024,
            Directory.GetFiles($"/proc/{process.Id}/fd").Length,
            int.Parse(status["Threads"], CultureInfo.InvariantCulture));
    }

    /// <summary>
    /// What of a process's descriptors may belong to its callers: connections to these of its ports, and files. Not its
    /// connections to the database, of which it keeps as many as it needed last.
    /// </summary>
    public static (int Sessions, int Files) OfCallers(GatewayProcess process, params int[] ports)
    {
        List<string> targets =
        [
            .. System
                .IO.Directory.GetFiles($"/proc/{process.Id}/fd")
                .Select(f => new FileInfo(f).LinkTarget)
                .OfType<string>(),
        ];
        // proc(5): local address and port in hexadecimal, the other side's, the state (0A listens), and in the tenth
        // column the inode.
        var sessions = new[] { "tcp", "tcp6" }
            .SelectMany(f => File.ReadLines($"/proc/{process.Id}/net/{f}").Skip(1))
            .Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(c =>
                c[3] != "0A"
                && ports.Contains(
                    int.Parse(
                        c[1][(c[1].IndexOf(':', StringComparison.Ordinal) + 1)..], NumberStyles.HexNumber,
                        CultureInfo.InvariantCulture)))
            .Count(c => targets.Contains($"socket:[{c[9]}]"));
        // The program's own parts stay open once they were loaded, and are loaded when they are first needed.
        return (
            sessions,
            targets.Count(t =>
                !t.StartsWith("socket:", StringComparison.Ordinal) && Path.GetExtension(t) is not (".dll" or ".so")));
    }

    /// <summary>Waits until a process has given back what its callers had of it.</summary>
    /// <exception cref="TimeoutException">It says what is left.</exception>
    public static async Task GivenBackAsync(
        GatewayProcess process, (int Sessions, int Files) before, params int[] ports)
    {
        try
        {
            await TwoGateways.EventuallyAsync(
                () =>
                    Task.FromResult(
                        OfCallers(process, ports) is var now && now.Sessions == 0 && now.Files <= before.Files + 4
                            ? ""
                            : null),
                "the descriptors to be given back");
        }
        catch (TimeoutException e)
        {
            var files = System
                .IO.Directory.GetFiles($"/proc/{process.Id}/fd")
                .Select(f => new FileInfo(f).LinkTarget)
                .OfType<string>()
                .CountBy(t => t.Split('[')[0])
                .Select(t => $"{t.Value} x {t.Key}");
            throw new TimeoutException(
                $"{e.Message}: {before} before, now {OfCallers(process, ports)}: {string.Join(", ", files)}", e);
        }
    }

    /// <summary>What <c>/health/ready</c> answers; null when nobody listens there.</summary>
    public static async Task<(int Status, List<string> Problems)?> HealthAsync(int http)
    {
        try
        {
            using var answer = await Http.GetAsync(new Uri($"http://127.0.0.1:{http}/health/ready"));
            using var json = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
            return (
                (int)answer.StatusCode,
                [.. json.RootElement.GetProperty("problems").EnumerateArray().Select(p => p.GetString()!)]);
        }
        catch (HttpRequestException)
        {
            return null;
        }
    }

    public static Task ReadyAsync(int http) =>
        TwoGateways.UntilAsync(
            async () => await HealthAsync(http) is { Status: 200 }, "the gateway to be ready");

    /// <summary>Waits until health is 503 and names this.</summary>
    public static Task<string> ProblemAsync(int http, params string[] oneOf) =>
        TwoGateways.EventuallyAsync(
            async () =>
                await HealthAsync(http) is { Status: 503 } health
                    ? health.Problems.FirstOrDefault(p => oneOf.Contains(p))
                    : null,
            $"health to say {string.Join(" or ", oneOf)}");

    /// <summary>A session of A with B, in the clear, greeted or turned away.</summary>
    public static async Task<(RawPeer Peer, string? Greeting)> ConnectAsync(int port, IPAddress? from = null)
    {
        var peer = await RawPeer.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), from);
        return (peer, await peer.ReplyAsync());
    }

    /// <summary>Goes on to TLS and EHLO as the gateway whose key this is; answers what EHLO was told, null when the
    /// connection ended.</summary>
    public static async Task<string?> HelloAsync(RawPeer peer, X509Certificate2 tls)
    {
        try
        {
            await peer.AskAsync("EHLO gateway-a.test");
            await peer.AskAsync("STARTTLS");
            await peer.AsClientAsync(tls);
            return await peer.AskAsync("EHLO gateway-a.test");
        }
        catch (Exception e)
            when (e is IOException or AuthenticationException or SocketException or ObjectDisposedException)
        {
            return null;
        }
    }

    /// <summary>MAIL as A says it; the whole reply.</summary>
    public static async Task<string> MailAsync(TwoGateways pair, IPAddress? from = null)
    {
        var (peer, _) = await ConnectAsync(pair.B.Port, from);
        await using (peer)
        {
            var hello = await HelloAsync(peer, pair.A.Node.Identity.Tls) ?? "";
            return hello.StartsWith("250", StringComparison.Ordinal) ? await peer.AskAsync(Mail) ?? "" : hello;
        }
    }

    /// <summary>A process's own command <c>send</c> from one of B's agencies to the province; its exit code and what it
    /// said.</summary>
    public static async Task<(int Exit, string Said)> SendAsync(GatewaySetup options, string folder)
    {
        var file = Path.Combine(folder, "to-send.txt");
        await File.WriteAllTextAsync(file, "Nội dung");
        await using var process = GatewayProcess.Run(
            options, null, "send", "--from", TwoGateways.AnHoa, "--to", TwoGateways.Province, "--notation", "CV/VP",
            "--subject", "V/v", file);
        return (await process.EndAsync(), process.Said);
    }

    /// <summary>A text of so many octets that nothing compresses, in lines.</summary>
    public static byte[] Noise(int octets)
    {
        var text = Convert.ToBase64String(
            System.Security.Cryptography.RandomNumberGenerator.GetBytes(octets * 3 / 4),
            Base64FormattingOptions.InsertLineBreaks);
        return Encoding.ASCII.GetBytes(text + "\r\n");
    }
}
