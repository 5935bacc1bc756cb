using System.Diagnostics;
using System.Text;
using System.Text.Json;
using SecureMail.Gateway;
using SecureMail.Gateway.Health;
using SecureMail.Mail.Smtp.Server;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.TestKit;

/// <summary>The program as it is shipped, in a process of its own that can be killed: <c>securemail serve</c>, or one
/// command on a gateway's database.</summary>
internal sealed class GatewayProcess : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeLimit.Limit;

    private readonly Process _process;
    private readonly StringBuilder _said = new();
    private readonly TaskCompletionSource _faulted = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task _reading;

    private GatewayProcess(Process process)
    {
        _process = process;
        _reading = Task.WhenAll(ReadAsync(process.StandardOutput), ReadAsync(process.StandardError));
    }

    public int Id => _process.Id;

    public bool HasExited => _process.HasExited;

    /// <summary>Everything it wrote, for the message of a failure.</summary>
    public string Said
    {
        get
        {
            lock (_said)
            {
                return _said.ToString();
            }
        }
    }

    /// <summary>Starts the gateway. <paramref name="fault"/>: see <see cref="StartupHook.Variable"/>.</summary>
    /// <param name="environment">More of it, such as <see cref="FakeTime.Environment"/>.</param>
    /// <param name="program">Another build's <c>securemail.dll</c>; null: this one's.</param>
    /// <param name="temporary">Where it makes temporary files; null: where everybody does.</param>
    public static GatewayProcess Serve(
        GatewaySetup options, int http, string? fault = null, string? temporary = null, string? program = null,
        IReadOnlyDictionary<string, string>? environment = null) =>
        Start(
            program, fault, temporary, environment, "serve", "--config", WriteConfiguration(options), "--http",
            $"127.0.0.1:{http}");

    /// <summary>One command on the gateway's own database.</summary>
    public static GatewayProcess Run(GatewaySetup options, string? fault, params string[] arguments) =>
        Start(null, fault, null, null, [.. arguments, "--config", WriteConfiguration(options)]);

    /// <summary>One command of another build.</summary>
    public static GatewayProcess RunOf(string program, GatewaySetup options, params string[] arguments) =>
        Start(program, null, null, null, [.. arguments, "--config", WriteConfiguration(options)]);

    /// <summary>Waits until it says that it has come to its fault.</summary>
    public async Task FaultAsync()
    {
        var ended = _process.WaitForExitAsync();
        if (await Task.WhenAny(_faulted.Task, ended).WaitAsync(Patience) == ended)
        {
            await _reading;
            if (!_faulted.Task.IsCompleted)
            {
                throw new InvalidOperationException($"It ended with {_process.ExitCode} before its fault: {Said}");
            }
        }
    }

    /// <summary>Waits for its end; answers the exit code, 137 when it was killed.</summary>
    public async Task<int> EndAsync()
    {
        using var patience = new CancellationTokenSource(Patience);
        await _process.WaitForExitAsync(patience.Token);
        await _reading;
        return _process.ExitCode;
    }

    /// <summary>SIGKILL: nothing is flushed, no finally runs.</summary>
    public async Task KillAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        await _process.WaitForExitAsync();
    }

    /// <summary>SIGTERM, and waits until it has finished what it does.</summary>
    public async Task StopAsync()
    {
        if (!_process.HasExited)
        {
            await SoftHsm.RunAsync("kill", "-TERM", _process.Id.ToString());
        }

        await EndAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        await _reading;
        _process.Dispose();
    }

    private static GatewayProcess Start(
        string? program, string? fault, string? temporary, IReadOnlyDictionary<string, string>? environment,
        params string[] arguments)
    {
        SoftHsm.MendTokens();
        var dotnet =
            Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet" ? Environment.ProcessPath! : "dotnet";
        var start = new ProcessStartInfo(
            dotnet, ["exec", program ?? Path.Combine(AppContext.BaseDirectory, "securemail.dll"), .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        start.Environment.Remove("SECUREMAIL_CONFIG");
        if (fault is not null)
        {
            start.Environment[StartupHook.Variable] = fault;
            start.Environment["DOTNET_STARTUP_HOOKS"] = typeof(StartupHook).Assembly.Location;
        }

        if (temporary is not null)
        {
            start.Environment["TMPDIR"] = temporary;
        }

        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }

        var process = Process.Start(start)!;
        process.StandardInput.Close();
        return new GatewayProcess(process);
    }

    private async Task ReadAsync(StreamReader reader)
    {
        while (await reader.ReadLineAsync() is { } line)
        {
            lock (_said)
            {
                _said.AppendLine(line);
            }

            if (line.StartsWith(StartupHook.Variable, StringComparison.Ordinal))
            {
                _faulted.TrySetResult();
            }
        }
    }

    private static string WriteConfiguration(GatewaySetup options)
    {
        Directory.CreateDirectory(options.DataFolder);
        var file = Path.Combine(options.DataFolder, "securemail.json");
        File.WriteAllText(
            file,
            JsonSerializer.Serialize(
                new
                {
                    options.Name,
                    Data = options.DataFolder,
                    Smtp = options.Smtp?.ToString(),
                    Database = new { Connection = options.DatabaseConnection, options.OwnerConnection },
                    Trust = new
                    {
                        options.Anchors,
                        options.Intermediates,
                        options.Crls,
                    },
                    Directory = new { Publisher = options.DirectoryPublisher },
                    Delivery = new
                    {
                        options.ReceiptDue,
                        options.GiveUpAfter,
                        options.IndeterminateFor,
                        options.ClockSettles,
                        options.LargestMessage,
                    },
                    Tokens = options.Tokens.Select(t => new { t.Uri, t.PinFile }),
                    Limits = LimitsOf(options.Health, options.SmtpLimits),
                    Backup = options.Backup.IsConfigured
                        ? new
                        {
                            options.Backup.Folder,
                            options.Backup.RecoveryCertificate,
                            options.Backup.Synchronous,
                        }
                        : null,
                }));
        return file;
    }

    private static object LimitsOf(HealthOptions health, SmtpServerLimits smtp) =>
        new
        {
            health.LeastFree,
            health.LeastFreeTemporary,
            health.QueueDepth,
            health.SlowDatabase,
            smtp.Connections,
            smtp.UnauthenticatedConnections,
            smtp.ConnectionsPerAddress,
            smtp.ConnectionsPerPeer,
            smtp.Messages,
            smtp.MessagesPerPeer,
            smtp.CommandTimeout,
            smtp.TimeToTls,
            smtp.TlsTimeout,
            smtp.SessionTime,
            smtp.DataBlockTimeout,
            smtp.DataGrace,
            smtp.DataBytesPerSecond,
        };
}
