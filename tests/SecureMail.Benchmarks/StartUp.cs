using System.Diagnostics;
using SecureMail.TestKit;

namespace SecureMail.Benchmarks;

/// <summary>What it costs to start the program and to verify one mail, as CPU time of the processes started.</summary>
internal static class StartUp
{
    /// <summary>The program with ICU, as it ships, against the same without (invariant globalization): the price of
    /// Unicode normalization and of Vietnamese and English resources.</summary>
    public const string Icu = "start.version.icu";

    /// <summary><c>securemail verify</c> of one mail as it is published with its own runtime, against an empty program
    /// that is published in the same way.</summary>
    public const string Verify = "host.verify";

    private static readonly string Empty = Path.Combine(Repository.Root, "artifacts", "bench", "empty", "empty");

    public static IEnumerable<(string Name, Func<Contest> Make)> All => [(Icu, WithIcu), (Verify, VerifyOneMail)];

    private static Contest VerifyOneMail()
    {
        var vectors = Path.Combine(Repository.Root, "tests", "vectors", "smime");
        string[] arguments =
            ["verify", "--trust", Path.Combine(vectors, "root.pem"), Path.Combine(vectors, "signed.eml")];
        return new Contest(
            Verify, 0.5, "an empty .NET program", 1, "start",
            () =>
            {
                Run(GatewayPair.Program, arguments);
                return Task.CompletedTask;
            },
            () => Run(Empty, []),
            () => Run(GatewayPair.Program, arguments).Contains("CN=sender", StringComparison.Ordinal)
                ? Task.CompletedTask
                : throw new InvalidOperationException("The mail was not read."))
        {
            Clock = Interop.ChildrenCpuMicroseconds,
        };
    }

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

    private static string Run(bool invariant) =>
        // Without ICU the runtime knows no culture by name, but takes any.
        Run(
            GatewayPair.Program, ["--version"],
            ("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", invariant ? "1" : "0"),
            ("DOTNET_SYSTEM_GLOBALIZATION_PREDEFINED_CULTURES_ONLY", invariant ? "0" : "1"));

    private static string Run(string program, string[] arguments, params (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, UseShellExecute = false };
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        using var process = Process.Start(start)!;
        var printed = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return printed;
    }
}
