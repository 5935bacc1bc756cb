using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SecureMail.Backup;
using SecureMail.Gateway.Jobs;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;
using SecureMail.TestKit.Probes;
using Xunit.Abstractions;

namespace SecureMail.FaultTests;

/// <summary>What runs beside the mail: each job is done once, whatever becomes of the node that began it, and a person
/// sees how it goes.</summary>
public sealed class JobTests(PostgresFixture postgres, ITestOutputHelper output) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task A_command_asks_for_a_job_and_shows_how_it_went()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var dispatch = await pair.A.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        var verify = await RequestAsync(pair.A, "ledger", "verify", "--background");
        var export = await RequestAsync(pair.A, "ledger", "export", "--background");
        // Asked again before it began, it is the same job.
        (await RequestAsync(pair.A, "ledger", "verify", "--background")).ShouldBe(verify);
        (await ShowAsync(pair.A, verify)).Exit.ShouldBe(75);
        pair.B.Run();
        pair.A.Run();
        await pair.A.OutgoingAsync(dispatch.DispatchId, d => d.Recipients.All(r => r.State == "acknowledged"));
        await EndedAsync(pair.A, verify, export);
        var (exit, shown) = await ShowAsync(pair.A, verify);
        exit.ShouldBe(0);
        shown.GetProperty("state").GetString().ShouldBe("done");
        shown.GetProperty("kind").GetString().ShouldBe("ledger-verification");
        shown.GetProperty("runs").GetInt32().ShouldBe(1);
        shown.GetProperty("result").GetProperty("problems").GetArrayLength().ShouldBe(0);
        shown.GetProperty("reason").ValueKind.ShouldBe(JsonValueKind.Null);

        var result = (await ShowAsync(pair.A, export)).Json.GetProperty("result");
        var file = result.GetProperty("file").GetString()!;
        file.ShouldStartWith(pair.A.Options.DataFolder);
        Convert
            .ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(file)))
            .ShouldBe(result.GetProperty("sha256").GetString());

        // What is left of an export that did not end on this node goes when the node starts; what ended here stays.
        await pair.A.StopAsync();
        var left = Path.Combine(Path.GetDirectoryName(file)!, $"{Guid.NewGuid()}.jsonl");
        await File.WriteAllTextAsync(left, "left");
        await File.WriteAllTextAsync(file + ".part", "left");
        await using (var serving = GatewayProcess.Serve(pair.A.Options, TestPorts.Next()))
        {
            await TwoGateways.EventuallyAsync(
                () => Task.FromResult(File.Exists(left) || File.Exists(file + ".part") ? null : ""),
                "what is left to be deleted");
            File.Exists(file).ShouldBeTrue();
        }

        // Damage to the ledger is a job that is done and found something.
        await pair.A.Probe.Ledger.DamageFirstEntryAsync();
        var damaged = await RequestAsync(pair.A, "ledger", "verify", "--background");
        await using var again = GatewayProcess.Serve(pair.A.Options, TestPorts.Next());
        await EndedAsync(pair.A, damaged);
        (exit, shown) = await ShowAsync(pair.A, damaged);
        exit.ShouldBe(1);
        shown.GetProperty("state").GetString().ShouldBe("done");
        shown.GetProperty("result").GetProperty("problems").GetArrayLength().ShouldBeGreaterThan(0);

        await using var list = GatewayProcess.Run(pair.A.Options, null, "jobs", "list", "--json");
        (await list.EndAsync()).ShouldBe(0);
        Lines(list.Said)
            .Select(j => j.GetProperty("id").GetGuid())
            .ShouldBe([verify, export, damaged, JobTable.Retention], ignoreOrder: true);
        await using var words = GatewayProcess.Run(pair.A.Options, null, "jobs", "show", damaged.ToString());
        (await words.EndAsync()).ShouldBe(1);
        words.Said.ShouldContain("Tác vụ: Kiểm tra nhật ký kiểm chứng / Job: Verify the ledger");
        await using var none = GatewayProcess.Run(pair.A.Options, null, "jobs", "show", Guid.NewGuid().ToString());
        (await none.EndAsync()).ShouldBe(1);
        await using var both = GatewayProcess.Run(pair.A.Options, null, "ledger", "export", "x", "--background");
        (await both.EndAsync()).ShouldBe(64);
    }

    [Fact]
    public async Task A_rotation_in_the_background_moves_everything_to_the_key_that_the_command_made()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var dispatch = await pair.A.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        await pair.A.OutgoingAsync(dispatch.DispatchId, d => d.Recipients.All(r => r.State == "acknowledged"));
        var job = await RequestAsync(pair.A, "storage", "rotate", "--background");
        await EndedAsync(pair.A, job);
        var (exit, shown) = await ShowAsync(pair.A, job);
        exit.ShouldBe(0, shown.ToString());
        shown.GetProperty("done").GetInt64().ShouldBe(shown.GetProperty("total").GetInt64());
        shown.GetProperty("total").GetInt64().ShouldBeGreaterThan(0);
        shown.GetProperty("result").GetProperty("key").GetString().ShouldBe("storage-0002");
        // The gateway goes on with the new key: what it writes now lies under it too.
        await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        (await pair.A.Probe.Content.StorageKeysAsync()).ShouldBe(["storage-0002"]);
    }

    [Fact]
    public async Task A_job_that_no_node_can_do_is_given_back_and_fails_in_the_end_with_its_reason()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var job = await pair.A.Node.Jobs.RequestAsync(JobKind.BaseBackup, TestActor.VanThu, CancellationToken.None);
        await TwoGateways.EventuallyAsync(
            async () =>
                await pair.A.Node.Jobs.FindAsync(job, CancellationToken.None) is { State: "requested", Runs: 1 } j
                    ? j
                    : null,
            "the job to be given back");
        // Nothing asks for it again but the timer.
        await pair.A.Probe.Jobs.SetRunsAsync(job, 19);
        await pair.A.Probe.Queue.MakeTimerDueAsync(WorkKind.LostJobs);
        await EndedAsync(pair.A, job);
        var (exit, shown) = await ShowAsync(pair.A, job);
        (exit, shown.GetProperty("state").GetString(), shown.GetProperty("reason").GetString()).ShouldBe(
            (1, "failed", "JOB_NOT_HERE"));
    }

    [Fact]
    public async Task A_job_of_a_killed_node_is_done_by_another_once()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        await using var one = GatewayProcess.Serve(pair.A.Options, TestPorts.Next());
        await using var hold = new NpgsqlConnection(pair.A.Owner);
        await hold.OpenAsync();
        await AdvisoryLock.Destruction.TakeForConnectionAsync(hold, CancellationToken.None);
        // Retention begins with the first node and waits for the lock.
        await OwnerOfAsync(pair.A, "");
        await using var two = GatewayProcess.Serve(await NodesTests.SecondAsync(pair), TestPorts.Next());
        await TwoGateways.UntilAsync(async () => await pair.A.Probe.Jobs.ServersAsync() == 2, "the second node");
        var first = await OwnerOfAsync(pair.A, "");
        await one.KillAsync();
        var clock = Stopwatch.StartNew();
        await OwnerOfAsync(pair.A, first);
        var took = clock.Elapsed;
        await hold.CloseAsync();
        await EndedAsync(pair.A, JobTable.Retention);
        var job = (await pair.A.Node.Jobs.FindAsync(JobTable.Retention, CancellationToken.None))!;
        (job.State, job.Runs).ShouldBe(("done", 2));
        output.WriteLine($"1 node killed with a job under way: the other began it after {took.TotalSeconds:F1} s");
    }

    [Fact]
    public async Task A_node_that_starts_again_takes_up_at_once_what_it_was_doing()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        await using var hold = new NpgsqlConnection(pair.A.Owner);
        await hold.OpenAsync();
        await AdvisoryLock.Destruction.TakeForConnectionAsync(hold, CancellationToken.None);
        await using var one = GatewayProcess.Serve(pair.A.Options, TestPorts.Next());
        var first = await OwnerOfAsync(pair.A, "");
        await one.KillAsync();
        // Longer than any test lasts: only the start of the node itself ends the lease.
        await pair.A.Probe.Jobs.ExtendLeasesAsync(TimeSpan.FromHours(1));
        await using var again = GatewayProcess.Serve(pair.A.Options, TestPorts.Next());
        (await OwnerOfAsync(pair.A, first)).Split(':')[0].ShouldBe(first.Split(':')[0]);
        await again.StopAsync();
        // Told to stop, it gave the job back, and the next start does it.
        (await pair.A.Node.Jobs.FindAsync(JobTable.Retention, CancellationToken.None))!.State.ShouldBe("requested");
        await hold.CloseAsync();
        pair.A.Run();
        await EndedAsync(pair.A, JobTable.Retention);
    }

    [Fact]
    public async Task Two_nodes_do_a_recurring_job_once_an_hour_and_a_call_that_came_twice_does_nothing()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        await pair.A.Probe.Jobs.NoteBegunAsync();
        await using var one = GatewayProcess.Serve(pair.A.Options, TestPorts.Next());
        await using var two = GatewayProcess.Serve(await NodesTests.SecondAsync(pair), TestPorts.Next());
        await EndedAsync(pair.A, JobTable.Retention);
        for (var hour = 1; hour <= 4; hour++)
        {
            // As if the hour were over: Hangfire's schedule is due on both nodes.
            await pair.A.Probe.Jobs.EndHourAsync();
            await TwoGateways.UntilAsync(
                async () => await pair.A.Probe.Jobs.BegunAsync() == hour + 1,
                $"hour {hour}");
            await EndedAsync(pair.A, JobTable.Retention);
        }

        // A job that is at its end is not done again, however often it is called.
        var job = await pair.A.Node.Jobs.RequestAsync(
            JobKind.LedgerVerification, TestActor.VanThu, CancellationToken.None);
        await EndedAsync(pair.A, job);
        await pair.A.Probe.Jobs.RepeatCallAsync(job, 8);
        await QueueIsEmptyAsync(pair.A);
        (await pair.A.Probe.Jobs.BegunAsync(job)).ShouldBe(1);
        (await pair.A.Probe.Jobs.BegunAsync()).ShouldBe(6);
        (await pair.A.Probe.Jobs.SucceededCallsAsync()).ShouldBeGreaterThanOrEqualTo(13);
    }

    [Fact]
    public async Task A_call_that_was_lost_is_made_again()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var job = await pair.A.Node.Jobs.RequestAsync(
            JobKind.LedgerVerification, TestActor.VanThu, CancellationToken.None);
        await pair.A.Probe.Jobs.LoseCallsAsync();
        pair.A.Run();
        await EndedAsync(pair.A, job);

        // The same while the node runs: the timer finds it.
        job = await pair.A.Node.Jobs.RequestAsync(JobKind.LedgerExport, TestActor.VanThu, CancellationToken.None);
        await EndedAsync(pair.A, job);
        await pair.A.Probe.Jobs.AskAgainAsync(job);
        await pair.A.Probe.Queue.MakeTimerDueAsync(WorkKind.LostJobs);
        await EndedAsync(pair.A, job);
        (await pair.A.Node.Jobs.FindAsync(job, CancellationToken.None))!.Runs.ShouldBe(2);
    }

    [Theory]
    [InlineData("System.IO.File, System.Private.CoreLib", "Delete", "System.String, System.Private.CoreLib")]
    [InlineData("System.IO.File", "Delete", "System.String")]
    [InlineData("SecureMail.Host.Background.Jobs, securemail", "Retention", "System.Guid")]
    [InlineData("securemail-jobs", "Retention", "System.String, System.Private.CoreLib")]
    [InlineData("securemail-jobs", "GetType", null)]
    [InlineData("guid", "NewGuid", null)]
    public async Task A_row_that_names_other_code_than_the_jobs_runs_nothing(
        string type, string method, string? parameter)
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var file = Path.Combine(pair.Folder, "precious");
        await File.WriteAllTextAsync(file, "kept");
        var arguments = JsonSerializer.Serialize(
            parameter is null ? [] : new[] { JsonSerializer.Serialize(file) });
        var call = JsonSerializer.Serialize(
            new
            {
                Type = type,
                Method = method,
                ParameterTypes = JsonSerializer.Serialize(parameter is null ? [] : new[] { parameter }),
                Arguments = arguments,
            });
        var row = await pair.A.Probe.Jobs.AddCallAsync(call, arguments);
        pair.A.Run();
        await TwoGateways.UntilAsync(
            async () => await pair.A.Probe.Jobs.CallStateAsync(row) is not ("Enqueued" or "Processing"),
            "the row to be refused");
        (await pair.A.Probe.Jobs.CallStateAsync(row)).ShouldBe("Failed");
        (await File.ReadAllTextAsync(file)).ShouldBe("kept");
        // The jobs of the gateway go on beside it.
        await EndedAsync(pair.A, JobTable.Retention);
    }

    [Fact]
    public async Task A_restored_gateway_begins_no_job_of_before_and_has_an_empty_queue()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var folder = pair.Folder;
        var lost = pair.A.Options with
        {
            DatabaseConnection = null,
            OwnerConnection = null,
            DataFolder = Path.Combine(folder, "lost"),
        };
        var into = lost with { DataFolder = Path.Combine(folder, "restored") };
        var recovery = Path.Combine(folder, "recovery.pem");
        using var key = RSA.Create(2048);
        using var certificate = new CertificateRequest(
            "CN=recovery", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1).CreateSelfSigned(
                DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(200));
        await File.WriteAllTextAsync(
            recovery, certificate.ExportCertificatePem() + "\n" + key.ExportPkcs8PrivateKeyPem());
        try
        {
            lost.CreateIdentity("127.0.0.1", 1);
            var backup = new BackupOptions
            {
                Folder = Path.Combine(folder, "backup"),
                RecoveryCertificate = recovery,
                Synchronous = false,
            };
            Guid job;
            await using (
                var node = await TestGateway.OpenAsync(
                    lost, TimeProvider.System, NullLoggerFactory.Instance, CancellationToken.None))
            {
                job = await node.Jobs.RequestAsync(JobKind.LedgerExport, TestActor.VanThu, CancellationToken.None);
                await node.Backups.TakeAsync(backup, CancellationToken.None);
                (await GatewayProbe.Of(node).Jobs.QueuedCallsAsync()).ShouldBe(1);
                // The base of a job bears its id: taken again, it is the same one.
                var one = await node.Backups.TakeOnceAsync(backup, job, new Progress<long>(), CancellationToken.None);
                (await node.Backups.TakeOnceAsync(backup, job, new Progress<long>(), CancellationToken.None)).ShouldBe(
                    one);
                Directory.GetDirectories(backup.Folder, "base-*").Length.ShouldBe(2);
            }

            await using var restore = GatewayProcess.Run(
                into, null, "restore", "--from", backup.Folder, "--key", recovery);
            (await restore.EndAsync()).ShouldBe(0, restore.Said);
            await using var restored = await TestGateway.OpenAsync(
                into, TimeProvider.System, NullLoggerFactory.Instance, CancellationToken.None);
            var rows = await GatewayProbe.Of(restored).Jobs.HangfireRowsAsync();
            rows.ShouldAllBe(r => r.Value == (r.Key == "schema" ? 1 : 0));
            var row = (await restored.Jobs.FindAsync(job, CancellationToken.None))!;
            (row.State, row.Reason).ShouldBe(("failed", "JOB_RESTORED"));
        }
        finally
        {
            PrivateCluster.DeleteFiles(lost.DataFolder);
            PrivateCluster.DeleteFiles(into.DataFolder);
        }
    }

    [Fact]
    public void Every_kind_of_job_has_its_method_which_takes_one_id()
    {
        foreach (var method in JobKind.All.Select(JobMethod.Of).Append(JobMethod.SignDispatch))
        {
            typeof(SecureMail.Host.Background.Jobs)
                .GetMethod(method)
                .ShouldNotBeNull(method)
                .GetParameters()
                .Select(p => p.ParameterType)
                .ShouldBe([typeof(Guid)]);
        }
    }

    /// <summary>Asks for a job by a command; answers its id.</summary>
    private static async Task<Guid> RequestAsync(RunningGateway gateway, params string[] arguments)
    {
        await using var process = GatewayProcess.Run(gateway.Options, null, [.. arguments, "--json"]);
        (await process.EndAsync()).ShouldBe(0, process.Said);
        return Lines(process.Said).ShouldHaveSingleItem().GetProperty("job").GetGuid();
    }

    private static async Task<(int Exit, JsonElement Json)> ShowAsync(RunningGateway gateway, Guid job)
    {
        await using var process = GatewayProcess.Run(gateway.Options, null, "jobs", "show", job.ToString(), "--json");
        var exit = await process.EndAsync();
        return (exit, Lines(process.Said).ShouldHaveSingleItem());
    }

    private static IReadOnlyList<JsonElement> Lines(string said) =>
        [
            .. said.Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Select(l => JsonSerializer.Deserialize<JsonElement>(l)),
        ];

    /// <summary>Waits until the jobs are at their end.</summary>
    private static async Task EndedAsync(RunningGateway gateway, params Guid[] jobs)
    {
        foreach (var job in jobs)
        {
            await TwoGateways.EventuallyAsync(
                async () =>
                    await gateway.Node.Jobs.FindAsync(job, CancellationToken.None) is { EndedAt: not null } j
                        ? j
                        : null,
                $"job {job} to end");
        }
    }

    /// <summary>Waits until a job runs whose owner is not this one; answers its owner.</summary>
    private static Task<string> OwnerOfAsync(RunningGateway gateway, string other) =>
        TwoGateways.EventuallyAsync(
            async () =>
                await gateway.Probe.Jobs.OwnerAsync() is
                { } owner && owner != other
                    ? owner
                    : null,
            "a job to run");

    private static Task QueueIsEmptyAsync(RunningGateway gateway) =>
        TwoGateways.UntilAsync(
            async () => await gateway.Probe.Jobs.QueuedCallsAsync() == 0,
            "Hangfire's queue to be empty");
}
