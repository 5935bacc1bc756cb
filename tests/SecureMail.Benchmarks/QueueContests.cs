using System.Diagnostics;
using SecureMail.TestKit;

namespace SecureMail.Benchmarks;

/// <summary>DESIGN.md §8's row of the queue: the worker's lease of a hundred pieces of work out of twenty thousand,
/// against the same statement sent by pgbench. Both are counted with the server's part.</summary>
internal sealed class QueueContests : IAsyncDisposable
{
    private const string LeaseName = "queue.lease";

    // Enough for the count of backends that ended, which goes by hundredths of a second.
    private const int Leases = 100;
    private const int Rows = 20_000;

    private QueueLoad? _load;
    private string? _script;

    public IReadOnlyList<(string Name, Func<Contest> Make)> All => [(LeaseName, Lease)];

    public async ValueTask DisposeAsync()
    {
        if (_load is not null)
        {
            await _load.DisposeAsync();
        }

        if (_script is not null)
        {
            File.Delete(_script);
        }
    }

    private Contest Lease()
    {
        QueueLoad Load() => _load ??= QueueLoad.StartAsync(Rows).GetAwaiter().GetResult();
        _script = Path.GetTempFileName();
        File.WriteAllText(_script, QueueLoad.Script);
        return new(
            LeaseName,
            0.8,
            "the same statement in pgbench",
            Leases,
            "lease of 100",
            () => Load().LeaseAsync(Leases),
            () => Pgbench(Load()),
            async () =>
            {
                Func<Task>[] sides = [() => Load().LeaseAsync(3), () => Task.Run(() => Pgbench(Load(), 3))];
                foreach (var side in sides)
                {
                    await Load().FillAsync();
                    await side();
                    if (await Load().LeasedAsync() != 3 * QueueLoad.Batch)
                    {
                        throw new InvalidOperationException("A side did not take what it should.");
                    }
                }
            })
        {
            Prepare = () => Load().FillAsync(),
            Clock = () => Interop.CpuMicroseconds() + Interop.ChildrenCpuMicroseconds()
                + new ProcessTree(Load().Postmaster).CpuMicroseconds(),
        };
    }

    private void Pgbench(QueueLoad load, int times = Leases)
    {
        var start = new ProcessStartInfo(
            Path.Combine(load.Programs, "pgbench"),
            [
                "-n", "-M", "prepared", "-f", _script!, "-t", $"{times}", "-h", load.Sockets, "-U", QueueLoad.Role,
                .. QueueLoad.Variables, QueueLoad.Database,
            ])
        {
            RedirectStandardOutput = true,
            UseShellExecute = false,
        };
        using var process = Process.Start(start)!;
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"pgbench ended with {process.ExitCode}.");
        }
    }
}
