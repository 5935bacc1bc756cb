using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace SecureMail.TestKit;

/// <summary>The program as it is shipped, run as others run it: arguments in; exit code and both outputs out.</summary>
internal static class Executable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    public static Task<Answer> RunAsync(params string[] arguments) =>
        RunAsync(new Dictionary<string, string>(), arguments);

    public static async Task<Answer> RunAsync(
        IReadOnlyDictionary<string, string> environment, params string[] arguments)
    {
        var dotnet =
            Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet" ? Environment.ProcessPath! : "dotnet";
        var start = new ProcessStartInfo(
            dotnet, ["exec", Path.Combine(AppContext.BaseDirectory, "securemail.dll"), .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
            StandardErrorEncoding = Encoding.UTF8,
            UseShellExecute = false,
        };
        start.Environment.Remove("SECUREMAIL_CONFIG");
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        using var limit = new CancellationTokenSource(Patience);
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(limit.Token);
            var error = process.StandardError.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            return new Answer(process.ExitCode, await output, await error);
        }
        catch (OperationCanceledException e)
        {
            process.Kill();
            throw new TimeoutException($"securemail {string.Join(' ', arguments)}", e);
        }
    }

    internal sealed record Answer(int Exit, string Output, string Error)
    {
        /// <summary>Standard output, which must be JSON lines and nothing else.</summary>
        public IReadOnlyList<JsonElement> Json =>
            [
                .. Output
                    .Split('\n', StringSplitOptions.RemoveEmptyEntries)
                    .Select(l => JsonDocument.Parse(l).RootElement),
            ];

        /// <summary>The one line of error.</summary>
        public string ErrorLine
        {
            get
            {
                Error.ShouldEndWith("\n");
                Error.TrimEnd().ShouldNotContain("\n");
                Error.Trim().ShouldNotBeEmpty();
                return Error.Trim();
            }
        }
    }
}
