using System.Diagnostics;
using SecureMail.Benchmarks;

namespace SecureMail.Tests.Benchmarks;

public sealed class ProcessTreeTests
{
    // A child that works until it has had 20 ticks of 10 ms, as proc(5) counts for it (utime and stime).
    private const int Microseconds = 200_000;
    private const string Work = "while read -r -a f < /proc/self/stat && ((f[13] + f[14] < 20)); do :; done";

    [Theory]
    [InlineData($"({Work}; echo done; read -r _); :")]
    [InlineData($"({Work}); echo done; read -r _")]
    public async Task A_child_counts_with_its_parent_while_it_lives_and_when_it_has_ended(string script)
    {
        using var shell = Process.Start(
            new ProcessStartInfo("bash", ["-c", script])
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                UseShellExecute = false,
            })!;
        (await shell.StandardOutput.ReadLineAsync()).ShouldBe("done");

        new ProcessTree(shell.Id).CpuMicroseconds().ShouldBeGreaterThanOrEqualTo(Microseconds);
        Interop.CpuMicroseconds(shell.Id).ShouldNotBeNull().ShouldBeLessThan(Microseconds);

        await shell.StandardInput.WriteLineAsync();
        await shell.WaitForExitAsync();
        shell.ExitCode.ShouldBe(0);
        Interop.CpuMicroseconds(shell.Id).ShouldBeNull();
    }
}
