using System.Globalization;

namespace SecureMail.Benchmarks;

/// <summary>
/// What one process costs, or one database server with all its backends, as the kernel counts it in /proc.
/// A process: VmHWM, the highest it ever was. A server has no such figure, and what its backends share would count once
/// for each: there it is the highest of the samples of the sum of Pss (each page divided among those who map it),
/// without the pages of the shared buffers, which are as many as they were configured to be and are counted apart.
/// </summary>
/// <param name="temporary">The process's folder for temporary files; null: it makes none that are looked at.</param>
internal sealed class ProcessWatch(string name, int process, bool isServer = false, string? temporary = null)
{
    private const double TicksPerSecond = 100; // USER_HZ, on every architecture of Linux that .NET knows

    public string Name => name;

    /// <summary>MiB.</summary>
    public double Peak { get; private set; }

    /// <summary>Of shared memory, MiB; servers alone.</summary>
    public double PeakShared { get; private set; }

    /// <summary>MiB in temporary files, also in those that have no name any more.</summary>
    public double PeakTemporary { get; private set; }

    /// <summary>CPU time, user's and system's, since the process began.</summary>
    public double CpuSeconds { get; private set; }

    /// <summary>Looks again. What has ended meanwhile keeps its last figures.</summary>
    public void Sample()
    {
        try
        {
            if (isServer)
            {
                SampleServer();
            }
            else
            {
                SampleProcess();
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It ended while it was looked at.
        }
    }

    private void SampleProcess()
    {
        CpuSeconds = Math.Max(CpuSeconds, Cpu(process, withChildren: false));
        Peak = Math.Max(Peak, Kilobytes($"/proc/{process}/status", "VmHWM:") / 1024);
        if (temporary is not null)
        {
            PeakTemporary = Math.Max(PeakTemporary, OpenIn(temporary) / 1048576);
        }
    }

    private void SampleServer()
    {
        // Backends that have ended are in the postmaster's count of its children, the others are asked themselves.
        var cpu = Cpu(process, withChildren: true);
        var (own, shared) = (0.0, 0.0);
        foreach (
            var each in File.ReadAllText($"/proc/{process}/task/{process}/children")
                .Split(' ', StringSplitOptions.RemoveEmptyEntries)
                .Select(c => int.Parse(c, CultureInfo.InvariantCulture))
                .Append(process))
        {
            try
            {
                var rollup = $"/proc/{each}/smaps_rollup";
                var shmem = Kilobytes(rollup, "Pss_Shmem:");
                own += Kilobytes(rollup, "Pss:") - shmem;
                shared += shmem;
                cpu += each == process ? 0 : Cpu(each, withChildren: false);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // A backend that ended between the list and here.
            }
        }

        (Peak, PeakShared, CpuSeconds) = (
            Math.Max(Peak, own / 1024), Math.Max(PeakShared, shared / 1024), Math.Max(CpuSeconds, cpu));
    }

    // proc(5): utime, stime, cutime and cstime are the fields 14 to 17; the second may hold blanks, and ends with the
    // last parenthesis.
    private static double Cpu(int process, bool withChildren) => Seconds(process, 11..(withChildren ? 15 : 13));

    /// <summary>CPU time of the children that have ended and were waited for, in steps of 10 ms.</summary>
    public static double CpuSecondsOfEndedChildren(int process) => Seconds(process, 13..15);

    private static double Seconds(int process, Range fields)
    {
        var stat = File.ReadAllText($"/proc/{process}/stat");
        return stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[fields]
            .Sum(f => long.Parse(f, CultureInfo.InvariantCulture)) / TicksPerSecond;
    }

    private static double Kilobytes(string file, string field)
    {
        var line = File.ReadLines(file).FirstOrDefault(l => l.StartsWith(field, StringComparison.Ordinal))
            ?? throw new IOException($"{file} has no {field}");
        return double.Parse(line[field.Length..^2], CultureInfo.InvariantCulture);
    }

    private double OpenIn(string folder)
    {
        var octets = 0.0;
        foreach (var descriptor in Directory.EnumerateFiles($"/proc/{process}/fd"))
        {
            try
            {
                // The runtime keeps pipes for a debugger there; to open one would be to wait for it.
                if (new FileInfo(descriptor).LinkTarget is not { } target
                    || !target.StartsWith(folder, StringComparison.Ordinal)
                    || target.Contains("clr-debug-pipe", StringComparison.Ordinal))
                {
                    continue;
                }

                using var file = File.OpenHandle(
                    descriptor, options: FileOptions.None, share: FileShare.ReadWrite | FileShare.Delete);
                octets += RandomAccess.GetLength(file);
            }
            catch (IOException)
            {
                // Closed meanwhile.
            }
        }

        return octets;
    }
}
