using System.Diagnostics;

namespace SecureMail.SystemTests.Scripts;

/// <summary>scripts/setup.sh where there is no SDK: each way to one, against a stub in place of the vendor's
/// installer.</summary>
public sealed class SetupTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("smsetup").FullName;

    public SetupTests()
    {
        Directory.CreateDirectory(At("scripts"));
        Directory.CreateDirectory(At("bin"));
        File.Copy(Path.Combine(Repository.Root, "scripts", "setup.sh"), At("scripts/setup.sh"));
        File.Copy(Path.Combine(Repository.Root, "global.json"), At("global.json"));
        // A PATH with neither dotnet nor apt-get.
        foreach (
            var tool in new[]
            {
                "bash",
                "sed",
                "grep",
                "id",
                "dirname",
                "readlink",
                "mktemp",
                "curl",
                "rm",
                "cat",
                "mkdir",
                "chmod",
                "env",
            })
        {
            var path = new[] { "/usr/bin/", "/bin/" }.Select(d => d + tool).First(File.Exists);
            File.CreateSymbolicLink(At("bin/" + tool), path);
        }
    }

    [Fact]
    public async Task The_vendors_script_puts_the_SDK_of_global_json_into_the_checkout()
    {
        await File.WriteAllTextAsync(
            At("install.sh"),
            """
            while [ $# -gt 0 ]; do case $1 in --version) v=$2; shift;; --install-dir) d=$2; shift;; esac; shift; done
            mkdir -p "$d"; printf '#!/bin/bash\necho %s\n' "$v" >"$d/dotnet"; chmod +x "$d/dotnet"
            """
        );
        var (code, output, _) = await RunAsync("file://" + At("install.sh"));
        code.ShouldBe(0);
        output.Trim().ShouldBe($"{At(".dotnet/dotnet")} 10.0.401");
        // The second time it is found there; no installer is asked.
        (code, output, _) = await RunAsync("file:///nonexistent");
        code.ShouldBe(0);
        output.Trim().ShouldBe($"{At(".dotnet/dotnet")} 10.0.401");
    }

    [Fact]
    public async Task Offline_it_says_in_one_line_what_to_do()
    {
        var (code, _, error) = await RunAsync("file:///nonexistent");
        code.ShouldBe(69);
        error.Trim().Split('\n')[^1].ShouldContain("install dotnet-sdk-10.0");
    }

    [Fact]
    public async Task An_installer_that_brings_nothing_is_a_failure()
    {
        await File.WriteAllTextAsync(At("install.sh"), "exit 0\n");
        (await RunAsync("file://" + At("install.sh"))).Code.ShouldBe(69);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string At(string path) => Path.Combine(_folder, path);

    private async Task<(int Code, string Output, string Error)> RunAsync(string installer)
    {
        var start = new ProcessStartInfo(
            At("bin/bash"), ["-c", ". scripts/setup.sh; need_dotnet; echo \"$DOTNET $(\"$DOTNET\" --version)\""])
        {
            WorkingDirectory = _folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        start.Environment.Clear();
        start.Environment["PATH"] = At("bin");
        start.Environment["DOTNET_INSTALL_SCRIPT"] = installer;
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, output, await error);
    }
}
