using System.Diagnostics;

namespace SecureMail.Benchmarks;

/// <summary>One row of ratios: the same work on two sides.</summary>
/// <param name="Name">As in DESIGN.md §8, lower case, dots and hyphens; the last label names the peer when it is not
/// OpenSSL.</param>
/// <param name="Goal">The ratio to reach, peer's CPU time over ours.</param>
/// <param name="Units">Things done in one call, for the time shown: recipients.</param>
/// <param name="Unit">What one of them is.</param>
/// <param name="Ours">One call of ours.</param>
/// <param name="Theirs">One call of the peer's.</param>
/// <param name="Agree">Throws unless each side takes what the other makes and gets the same octets out.</param>
internal sealed record Contest(
    string Name, double Goal, string Peer, int Units, string Unit, Func<Task> Ours, Action Theirs, Func<Task> Agree)
{
    private const double SliceMicroseconds = 40_000;
    private const double WarmUpMicroseconds = 2_000_000;

    /// <summary>CPU time so far, in microseconds. This process', unless the work is done by children.</summary>
    public Func<double> Clock { get; init; } = Interop.CpuMicroseconds;

    /// <summary>What must be there before a call of either side, outside of the clock. A slice is one call
    /// then.</summary>
    public Func<Task>? Prepare { get; init; }

    /// <summary>The peer's CPU time, where the sides are servers apart: then neither is charged with what the other
    /// does behind its answers, and the rates by the wall clock are shown too. Null: both are on one clock.</summary>
    public Func<double>? PeerClock { get; init; }

    /// <summary>Calls of each side before it is measured, if time alone does not make as many.</summary>
    public int WarmUpCalls { get; init; } = 3;

    /// <summary>
    /// Warms both sides up, then lets them take turns, beginning with the other one each round, and compares each round
    /// by itself: what slows the machine down slows both. Garbage of the round before is collected outside the clock;
    /// what a slice causes itself counts.
    /// </summary>
    public async Task<Ratio> RunAsync(int rounds)
    {
        var calls = await CallsPerSliceAsync();
        var theirs = () =>
        {
            Theirs();
            return Task.CompletedTask;
        };
        var peerClock = PeerClock ?? Clock;
        var times = new (Slice Ours, Slice Theirs)[rounds];
        for (var round = 0; round < rounds; round++)
        {
            if (round % 2 == 0)
            {
                times[round].Ours = await TimeAsync(Ours, calls, Clock);
                times[round].Theirs = await TimeAsync(theirs, calls, peerClock);
            }
            else
            {
                times[round].Theirs = await TimeAsync(theirs, calls, peerClock);
                times[round].Ours = await TimeAsync(Ours, calls, Clock);
            }
        }

        double[] ratios = [.. times.Select(t => t.Theirs.Cpu / t.Ours.Cpu).Order()];
        var tenth = rounds / 10;
        return new Ratio(
            this, Median(ratios), ratios[tenth], ratios[^(tenth + 1)], Median(times.Select(t => t.Ours.Cpu)) / Units,
            Median(times.Select(t => t.Theirs.Cpu)) / Units)
        {
            OursPerSecond = Units / Median(times.Select(t => t.Ours.Wall)),
            TheirsPerSecond = Units / Median(times.Select(t => t.Theirs.Wall)),
        };
    }

    /// <summary>Our side alone, for so many seconds of CPU time.</summary>
    public async Task RepeatAsync(int seconds)
    {
        for (var start = Clock(); Clock() - start < seconds * 1e6;)
        {
            await PrepareAsync();
            await Ours();
        }
    }

    private async Task<int> CallsPerSliceAsync()
    {
        var calls = 0;
        var start = Clock();
        var ours = 0.0;
        // Long enough for the compiler to have come to its second tier: it works in this process, and on its clock.
        while (Clock() - start < WarmUpMicroseconds || calls < WarmUpCalls)
        {
            await PrepareAsync();
            var before = Clock();
            await Ours();
            ours = Clock() - before;
            await PrepareAsync();
            Theirs();
            calls++;
        }

        return Prepare is null ? (int)Math.Clamp(SliceMicroseconds / ours, 1, 200) : 1;
    }

    private Task PrepareAsync() => Prepare?.Invoke() ?? Task.CompletedTask;

    private async Task<Slice> TimeAsync(Func<Task> work, int calls, Func<double> clock)
    {
        await PrepareAsync();
        GC.Collect();
        GC.WaitForPendingFinalizers();
        var (start, wall) = (clock(), Stopwatch.GetTimestamp());
        for (var i = 0; i < calls; i++)
        {
            await work();
        }

        var elapsed = Stopwatch.GetElapsedTime(wall);
        return new Slice((clock() - start) / calls, elapsed.TotalSeconds / calls);
    }

    private static double Median(IEnumerable<double> values) => Median([.. values.Order()]);

    private static double Median(double[] sorted) => (sorted[sorted.Length / 2] + sorted[(sorted.Length - 1) / 2]) / 2;

    /// <summary>One call of a side: CPU time in microseconds, and seconds by the wall clock.</summary>
    private readonly record struct Slice(double Cpu, double Wall);
}

/// <summary>What a contest came to: the median of its rounds' ratios, the range of the middle eight tenths of them, and
/// median times a unit.</summary>
internal sealed record Ratio(
    Contest Contest, double Median, double Low, double High, double OurMicroseconds, double TheirMicroseconds)
{
    /// <summary>Units a second by the wall clock.</summary>
    public required double OursPerSecond { get; init; }

    /// <inheritdoc cref="OursPerSecond"/>
    public required double TheirsPerSecond { get; init; }
}
