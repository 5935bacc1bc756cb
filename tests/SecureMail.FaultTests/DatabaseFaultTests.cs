using Npgsql;
using SecureMail.Gateway;
using SecureMail.Gateway.Outbound;
using SecureMail.Host.Schema;
using SecureMail.LedgerStore;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Storage;
using SecureMail.TestKit.Probes;

namespace SecureMail.FaultTests;

/// <summary>The database away, killed and full. Each server here is the test's own.</summary>
public sealed class DatabaseFaultTests : IAsyncLifetime
{
    private readonly PostgresServer _postgres = new();

    public Task InitializeAsync() => _postgres.InitializeAsync();

    public Task DisposeAsync() => _postgres.DisposeAsync();

    [Fact]
    public async Task A_gateway_whose_database_is_down_says_so_at_its_start()
    {
        var owner = await _postgres.CreateDatabaseAsync();
        var options = new GatewaySetup
        {
            Name = "gateway.test",
            DataFolder = _postgres.Folder,
            DatabaseConnection = PostgresServer.AsGateway(owner),
            OwnerConnection = owner,
        };
        await GatewayDatabase.MigrateAsync(options.Database, HostSchema.Migrator, CancellationToken.None);
        await KillServerAsync();
        foreach (
            var open in new Func<Task>[]
            {
                () => GatewayDatabase.OpenAsync(options.Database, HostSchema.Migrator, CancellationToken.None),
                () => GatewayDatabase.MigrateAsync(options.Database, HostSchema.Migrator, CancellationToken.None),
            })
        {
            (await Should.ThrowAsync<StorageUnavailableException>(open)).Message.ShouldContain("Database:Connection");
        }

        await using var again = await PrivateCluster.OpenAsync(_postgres.Folder, CancellationToken.None);
        await using var database = await GatewayDatabase.OpenAsync(
            options.Database, HostSchema.Migrator, CancellationToken.None);
    }

    [Fact]
    public async Task A_server_killed_in_mid_flight_loses_nothing_and_doubles_nothing()
    {
        const int Dispatches = 6;
        await using var pair = await TwoGateways.StartAsync(_postgres);
        var submission = TwoGateways.Submission(TwoGateways.AnHoa, TwoGateways.BinhMinh);
        List<SubmissionAnswer> answers = [];
        for (var n = 0; n < Dispatches; n++)
        {
            answers.Add(await pair.A.Node.SubmitAsync(submission, CancellationToken.None));
        }

        await KillServerAsync();
        await Should.ThrowAsync<StorageUnavailableException>(() =>
            pair.A.Node.SubmitAsync(submission, CancellationToken.None));
        (await pair.A.Node.HealthAsync(CancellationToken.None)).Problems.ShouldContain("database");
        (await OutcomeAsync(pair)).ShouldBe(SmtpOutcome.Transient);

        await using var again = await PrivateCluster.OpenAsync(_postgres.Folder, CancellationToken.None);
        // What was leased when the server went comes back with its lease; the test does not wait for that.
        foreach (var gateway in new[] { pair.A, pair.B })
        {
            await gateway.Probe.Queue.EndLeasesAsync();
        }

        foreach (var answer in answers)
        {
            await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients.All(r => r.State == "acknowledged"));
        }

        foreach (var code in new[] { TwoGateways.AnHoa, TwoGateways.BinhMinh })
        {
            var inbox = await pair.B.Node.Incoming.ListAsync(code, "inbox", 100, CancellationToken.None);
            inbox.Select(m => m.DispatchId!.Value).Order().ShouldBe(answers.Select(a => a.DispatchId).Order());
        }

        foreach (var gateway in new[] { pair.A, pair.B })
        {
            (
                await LedgerVerifier.VerifyAsync(
                    gateway.Node.Database.Source, gateway.Node.Identity.Ledger.Verifier, [], CancellationToken.None)
            ).Problems.ShouldBeEmpty();
            (await gateway.Node.HealthAsync(CancellationToken.None)).Problems.ShouldBeEmpty();
        }
    }

    [Fact]
    public async Task A_full_disk_takes_nothing_and_says_so_and_works_again_when_there_is_space()
    {
        await using var pair = await TwoGateways.StartAsync(_postgres);
        foreach (var gateway in new[] { pair.A, pair.B })
        {
            await gateway.Probe.Content.FillDiskAsync();
        }

        await TwoGateways.EventuallyAsync(() => Task.FromResult(pair.B.Node.SmtpEndpoint), "a listener");
        var submission = TwoGateways.Submission(TwoGateways.AnHoa);
        (
            await Should.ThrowAsync<StorageUnavailableException>(() =>
                pair.A.Node.SubmitAsync(submission, CancellationToken.None))
        ).Fault.ShouldBe(StorageFault.DiskFull);
        (await OutcomeAsync(pair)).ShouldBe(SmtpOutcome.Transient);
        foreach (var gateway in new[] { pair.A, pair.B })
        {
            (await gateway.Probe.FootprintAsync()).ShouldAllBe(rows => rows.Key == "entry" || rows.Value == 0);
        }

        // The receiver's disk is freed later than the sender's: the dispatch waits at the sender.
        await pair.A.Probe.Content.FreeDiskAsync();
        var answer = await pair.A.Node.SubmitAsync(submission, CancellationToken.None);
        answer.Number.ShouldBe("01-CV/VPTU");
        await TwoGateways.EventuallyAsync(
            async () =>
                (await pair.A.Node.Queue.ListAsync(CancellationToken.None)).FirstOrDefault(w =>
                    w.Kind == "send" && w.LastError is not null && w.LastError.Contains("452", StringComparison.Ordinal)
                ),
            "a refused attempt");
        (await pair.A.OutgoingAsync(answer.DispatchId, _ => true))
            .Recipients[0]
            .ShouldSatisfyAllConditions(r => r.Reason.ShouldBeNull(), r => r.State.ShouldBe("queued"));
        await pair.B.Probe.Content.FreeDiskAsync();
        await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients[0].State == "acknowledged");
    }

    private static async Task<SmtpOutcome> OutcomeAsync(TwoGateways pair)
    {
        try
        {
            return (
                await pair.InjectAsync("From: a@b.test\r\n\r\nx\r\n"u8.ToArray(), "vanthu@anhoa.songlam.test")).Outcome;
        }
        catch (SmtpException e)
        {
            return e.Outcome;
        }
    }

    /// <summary>As after a power failure: no checkpoint, no goodbye to the connections.</summary>
    private async Task KillServerAsync()
    {
        var data = await new GatewayProbe(_postgres.Cluster.ConnectionString("postgres", "postgres"))
            .DataFolderAsync();

        string[] stop =
        [
            Path.Combine(_postgres.Cluster.BinaryDirectory, "pg_ctl"),
            "stop",
            "-D",
            data,
            "-m",
            "immediate",
            "-w",
            "-s",
        ];
        var asServer = Environment.IsPrivilegedProcess
            ? ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", .. stop]
            : stop;
        await SoftHsm.RunAsync(asServer[0], asServer[1..]);
    }
}
