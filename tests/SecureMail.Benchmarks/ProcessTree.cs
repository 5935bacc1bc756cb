using System.Globalization;

namespace SecureMail.Benchmarks;

/// <summary>
/// What servers cost with all their processes: the roots, what descends from them, and the children of any of these
/// that have ended. A process that lives is read from its own CPU clock, to the nanosecond (clock_getcpuclockid(3)).
/// One that has ended is in its parent's count, in steps of 10 ms, so a slice should be a hundred times as long.
/// What the kernel does on a thread of its own, the journal of the file system for one, is not counted.
/// </summary>
internal sealed class ProcessTree(params int[] roots)
{
    /// <summary>User's and system's.</summary>
    public double CpuMicroseconds()
    {
        HashSet<int> seen = [];
        Stack<int> left = new(roots);
        var sum = 0.0;
        while (left.TryPop(out var process))
        {
            if (!seen.Add(process))
            {
                continue;
            }

            try
            {
                sum += Interop.CpuMicroseconds(process) ?? 0;
                sum += ProcessWatch.CpuSecondsOfEndedChildren(process) * 1e6;
                foreach (var child in Children(process))
                {
                    left.Push(child);
                }
            }
            catch (IOException) when (!roots.Contains(process))
            {
                // It ended while it was looked at.
            }
        }

        return sum;
    }

    // proc(5): each thread has the children that it made.
    private static IEnumerable<int> Children(int process) =>
        Directory.EnumerateDirectories($"/proc/{process}/task")
            .SelectMany(t => File.ReadAllText(Path.Combine(t, "children")).Split(
                ' ', StringSplitOptions.RemoveEmptyEntries))
            .Select(c => int.Parse(c, CultureInfo.InvariantCulture));
}
