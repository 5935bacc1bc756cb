using System.Globalization;
using System.Text.Json;

namespace SecureMail.Benchmarks;

/// <summary>
/// scripts/bench [NAME...] [--json]: measures the rows whose names begin with one of those given, or all. Ratios are
/// the peer's CPU time over ours, from interleaved calls in this one process; memory is measured in processes of its
/// own. With --profile our side alone runs for some seconds, for a profiler to look at.
/// </summary>
internal static class Program
{
    private const int Rounds = 21;
    private const int RoundsOfLarge = 11;
    private const int ProfileSeconds = 10;

    public static async Task<int> Main(string[] args)
    {
        if (args is [CmsMemory.Command, var folder, var operation])
        {
            await CmsMemory.MeasureHereAsync(folder, operation);
            return 0;
        }

        if (args is [AcceptingGateway.Command, var data])
        {
            await AcceptingGateway.ServeHereAsync(data);
            return 0;
        }

        var json = args.Contains("--json");
        var profile = args.Contains("--profile");
        string[] names = [.. args.Where(a => a is not ("--json" or "--profile"))];
        using var contests = new CmsContests();
        using var curves = new CurveContests();
        using var tokens = new TokenContests();
        await using var queues = new QueueContests();
        await using var smtp = new SmtpContests();
        (string Name, Func<Contest> Make)[] all =
            [.. contests.All, .. curves.All, .. tokens.All, .. queues.All, .. StartUp.All, .. smtp.All];
        string[] known =
            [.. all.Select(c => c.Name), .. CmsMemory.Names, .. GatewayCosts.Names, .. EndToEnd.Names];
        if (
            names.FirstOrDefault(n =>
                n.StartsWith('-') || !known.Any(k => k.StartsWith(n, StringComparison.Ordinal))
            ) is
            { } wrong)
        {
            await Console.Error.WriteLineAsync(
                $"Không có hàng nào bắt đầu bằng / no row begins with: {wrong}\n{string.Join('\n', known)}");
            return 64;
        }

        if (profile)
        {
            foreach (var (name, make) in all.Where(c => Wanted(c.Name)))
            {
                await make().RepeatAsync(ProfileSeconds);
            }

            return 0;
        }

        bool Wanted(string name) => names.Length == 0 || names.Any(n => name.StartsWith(n, StringComparison.Ordinal));

        if (!json)
        {
            Console.WriteLine($"{"",-38} {"ratio",7} {"goal",6}  {"spread",-15} {"ours",12} {"peer",12}");
        }

        foreach (var (name, make) in all.Where(c => Wanted(c.Name)))
        {
            var contest = make();
            await contest.Agree();
            Print(
                await contest.RunAsync(name.Contains("25m", StringComparison.Ordinal) ? RoundsOfLarge : Rounds), json);
        }

        await foreach (var peak in CmsMemory.RunAsync(Wanted))
        {
            Print(peak, json);
        }

        await GatewayCosts.RunAsync(Wanted, cost => Print(cost, json));
        await EndToEnd.RunAsync(Wanted, peak => Print(peak, json), transfer => Print(transfer, json));
        return 0;
    }

