using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;

namespace SecureMail.Benchmarks;

/// <summary>
/// One document from <c>securemail send</c> through both gateways, their databases and SMTP into the other agency's
/// inbox, out of it over HTTP, and the receipt back: the peak memory of each process, the temporary files, the time and
/// the CPU time. Each size has gateways and databases of its own that carried one dispatch of 10 KB before. The peer
/// signs, encrypts, decrypts and verifies the same document with OpenSSL's command line, from file to file: no mail, no
/// database, nothing durable. What is beyond it is what those cost.
/// </summary>
internal static class EndToEnd
{
    public const string Whole = "e2e.200m";

    private const int MoreAllowed = 32;
    private static readonly (string Label, int Octets)[] Sizes =
    [
        ("10k", 10_000),
        ("25m", 25_000_000),
        ("200m", 200_000_000),
    ];
    private static readonly string[] Processes =
    [
        "send",
        "sender",
        "sender-postgresql",
        "receiver",
        "receiver-postgresql",
    ];
    private static readonly string[] Servers = ["sender-postgresql", "receiver-postgresql"];
    private static readonly string[] Gateways = ["sender", "receiver"];

    public static IEnumerable<string> Names =>
        [
            .. Processes.SelectMany(p => Sizes.Select(s => Memory(p, s.Label))),
            .. Servers.SelectMany(p => Sizes.Select(s => Shared(p, s.Label))),
            .. Gateways.SelectMany(p => Sizes.Select(s => Disk(p, s.Label))),
            Whole,
        ];

    /// <summary>Measures the rows wanted, size by size; a goal needs the figure for 10 KB, which is measured for
    /// it.</summary>
    public static async Task RunAsync(Func<string, bool> wanted, Action<Peak> peak, Action<WholeTransfer> whole)
    {
        Transfer? smallest = null;
        foreach (var (label, octets) in Sizes)
        {
            string[] rows = [.. Names.Where(n => n.EndsWith("." + label, StringComparison.Ordinal) && wanted(n))];
            var others = Names.Any(n =>
                n.StartsWith("e2e.memory.", StringComparison.Ordinal)
                && !n.EndsWith("." + label, StringComparison.Ordinal)
                && wanted(n));
            if (rows.Length == 0 && !(octets == Sizes[0].Octets && others))
            {
                continue;
            }

            var (transfer, peerSeconds) = await MeasureAsync(octets, withPeer: rows.Contains(Whole));
            smallest ??= octets == Sizes[0].Octets ? transfer : null;
            foreach (
                var row in PeaksOf(label, transfer, octets == Sizes[0].Octets ? null : smallest)
                    .Where(p => rows.Contains(p.Name)))
            {
                peak(row);
            }

            if (rows.Contains(Whole))
            {
                whole(new WholeTransfer(Whole, transfer, peerSeconds));
            }
        }
    }

    private static IEnumerable<Peak> PeaksOf(string label, Transfer transfer, Transfer? smallest) =>
        [
            .. Processes.Select(p => new Peak(
                Memory(p, label), transfer.Watches[p].Peak, smallest?.Watches[p].Peak + MoreAllowed)),
            .. Servers.Select(p => new Peak(Shared(p, label), transfer.Watches[p].PeakShared, null)),
            .. Gateways.Select(p => new Peak(Disk(p, label), transfer.Watches[p].PeakTemporary, null)),
        ];

    private static string Memory(string process, string label) => $"e2e.memory.{process}.{label}";

    private static string Shared(string process, string label) => $"e2e.shared-buffers.{process}.{label}";

    private static string Disk(string process, string label) => $"e2e.temporary.{process}.{label}";

    private static async Task<(Transfer Transfer, double PeerSeconds)> MeasureAsync(int octets, bool withPeer)
    {
        var folder = Directory.CreateTempSubdirectory("securemail-bench-");
        try
        {
            var (first, document) = (
                Path.Combine(folder.FullName, "first.bin"), Path.Combine(folder.FullName, "document.bin"));
            await FillAsync(first, Sizes[0].Octets);
            await FillAsync(document, octets);
            var peerSeconds = withPeer ? await PeerAsync(folder.FullName, document) : 0;
            await using var pair = await GatewayPair.StartAsync(folder.FullName);
            // The compiler's time is the first dispatch's.
            await pair.SendAsync(first);
            return (await pair.SendAsync(document), peerSeconds);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static async Task FillAsync(string path, int octets)
    {
        await using var file = File.Create(path);
        var piece = new byte[100_000];
        for (var left = octets; left > 0; left -= piece.Length)
        {
            RandomNumberGenerator.Fill(piece);
            await file.WriteAsync(piece.AsMemory(0, Math.Min(left, piece.Length)));
        }
    }

    /// <summary>CPU seconds of openssl cms -sign, -encrypt, -decrypt and -verify, as the shell counts its
    /// children's.</summary>
    private static async Task<double> PeerAsync(string folder, string document)
    {
        const string Script = """
            set -e; cd "$1"; TIMEFORMAT='%U %S'
            openssl req -x509 -newkey rsa:2048 -nodes -keyout peer.key -out peer.pem -days 2 -subj /CN=peer 2>/dev/null
            time {
              openssl cms -sign -binary -nodetach -stream -outform DER -signer peer.pem -inkey peer.key -in "$2" -out peer.signed
              openssl cms -encrypt -binary -stream -aes-256-gcm -outform DER -in peer.signed -out peer.sealed peer.pem
              openssl cms -decrypt -binary -inform DER -inkey peer.key -recip peer.pem -in peer.sealed -out peer.opened
              openssl cms -verify -binary -inform DER -CAfile peer.pem -purpose any -in peer.opened -out peer.document 2>/dev/null
            }
            cmp "$2" peer.document
            rm -f peer.*
            """;
        using var shell = Process.Start(
            new ProcessStartInfo("bash", ["-c", Script, "peer", folder, document])
            {
                RedirectStandardError = true,
                UseShellExecute = false,
            }
        )!;
        var said = await shell.StandardError.ReadToEndAsync();
        await shell.WaitForExitAsync();
        return shell.ExitCode == 0
            ? said.Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries)
                .Sum(s => double.Parse(s, CultureInfo.InvariantCulture))
            : throw new InvalidOperationException($"The peer failed: {said}");
    }
}

/// <summary>A transfer beside what its peer took of CPU time.</summary>
internal sealed record WholeTransfer(string Name, Transfer Transfer, double PeerSeconds)
{
    public const string Peer = "openssl cms -sign, -encrypt, -decrypt, -verify, from file to file";

    public double Ratio => PeerSeconds / Transfer.CpuSeconds.Values.Sum();

    public double MegabytesPerSecond => Transfer.Octets / 1e6 / Transfer.Acknowledged.TotalSeconds;
}
