using System.Diagnostics;

namespace SecureMail.Benchmarks;

/// <summary>What it costs to start the program, as CPU time of the processes started.</summary>
internal static class StartUp
{
    /// <summary>The program with ICU, as it ships, against the same without (invariant globalization): the price of
    /// Unicode normalization and of Vietnamese and English resources.</summary>
    public const string Icu = "start.version.icu";

    public static IEnumerable<(string Name, Func<Contest> Make)> All => [(Icu, WithIcu)];

    private static Contest WithIcu() =>
        new(
            Icu,
            0.90,
            "the same without ICU",
            1,
            "start",
            () =>
            {
                Run(invariant: false);
                return Task.CompletedTask;
            },
            () => Run(invariant: true),
            () => Run(invariant: false) == Run(invariant: true)
                ? Task.CompletedTask
                : throw new InvalidOperationException("The two sides print different versions."))
        {
            Clock = Interop.ChildrenCpuMicroseconds,
        };

    private static string Run(bool invariant)
    {
        var start = new ProcessStartInfo(GatewayPair.Program, ["--version"])
        {
            RedirectStandardOutput = true,
            UseShellExecute = false,
        };
        start.Environment["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = invariant ? "1" : "0";
        // Without ICU the runtime knows no culture by name, but takes any.
        start.Environment["DOTNET_SYSTEM_GLOBALIZATION_PREDEFINED_CULTURES_ONLY"] = invariant ? "0" : "1";
        using var process = Process.Start(start)!;
        var printed = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return printed;
    }
}