    private static void Print(Ratio ratio, bool json)
    {
        var contest = ratio.Contest;
        Console.WriteLine(
            json
                ? JsonSerializer.Serialize(
                    new
                    {
                        name = contest.Name,
                        ratio = Math.Round(ratio.Median, 3),
                        goal = contest.Goal,
                        peer = contest.Peer,
                        spread = new[] { Math.Round(ratio.Low, 3), Math.Round(ratio.High, 3) },
                        unit = contest.Unit,
                        oursMicroseconds = Math.Round(ratio.OurMicroseconds, 1),
                        peerMicroseconds = Math.Round(ratio.TheirMicroseconds, 1),
                        oursPerSecond = contest.PeerClock is null ? (double?)null : Math.Round(ratio.OursPerSecond),
                        peerPerSecond = contest.PeerClock is null ? (double?)null : Math.Round(ratio.TheirsPerSecond),
                    })
                : string.Create(
                    CultureInfo.InvariantCulture,
                    $"{contest.Name,-38} {ratio.Median,7:0.00} {contest.Goal,6:0.00}  [{ratio.Low:0.00}, {ratio.High:0.00}]    {ratio.OurMicroseconds,9:0.0} µs {ratio.TheirMicroseconds,9:0.0} µs  a {contest.Unit}; {contest.Peer}"
                ));
        if (!json && contest.PeerClock is not null)
        {
            Console.WriteLine(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{"",-38} {contest.Unit}s a second: {ratio.OursPerSecond:0}, the peer {ratio.TheirsPerSecond:0}"));
        }
    }

    private static void Print(WholeTransfer whole, bool json)
    {
        var transfer = whole.Transfer;
        Console.WriteLine(
            json
                ? JsonSerializer.Serialize(
                    new
                    {
                        name = whole.Name,
                        ratio = Math.Round(whole.Ratio, 3),
                        goal = (double?)null,
                        peer = WholeTransfer.Peer,
                        spread = new[] { Math.Round(whole.Ratio, 3), Math.Round(whole.Ratio, 3) },
                        megabytesPerSecond = Math.Round(whole.MegabytesPerSecond, 2),
                        acceptedSeconds = Math.Round(transfer.Accepted.TotalSeconds, 2),
                        acknowledgedSeconds = Math.Round(transfer.Acknowledged.TotalSeconds, 2),
                        readSeconds = Math.Round((transfer.Read - transfer.Acknowledged).TotalSeconds, 2),
                        cpuSeconds = transfer.CpuSeconds.ToDictionary(c => c.Key, c => Math.Round(c.Value, 2)),
                        peerCpuSeconds = Math.Round(whole.PeerSeconds, 2),
                    })
                : string.Create(
                    CultureInfo.InvariantCulture,
                    $"""
                    {whole.Name,-38} {whole.Ratio,7:0.00}         {whole.MegabytesPerSecond:0.0} MB/s: accepted after {transfer.Accepted.TotalSeconds:0.0} s, acknowledged after {transfer.Acknowledged.TotalSeconds:0.0} s, read in {(
                        transfer.Read - transfer.Acknowledged
                    ).TotalSeconds:0.0} s
                    {"",-38} CPU s: {string.Join(
                        ", ",
                        transfer.CpuSeconds.Select(c =>
                            string.Create(CultureInfo.InvariantCulture, $"{c.Key} {c.Value:0.0}")
                        )
                    )}; {WholeTransfer.Peer} {whole.PeerSeconds:0.0}
                    """
                ));
    }

    private static void Print(GatewayCost cost, bool json)
    {
        if (json)
        {
            Console.WriteLine(
                JsonSerializer.Serialize(
                    new
                    {
                        name = cost.Name,
                        unit = cost.Unit,
                        sum = Math.Round(cost.Sum, 3),
                        parts = cost.Parts.ToDictionary(p => p.Key, p => Math.Round(p.Value, 3)),
                        floor = cost.Floor?.ToDictionary(p => p.Key, p => Math.Round(p.Value, 3)),
                        timesFloor = cost.TimesFloor is { } times ? Math.Round(times, 2) : (double?)null,
                        goal = cost.MostOfFloor,
                    }));
            return;
        }

        static string List(IReadOnlyDictionary<string, double> parts) =>
            string.Join(
                ", ", parts.Select(p => string.Create(CultureInfo.InvariantCulture, $"{p.Key} {p.Value:0.00}")));
        Console.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture, $"{cost.Name,-38} {cost.Sum,7:0.00} {cost.Unit}: {List(cost.Parts)}"));
        if (cost.Floor is { } floor)
        {
            Console.WriteLine(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{"",-38} {cost.TimesFloor,7:0.00} times its floor (goal {cost.MostOfFloor:0.0}): {List(floor)}"));
        }
    }

    private static void Print(Peak peak, bool json) =>
        Console.WriteLine(
            json
                ? JsonSerializer.Serialize(
                    new
                    {
                        name = peak.Name,
                        mib = Math.Round(peak.Mib, 1),
                        goal = peak.Goal is { } goal ? Math.Round(goal, 1) : (double?)null,
                    })
                : string.Create(
                    CultureInfo.InvariantCulture, $"{peak.Name,-38} {peak.Mib,7:0.0} {peak.Goal,6:0.0}  MiB"));
}
