using System.Diagnostics;

namespace SecureMail.Storage;

/// <summary>Runs PostgreSQL's programs, as the server's account where that is another than ours.</summary>
public sealed partial class PrivateCluster
{
    private const int LongestError = 4096;

    private static readonly TimeSpan ProgramTakesAtMost = TimeSpan.FromMinutes(2);

    private Task<int> RunAsync(
        string program, string[] arguments, CancellationToken cancellationToken, bool mayFail = false,
        bool newSession = false, TimeSpan? patience = null)
    {
        List<string> line = [];
        if (newSession)
        {
            line.AddRange(["setsid", "--wait"]);
        }

        if (_account is not null)
        {
            line.AddRange(["setpriv", "--reuid", _account.User, "--regid", _account.Group, "--init-groups"]);
        }

        line.Add(Path.Combine(BinaryDirectory, program));
        line.AddRange(arguments);
        return RunProgramAsync(line[0], line[1..], cancellationToken, mayFail, patience);
    }

    /// <summary>Runs a program to its end; answers its exit code.</summary>
    /// <exception cref="StorageUnavailableException">It failed, and <paramref name="mayFail"/> is not set.</exception>
    private static async Task<int> RunProgramAsync(
        string program, IReadOnlyList<string> arguments, CancellationToken cancellationToken, bool mayFail = false,
        TimeSpan? patience = null)
    {
        // No pipes. The server that a program starts would inherit them and keep them open, and a process that is
        // disposed while its pipes are read can leave a thread of the runtime spinning for ever.
        var errors = Path.GetTempFileName();
        try
        {
            var start = new ProcessStartInfo(
                "sh", ["-c", "exec \"$@\" </dev/null >/dev/null 2>\"$0\"", errors, program, .. arguments])
            {
                UseShellExecute = false,
                WorkingDirectory = "/",
                Environment = { ["LC_ALL"] = "C.UTF-8" },
            };
            using var process = Process.Start(start)!;
            using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            timeout.CancelAfter(patience ?? ProgramTakesAtMost);
            await process.WaitForExitAsync(timeout.Token);
            if (process.ExitCode != 0 && !mayFail)
            {
                var call = $"{Path.GetFileName(program)} {string.Join(' ', arguments.Take(3))}";
                var output = await FirstOfAsync(errors, cancellationToken);
                throw new StorageUnavailableException(StorageFault.ProgramFailed, [call, output], $"{call}: {output}");
            }

            return process.ExitCode;
        }
        finally
        {
            File.Delete(errors);
        }
    }

    private static async Task<string> FirstOfAsync(string path, CancellationToken cancellationToken)
    {
        using var reader = new StreamReader(path);
        var text = new char[LongestError];
        return new string(text, 0, await reader.ReadBlockAsync(text, cancellationToken)).Trim();
    }
}
