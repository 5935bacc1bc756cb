using SecureMail.Exchange;
using SecureMail.Gateway;

namespace SecureMail.FaultTests;

/// <summary>One visit of one commit: two gateways of its own, and the fault that one process of them is to
/// meet.</summary>
internal sealed class FaultRun(PostgresServer postgres, string kind, string point) : IAsyncDisposable
{
    private readonly List<GatewayProcess> _processes = [];
    private TwoGateways? _pair;

    /// <summary>True when the process dies of it.</summary>
    public bool Kills => kind.StartsWith("kill", StringComparison.Ordinal);

    /// <summary>True when the write is durable although nobody heard so.</summary>
    public bool Persists => kind is "kill-after" or "lose-answer";

    public string Kind => kind;

    public RunningGateway A => _pair!.A;

    public RunningGateway B => _pair!.B;

    public TwoGateways Pair => _pair!;

    public PostgresServer Postgres => postgres;

    /// <summary>What the processes said, for the message of a failure.</summary>
    public string Said => string.Join('\n', _processes.Select(p => p.Said));

    /// <summary>Opens both gateways; neither serves yet.</summary>
    public async Task OpenAsync(Func<DirectoryDocument, DirectoryDocument>? changeDirectory = null)
    {
        _pair = await TwoGateways.StartAsync(postgres, changeDirectory: changeDirectory, run: false);
        StartupHook.NameCommitsHere();
        await A.Probe.Commits.WatchAsync();
        await B.Probe.Commits.WatchAsync();
    }

    /// <summary>Nothing was written on the way but by a named commit.</summary>
    public async Task EveryWriteWasNamedAsync()
    {
        if (_pair is null)
        {
            // The course had gateways of its own.
            return;
        }

        (await A.Probe.Commits.UnnamedAsync()).ShouldBeEmpty();
        (await B.Probe.Commits.UnnamedAsync()).ShouldBeEmpty();
    }

    /// <param name="also">Beside An Hòa.</param>
    public async Task<Guid> SubmitAsync(params string[] also) =>
        (
            await A.Node.SubmitAsync(TwoGateways.Submission([TwoGateways.AnHoa, .. also]), CancellationToken.None)
        ).DispatchId;

    /// <summary>The gateway serves in a process that meets the fault; when that killed it, it serves again
    /// without.</summary>
    /// <param name="environment">Of that process alone.</param>
    /// <param name="options">Other options than the gateway's own, for the process that meets the fault alone.</param>
    /// <param name="again">It is stopped after the fault and started again also when that did not kill it: an idle
    /// scheduler looks every half minute only.</param>
    public async Task VisitAsync(
        RunningGateway gateway, GatewaySetup? options = null, bool again = false,
        IReadOnlyDictionary<string, string>? environment = null)
    {
        var process = Serve(options ?? gateway.Options, $"{kind}:{point}", environment);
        await process.FaultAsync();
        if (Kills)
        {
            (await process.EndAsync()).ShouldBe(137);
        }
        else if (options is not null || environment is not null || again)
        {
            await process.StopAsync();
        }

        if (process.HasExited)
        {
            Serve(gateway.Options, StartupHook.None);
        }
    }

    /// <summary>A command meets the fault; what it does is then there or not, as the fault says, and there when it is
    /// given again.</summary>
    /// <param name="lostAnswer">The exit code where the answer of the commit was lost: the command may know how to
    /// ask.</param>
    public async Task CommandAsync(
        RunningGateway gateway, Func<Task<bool>> isDone, int lostAnswer, params string[] arguments)
    {
        await using var process = GatewayProcess.Run(gateway.Options, $"{kind}:{point}", arguments);
        await process.FaultAsync();
        var exit = await process.EndAsync();
        exit.ShouldBe(
            Kills ? 137
                : kind == "lose-answer" ? lostAnswer
                : 69,
            process.Said);
        (await isDone()).ShouldBe(Persists, $"{kind} {point}: {process.Said}");
        if (Persists)
        {
            return;
        }

        await using var again = GatewayProcess.Run(gateway.Options, StartupHook.None, arguments);
        (await again.EndAsync()).ShouldBe(0, again.Said);
        (await isDone()).ShouldBeTrue();
    }

    /// <summary>Everything has come to its one right end.</summary>
    public async Task DeliveredOnceAsync(Guid dispatch, int validations = 1)
    {
        await Outcome.DeliveredOnceAsync(
            A, new Dictionary<string, RunningGateway> { [TwoGateways.AnHoa] = B }, dispatch, validations);
        await Outcome.NothingLeftAsync(A, B);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var process in _processes)
        {
            await process.DisposeAsync();
        }

        if (_pair is not null)
        {
            await _pair.DisposeAsync();
        }
    }

    private GatewayProcess Serve(
        GatewaySetup options, string fault, IReadOnlyDictionary<string, string>? environment = null)
    {
        var process = GatewayProcess.Serve(options, TestPorts.Next(), fault, environment: environment);
        _processes.Add(process);
        return process;
    }
}
