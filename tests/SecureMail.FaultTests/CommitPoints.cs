using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SecureMail.Backup;
using SecureMail.Exchange;
using SecureMail.Gateway;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Recovery;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Host.Schema;
using SecureMail.Ledger;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using SecureMail.TestKit.Probes;

namespace SecureMail.FaultTests;

/// <summary>
/// Every commit of the product and the course of events that comes by it. A fast test holds this table to the source: a
/// commit without a row here, or a row without its commit, fails the build. Each course ends by checking that
/// everything is in its one right state.
/// </summary>
internal static class CommitPoints
{
    public static IReadOnlyDictionary<string, Func<FaultRun, Task>> All { get; } =
        new Dictionary<string, Func<FaultRun, Task>>
        {
            // The outgoing flow.
            ["outbound.accept"] = SubmittingAsync,
            ["outbound.authorise"] = run => ExchangeAsync(run, visitA: true),
            ["outbound.await-signature"] = WithoutTokenAsync,
            ["outbound.refuse"] = ForbiddenAfterAcceptanceAsync,
            ["outbound.enqueue"] = ToTwoGatewaysAsync,
            ["send.evidence"] = run => ExchangeAsync(run, visitA: true),
            ["send.outcome"] = run => ExchangeAsync(run, visitA: true),
            ["outbound.overdue"] = OverdueAsync,
            ["outbound.delayed"] = DelayedAsync,
            ["outbound.give-up"] = GivenUpAsync,

            // The incoming flow and its receipts.
            ["inbound.receive"] = BothReceiveAsync,
            ["inbound.record"] = BothReceiveAsync,
            ["inbound.validation-failed"] = PoisonMailAsync,
            ["inbound.arrivals"] = RenewedAsync,
            ["inbound.validated-again"] = RenewedAsync,
            ["receipt.answer"] = run => ExchangeAsync(run, visitA: false),

            // The queue and the ledger.
            ["queue.lease"] = run => ExchangeAsync(run, visitA: true),
            ["queue.renew"] = SlowDestinationAsync,
            ["queue.put-back"] = DestinationStartsLaterAsync,
            ["queue.lane-failed"] = DestinationStartsLaterAsync,
            ["queue.lane-reached"] = DestinationWasAwayAsync,
            ["queue.reclaim"] = AbandonedWorkAsync,
            ["queue.reclaim-own"] = run => ExchangeAsync(run, visitA: false),
            ["queue.drop"] = StrayWorkAsync,
            ["queue.dead"] = PoisonDispatchAsync,
            ["queue.retry"] = run => HeldWorkAsync(run, "ready", "retry"),
            ["queue.release-held"] = run => HeldWorkAsync(run, "ready", "retry", all: true),
            ["queue.give-up"] = run => HeldWorkAsync(run, null, "drop"),
            ["ledger.checkpoint"] = run => ExchangeAsync(run, visitA: true),
            ["recurring.peers"] = run => ExchangeAsync(run, visitA: true),
            ["queue.timer"] = run => ExchangeAsync(run, visitA: true),
            ["queue.recur"] = run => ExchangeAsync(run, visitA: true),

            // Background jobs: retention begins when a node starts for the first time.
            ["job.recover"] = RetentionRunsAsync,
            ["job.begin"] = RetentionRunsAsync,
            ["job.renew"] = LongJobAsync,
            ["job.settle"] = RetentionRunsAsync,
            ["job.request"] = RequestJobAsync,
            ["job.sign"] = SignReleasedAsync,

            // Clocks.
            ["clock.begin"] = WrongClockAsync,
            ["clock.end"] = ClockSetRightAsync,
            ["clock.database-stepped"] = DatabaseClockStepsAsync,

            // What goes in time.
            ["retention.sweep"] = AgedAsync,
            ["retention.partitions"] = run => ExchangeAsync(run, visitA: true),
            ["erasure.erase"] = EraseAsync,
            ["storage.rotate"] = run => RotateStorageKeyAsync(run, "storage.rotate"),
            ["storage.rewrap"] = run => RotateStorageKeyAsync(run, "storage.rewrap"),
            ["storage.cards"] = run => RotateStorageKeyAsync(run, "storage.cards"),

            // What a person does.
            ["directory.import"] = ImportAsync,
            ["directory.compare"] = CompareAsync,
            ["policy.forbid"] = run =>
                PolicyAsync(run, "forbid", "--to", TwoGateways.AnHoa, "--reason", "Thử"),
            ["policy.permit"] = PermitAsync,
            ["policy.secrecy"] = run =>
                PolicyAsync(run, "secrecy", "--agency", TwoGateways.Province, "--highest", "MẬT"),
            ["inbound.register"] = RegisterAsync,
            ["number.cancel"] = CancelNumberAsync,
            ["number.numbering"] = SetNumberingAsync,
            ["schema.migrate"] = MigrateAsync,

            // After a restoration from a backup.
            ["restore.mark"] = RestoringAsync,
            ["restoration.peer"] = run => RestoredAsync(run, visitA: true),
            ["restoration.open"] = run => RestoredAsync(run, visitA: true),
            ["restoration.resend"] = run => RestoredAsync(run, visitA: true),
            ["restoration.excuse"] = ExcuseAsync,
            ["peer.resend"] = run => RestoredAsync(run, visitA: false),
        };

    /// <summary>Has what recurs fall due again and again until it has done its work.</summary>
    private static async Task DueUntilAsync(RunningGateway gateway, Func<Task<bool>> done)
    {
        try
        {
            await TwoGateways.UntilAsync(
                async () =>
                {
                    await gateway.Probe.Queue.MakeTimersDueAsync();
                    return await done();
                },
                "the recurring work");
        }
        catch (TimeoutException e)
        {
            throw new TimeoutException(string.Join('\n', await gateway.Probe.Jobs.DescribeAsync()), e);
        }
    }

    private static async Task RestoredAsync(FaultRun run, bool visitA)
    {
        await run.OpenAsync();
        var dispatch = await run.SubmitAsync();
        await run.A.Probe.Restoration.BeginAsync();
        (visitA ? run.B : run.A).Run();
        await run.VisitAsync(visitA ? run.A : run.B);
        await TwoGateways.UntilAsync(
            async () => await run.A.Probe.Restoration.IsProvenAsync(),
            "the restored gateway to have asked");
        await run.DeliveredOnceAsync(dispatch);
        (await run.A.Probe.Ledger.EntriesAsync(EntryKind.GatewayRestored)).ShouldBe(1);
        (await run.B.Probe.Restoration.ResendRequestsAsync()).ShouldBe(1);
        (await run.B.Probe.Ledger.EntriesAsync(EntryKind.GatewayResendAsked)).ShouldBe(1);
    }

    private static async Task ExcuseAsync(FaultRun run)
    {
        await run.OpenAsync();
        await run.A.Probe.Restoration.BeginAsync();
        await run.CommandAsync(
            run.A,
            () =>
                run.A.Probe.Restoration.IsExcusedAsync(),
            lostAnswer: 69,
            "restore",
            "--check",
            "--without-peer",
            "gateway-b.test");
    }

    /// <summary>Whatever happens before the restored database is moved to its place, nothing was restored; given again,
    /// it is.</summary>
    private static async Task RestoringAsync(FaultRun run)
    {
        await run.OpenAsync();
        var folder = run.Pair.Folder;
        var lost = run.A.Options with
        {
            DatabaseConnection = null,
            OwnerConnection = null,
            DataFolder = Path.Combine(folder, "lost"),
        };
        var into = lost with { DataFolder = Path.Combine(folder, "restored") };
        using var key = RSA.Create(2048);
        using var certificate = new CertificateRequest(
            "CN=recovery",
            key,
            HashAlgorithmName.SHA256,
            RSASignaturePadding.Pkcs1
        ).CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(200));
        var recovery = Path.Combine(folder, "recovery.pem");
        await File.WriteAllTextAsync(
            recovery, certificate.ExportCertificatePem() + "\n" + key.ExportPkcs8PrivateKeyPem());
        try
        {
            lost.CreateIdentity("127.0.0.1", 1);
            await using (
                var node = await TestGateway.OpenAsync(
                    lost, TimeProvider.System, NullLoggerFactory.Instance, CancellationToken.None))
            {
                await node.Backups.TakeAsync(
                    new BackupOptions
                    {
                        Folder = Path.Combine(folder, "backup"),
                        RecoveryCertificate = recovery,
                        Synchronous = false,
                    },
                    CancellationToken.None);
            }

            string[] arguments = ["restore", "--from", Path.Combine(folder, "backup"), "--key", recovery];
            await using var broken = GatewayProcess.Run(into, $"{run.Kind}:restore.mark", arguments);
            await broken.FaultAsync();
            (await broken.EndAsync()).ShouldBe(run.Kills ? 137 : 69, broken.Said);
            PrivateCluster.Exists(into.DataFolder).ShouldBeFalse();
            await using var again = GatewayProcess.Run(into, null, arguments);
            (await again.EndAsync()).ShouldBe(0, again.Said);
            await using var restored = await TestGateway.OpenAsync(
                into, TimeProvider.System, NullLoggerFactory.Instance, CancellationToken.None);
            (await restored.Restoration.ReportAsync(CancellationToken.None)).ShouldNotBeNull().Proven.ShouldBeFalse();
        }
        finally
        {
            PrivateCluster.DeleteFiles(lost.DataFolder);
            PrivateCluster.DeleteFiles(into.DataFolder);
        }
    }

    private static async Task RetentionRunsAsync(FaultRun run)
    {
        await ExchangeAsync(run, visitA: true);
        await RetentionIsDoneAsync(run);
    }

    private static Task RetentionIsDoneAsync(FaultRun run) =>
        DueUntilAsync(run.A, async () => await run.A.Probe.Jobs.StateAsync(JobKind.Retention) == "done");

    /// <summary>Retention waits for another destruction, longer than the lease of a job lasts without
    /// renewal.</summary>
    private static async Task LongJobAsync(FaultRun run)
    {
        await run.OpenAsync();
        await using (var other = new NpgsqlConnection(run.A.Owner))
        {
            await other.OpenAsync();
            await AdvisoryLock.Destruction.TakeForConnectionAsync(other, CancellationToken.None);
            await run.VisitAsync(run.A);
        }

        await RetentionIsDoneAsync(run);
    }

    private static async Task RequestJobAsync(FaultRun run)
    {
        await run.OpenAsync();
        await run.CommandAsync(
            run.A,
            async () =>
                await run.A.Probe.Jobs.CountAsync(JobKind.LedgerVerification) == 1
                && await run.A.Probe.Jobs.QueuedCallsAsync() == 1,
            lostAnswer: 69, "ledger", "verify", "--background");
        run.A.Run();
        await TwoGateways.UntilAsync(
            async () => await run.A.Probe.Jobs.StateAsync(JobKind.LedgerVerification) == "done",
            "the job that was asked for");
    }

    private static async Task SignReleasedAsync(FaultRun run)
    {
        await run.OpenAsync();
        var dispatch = await run.SubmitAsync();
        await run.A.Probe.Queue.HoldAsync(WorkKind.SignAndEncrypt);
        await run.CommandAsync(
            run.A,
            () =>
                run.A.Probe.Jobs.IsCalledAsync("SignDispatch"),
            lostAnswer: 69, "queue", "retry");
        run.A.Run();
        run.B.Run();
        await run.DeliveredOnceAsync(dispatch);
    }

    private static async Task ExchangeAsync(FaultRun run, bool visitA)
    {
        await run.OpenAsync();
        var dispatch = await run.SubmitAsync();
        (visitA ? run.B : run.A).Run();
        await run.VisitAsync(visitA ? run.A : run.B);
        await run.DeliveredOnceAsync(dispatch);
    }

    /// <summary>A third gateway serves Bình Minh: each gets a head of its own, once, however often it was
    /// composed.</summary>
    private static async Task ToTwoGatewaysAsync(FaultRun run)
    {
        var folder = Directory.CreateTempSubdirectory("smhead").FullName;
        await using (var elsewhere = new HostilePeer("gateway-c.test", folder, _ => null))
        {
            await run.OpenAsync(d =>
                (d with { Gateways = [.. d.Gateways, elsewhere.Record] }).With(
                    TwoGateways.BinhMinh, a => a.ServedBy(elsewhere.Record.Name)));
            var dispatch = await run.SubmitAsync(TwoGateways.BinhMinh);
            run.B.Run();
            await run.VisitAsync(run.A);
            await run.DeliveredOnceAsync(dispatch);
            (await run.A.Probe.Outgoing.PrefixGatewaysAsync()).ShouldBe(["gateway-b.test", "gateway-c.test"]);
            elsewhere.Messages.ShouldBe(1);
        }

        Directory.Delete(folder, recursive: true);
    }

    /// <summary>B meets the fault with a dispatch, then A with the receipt of another.</summary>
    private static async Task BothReceiveAsync(FaultRun run)
    {
        await run.OpenAsync();
        var first = await run.SubmitAsync();
        run.A.Run();
        await run.VisitAsync(run.B);
        await run.DeliveredOnceAsync(first);
        await run.A.StopAsync();
        var second = await run.SubmitAsync();
        await run.VisitAsync(run.A);
        await run.DeliveredOnceAsync(second);
    }

    private static async Task SubmittingAsync(FaultRun run)
    {
        await run.OpenAsync();
        var document = Path.Combine(run.Pair.Folder, "Công văn.txt");
        await File.WriteAllTextAsync(document, "Nội dung");
        var id = Guid.CreateVersion7();
        string[] arguments =
        [
            "send",
            "--id",
            id.ToString(),
            "--from",
            TwoGateways.Province,
            "--to",
            TwoGateways.AnHoa,
            "--notation",
            "CV/VPTU",
            "--subject",
            "V/v thử",
            document,
        ];
        // Where the answer was lost the program asks the database, and the clerk hears the truth.
        await run.CommandAsync(
            run.A,
            async () =>
                await run.A.Node.Outgoing.FindAsync(id, CancellationToken.None) is not null,
            lostAnswer: 0,
            arguments);
        await using var again = GatewayProcess.Run(run.A.Options, StartupHook.None, arguments);
        (await again.EndAsync()).ShouldBe(0, again.Said);
        (await run.A.Probe.Outgoing.CountAsync()).ShouldBe(1);
        (await run.A.Probe.Outgoing.LastNumberAsync()).ShouldBe(1);
        run.A.Run();
        run.B.Run();
        await run.DeliveredOnceAsync(id);
    }

    private static async Task WithoutTokenAsync(FaultRun run)
    {
        await run.OpenAsync();
        var dispatch = await run.SubmitAsync();
        run.B.Run();
        var elsewhere = Path.Combine(run.Pair.Folder, "không-có.so");
        await run.VisitAsync(
            run.A,
            run.A.Options with
            {
                Tokens =
                [
                    new TokenOptions(
                        $"pkcs11:token=x?module-path={Uri.EscapeDataString(elsewhere)}",
                        run.A.Options.Tokens[0].PinFile, null),
                ],
            });
        await run.DeliveredOnceAsync(dispatch);
    }

    private static async Task ForbiddenAfterAcceptanceAsync(FaultRun run)
    {
        await run.OpenAsync();
        var dispatch = await run.SubmitAsync();
        await run.A.Node.Policy.SetSecrecyAsync(TwoGateways.Province, null, TestActor.VanThu, CancellationToken.None);
        await run.A.Node.Policy.ForbidAsync(null, TwoGateways.AnHoa, "Thử", TestActor.VanThu, CancellationToken.None);
        run.B.Run();
        await run.VisitAsync(run.A);
        await run.A.OutgoingAsync(dispatch, d => d.State == "refused" && d.Recipients.All(r => r.State == "failed"));
        await Outcome.NothingLeftAsync(run.A, run.B);
        (await run.A.Probe.Ledger.EntriesAsync(EntryKind.DispatchRefused)).ShouldBe(1);
        (await run.B.Probe.Incoming.ReceivedAsync()).ShouldBe(0);
    }

    private static async Task OverdueAsync(FaultRun run)
    {
        var dispatch = await EndedAsync(run);
        // As if the receipt had not come, two days ago; and the next look falls due now.
        await run.A.Probe.Outgoing.ForgetReceiptsAsync(TimeSpan.FromDays(2));
        await run.A.Probe.Queue.MakeTimersDueAsync();
        await run.VisitAsync(run.A, again: true);
        await DueUntilAsync(run.A, async () =>
            (await run.A.Node.Outgoing.FindAsync(dispatch, CancellationToken.None))!.Recipients[0].OverdueAt is not null
        );
        await Outcome.NothingLeftAsync(run.A, run.B);
        (await run.A.Probe.Ledger.EntriesAsync(EntryKind.DispatchOverdue)).ShouldBe(1);
    }

    private static async Task SlowDestinationAsync(FaultRun run)
    {
        await using var wire = new FaultyWire(() => run.B.Port) { Hangs = true };
        await run.OpenAsync(d =>
            d with
            {
                Gateways = [.. d.Gateways.Select(g => g.Name == "gateway-b.test" ? g with { Port = wire.Port } : g)],
            });
        var dispatch = await run.SubmitAsync();
        run.B.Run();
        await run.VisitAsync(run.A);
        wire.Hangs = false;
        await run.DeliveredOnceAsync(dispatch);
    }

    private static async Task DestinationStartsLaterAsync(FaultRun run)
    {
        await run.OpenAsync();
        var dispatch = await run.SubmitAsync();
        await run.VisitAsync(run.A);
        run.B.Run();
        await run.DeliveredOnceAsync(dispatch);
    }

    /// <summary>A dispatch that has come to its end, with both gateways stopped again.</summary>
    private static async Task<Guid> EndedAsync(FaultRun run)
    {
        await run.OpenAsync();
        var dispatch = await run.SubmitAsync();
        run.A.Run();
        run.B.Run();
        await run.DeliveredOnceAsync(dispatch);
        await run.A.StopAsync();
        return dispatch;
    }

    private static async Task AgedAsync(FaultRun run)
    {
        var dispatch = await EndedAsync(run);
        await run.A.Probe.Outgoing.AgeAsync(TimeSpan.FromDays(60));
        await run.A.Probe.Queue.MakeTimersDueAsync();
        await run.VisitAsync(run.A, again: true);
        await DueUntilAsync(run.A, async () =>
            (await run.A.Node.Outgoing.FindAsync(dispatch, CancellationToken.None))!.MessageBlob is null);
        await Outcome.NothingLeftAsync(run.A, run.B);
        var (sweeps, withEntry) = await run.A.Probe.Content.SweepsAsync();
        withEntry.ShouldBe(sweeps);
        (await run.A.Probe.Ledger.EntriesAsync(EntryKind.RetentionSwept)).ShouldBe(sweeps);
    }

    private static async Task EraseAsync(FaultRun run)
    {
        var dispatch = await EndedAsync(run);
        await run.CommandAsync(
            run.A, async () => await run.A.Probe.Content.ErasuresAsync() == 1, lostAnswer: 69, "erase",
            "--dispatch", dispatch.ToString(), "--reason", "Thử", "--yes");
        (await run.A.Probe.Ledger.EntriesAsync(EntryKind.DispatchErased)).ShouldBe(1);
        run.A.Run();
    }

    private static async Task RotateStorageKeyAsync(FaultRun run, string point)
    {
        var dispatch = await EndedAsync(run);
        await using (var broken = GatewayProcess.Run(run.A.Options, $"{run.Kind}:{point}", "storage", "rotate"))
        {
            await broken.FaultAsync();
            (await broken.EndAsync()).ShouldBe(run.Kills ? 137 : 69, broken.Said);
        }

        await using var again = GatewayProcess.Run(run.A.Options, StartupHook.None, "storage", "rotate", "--resume");
        (await again.EndAsync()).ShouldBe(0, again.Said);
        (await run.A.Probe.Content.StorageKeysAsync()).ShouldHaveSingleItem();
        await using var node = await TestGateway.OpenAsync(
            run.A.Options, TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance,
            CancellationToken.None);
        (await node.Outgoing.FindAsync(dispatch, CancellationToken.None))!.Manifest.ShouldNotBeNull();
    }

    private static async Task DestinationWasAwayAsync(FaultRun run)
    {
        await run.OpenAsync();
        await run.A.Probe.Queue.BackOffAsync("gateway-b.test", 1, TimeSpan.Zero);
        var dispatch = await run.SubmitAsync();
        run.B.Run();
        await run.VisitAsync(run.A);
        await run.DeliveredOnceAsync(dispatch);
    }

    private static async Task DelayedAsync(FaultRun run)
    {
        var dispatch = await QueuedSinceAsync(run, TimeSpan.FromHours(5));
        await VisitRecurringAsync(run);
        await DueUntilAsync(run.A, async () =>
            (await NoticesAsync(run.A)).SequenceEqual([NoticeAction.Delayed]));
        run.B.Run();
        await run.DeliveredOnceAsync(dispatch);
        (await NoticesAsync(run.A)).ShouldBe([NoticeAction.Delayed]);
    }

    private static async Task GivenUpAsync(FaultRun run)
    {
        var dispatch = await QueuedSinceAsync(run, TimeSpan.FromDays(6));
        // Nobody tries it any more, as behind a destination that is shut.
        await run.A.Probe.Queue.DropAsync(WorkKind.Send);
        await VisitRecurringAsync(run);
        await DueUntilAsync(run.A, async () =>
            (await run.A.Node.Outgoing.FindAsync(dispatch, CancellationToken.None))!.Recipients[0].State == "failed");
        run.B.Run();
        await Outcome.NothingLeftAsync(run.A, run.B);
        (await run.A.Probe.Ledger.EntriesAsync(EntryKind.DispatchFailed)).ShouldBe(1);
        (await NoticesAsync(run.A)).Count(a => a == NoticeAction.Failed).ShouldBe(1);
    }

    /// <summary>A dispatch that has waited so long for a gateway that is not there; A serves no more.</summary>
    private static async Task<Guid> QueuedSinceAsync(FaultRun run, TimeSpan age)
    {
        await run.OpenAsync();
        var dispatch = await run.SubmitAsync();
        run.A.Run();
        await run.A.OutgoingAsync(dispatch, d => d.Recipients[0].State == "queued");
        await run.A.StopAsync();
        await run.A.Probe.Outgoing.QueuedAgoAsync(age);
        return dispatch;
    }

    private static async Task<IEnumerable<string>> NoticesAsync(RunningGateway gateway) =>
        (await gateway.Node.Notices.ListAsync(null, 10, CancellationToken.None)).Select(n => n.Action);

    /// <summary>What recurs falls due now, and again behind the fault.</summary>
    private static async Task VisitRecurringAsync(FaultRun run)
    {
        await run.A.Probe.Queue.MakeTimersDueAsync();
        await run.VisitAsync(run.A, again: true);
    }

    private static async Task StrayWorkAsync(FaultRun run)
    {
        await run.OpenAsync();
        await run.A.Probe.Queue.AddAsync(WorkKind.Validate);
        run.B.Run();
        await run.VisitAsync(run.A);
        await Outcome.NothingLeftAsync(run.A, run.B);
    }

    /// <summary>The lease of a node that is gone is over.</summary>
    private static async Task AbandonedWorkAsync(FaultRun run)
    {
        await run.OpenAsync();
        await run.A.Probe.Queue.AddLeasedAsync(WorkKind.Validate, TimeSpan.Zero);
        run.B.Run();
        await run.VisitAsync(run.A);
        await Outcome.NothingLeftAsync(run.A, run.B);
    }

    /// <summary>B's directory does not list the sender's certificates until the dispatch lies in quarantine.</summary>
    private static async Task RenewedAsync(FaultRun run)
    {
        await run.OpenAsync();
        var full = await TestDirectory.ReadAsync(await run.Pair.PublishAsync(3));
        var without = full.With(TwoGateways.Province, a => a with
        {
            Certificates = [.. a.Certificates.Where(c => c.Use == "encrypt")],
        });
        await run.B.Node.Directory.ImportAsync(
            await TestDirectory.SignAsync(without with { Version = 2 }), CancellationToken.None);
        run.A.Run();
        var dispatch = await run.SubmitAsync();
        var visit = run.VisitAsync(run.B);
        await run.B.IncomingAsync(m => m.Disposition == Disposition.Quarantine);
        await run.B.Node.Directory.ImportAsync(await TestDirectory.SignAsync(full), CancellationToken.None);
        await visit;
        await run.DeliveredOnceAsync(dispatch, validations: 2);
    }

    private static async Task PoisonMailAsync(FaultRun run)
    {
        await run.OpenAsync();
        await run.B.Probe.Content.SpoilAsync();
        await run.B.Probe.Queue.BeginAfterFailuresAsync(4);
        run.A.Run();
        await run.SubmitAsync();
        await run.VisitAsync(run.B);
        var message = await run.B.IncomingAsync(m => m.State == "recorded");
        (message.Disposition, message.Reason).ShouldBe(("quarantine", "VALIDATION_FAILED"));
        (await run.B.Probe.Ledger.AlarmsAsync(about: message.Id)).ShouldHaveSingleItem();
        (await run.B.Probe.Queue.CountAsync()).ShouldBe(0);
    }

    private static async Task PoisonDispatchAsync(FaultRun run)
    {
        await run.OpenAsync();
        await run.A.Probe.Content.SpoilAsync();
        await run.A.Probe.Queue.BeginAfterFailuresAsync(9);
        var dispatch = await run.SubmitAsync();
        await run.VisitAsync(run.A);
        await TwoGateways.UntilAsync(
            async () => await run.A.Probe.Queue.CountAsync(state: WorkState.Dead) == 1, "dead work");
        (await run.A.Probe.Ledger.AlarmsAsync(about: dispatch)).ShouldHaveSingleItem();
    }

    private static async Task HeldWorkAsync(FaultRun run, string? state, string verb, bool all = false)
    {
        await run.OpenAsync();
        var id = await run.A.Probe.Queue.AddAsync(WorkKind.Validate, WorkState.Held);
        string[] arguments = all ? ["queue", verb] : ["queue", verb, id.ToString()];
        await run.CommandAsync(
            run.A,
            async () => await run.A.Probe.Queue.StateAsync(id) == state,
            lostAnswer: 69,
            arguments);
    }

    private static async Task ImportAsync(FaultRun run)
    {
        await run.OpenAsync();
        await run.Pair.PublishAsync(2);
        await run.CommandAsync(
            run.A, async () => await run.A.Probe.DirectoryVersionAsync() == 2,
            lostAnswer: 69, "directory", "import", Path.Combine(run.Pair.Folder, "directory-2.p7m"));
    }

    /// <summary>B names another directory under the number that A has.</summary>
    private static async Task CompareAsync(FaultRun run)
    {
        await run.OpenAsync();
        foreach (var gateway in new[] { run.A, run.B })
        {
            await gateway.Node.Directory.ImportAsync(await run.Pair.PublishAsync(2), CancellationToken.None);
        }

        var dispatch = await run.SubmitAsync();
        run.B.Run();
        await run.VisitAsync(run.A);
        await run.DeliveredOnceAsync(dispatch);
        (await run.A.Probe.Ledger.AlarmsAsync()).ShouldHaveSingleItem().ShouldStartWith(
            "directory-conflict gateway-b.test directory 2: ");
    }

    private static async Task PolicyAsync(FaultRun run, params string[] arguments)
    {
        await run.OpenAsync();
        var entries = await run.A.Probe.Ledger.EntriesAsync();
        await run.CommandAsync(
            run.A, async () => (await RulesAsync(run.A)).Count == 1, lostAnswer: 69, ["policy", .. arguments]);
        (await run.A.Probe.Ledger.EntriesAsync()).ShouldBe(entries + 1);
    }

    private static Task<IReadOnlyList<PolicyLine>> RulesAsync(RunningGateway gateway) =>
        gateway.Node.Policy.ListAsync(CancellationToken.None);

    private static async Task PermitAsync(FaultRun run)
    {
        await run.OpenAsync();
        var rule = await run.A.Node.Policy.ForbidAsync(
            null, TwoGateways.AnHoa, "Thử", TestActor.VanThu, CancellationToken.None);
        await run.CommandAsync(
            run.A, async () => (await RulesAsync(run.A)).Count == 0, lostAnswer: 69,
            "policy", "permit", rule.ToString());
    }

    private static async Task RegisterAsync(FaultRun run)
    {
        await run.OpenAsync();
        var dispatch = await run.SubmitAsync();
        run.A.Run();
        run.B.Run();
        await run.DeliveredOnceAsync(dispatch);
        var message = await run.B.IncomingAsync(m => m.DispatchId == dispatch);
        await run.CommandAsync(
            run.B,
            async () =>
                (await run.B.Node.Incoming.FindAsync(message.Id, CancellationToken.None))!.ArrivalNumber == 1,
            lostAnswer: 69, "inbox", "register", message.Id.ToString());
        await run.A.OutgoingAsync(dispatch, d => d.Recipients[0].ArrivalNumber == 1);
        await Outcome.NothingLeftAsync(run.A, run.B);
    }

    private static async Task CancelNumberAsync(FaultRun run)
    {
        await run.OpenAsync();
        await run.A.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.AnHoa) with { Number = "02-CV/VPTU" }, CancellationToken.None);
        await run.CommandAsync(
            run.A,
            async () => (await run.A.Node.Numbers.GapsAsync(TwoGateways.Province, CancellationToken.None)).Count == 0,
            lostAnswer: 69, "registers", "cancel", "01-CV/VPTU", "--agency", TwoGateways.Province, "--reason", "Thử");
    }

    private static async Task SetNumberingAsync(FaultRun run)
    {
        await run.OpenAsync();
        await run.CommandAsync(
            run.A, async () => await run.A.Probe.Ledger.EntriesAsync(EntryKind.NumberingSet) == 1, lostAnswer: 69,
            "registers", "numbering", "TU", "--agency", TwoGateways.Province, "--term", "2025-10-16");
    }

    private static async Task MigrateAsync(FaultRun run)
    {
        await run.OpenAsync();
        var options = run.A.Options with { OwnerConnection = await run.Postgres.CreateDatabaseAsync() };
        options = options with { DatabaseConnection = PostgresFixture.AsGateway(options.OwnerConnection!) };
        await using (var broken = GatewayProcess.Run(options, $"{run.Kind}:schema.migrate#2", "migrate"))
        {
            await broken.FaultAsync();
            (await broken.EndAsync()).ShouldBe(run.Kills ? 137 : 69, broken.Said);
        }

        await using var again = GatewayProcess.Run(options, null, "migrate");
        (await again.EndAsync()).ShouldBe(0, again.Said);
        await using var database = await GatewayDatabase.OpenAsync(
            options.Database, HostSchema.Migrator, CancellationToken.None);
        (await new GatewayProbe(options.OwnerConnection!).MigrationsAsync()).ShouldBe(
            HostSchema.Migrator.Known.Select(m => m.Name).Order(StringComparer.Ordinal));
    }

    private static async Task WrongClockAsync(FaultRun run)
    {
        await run.OpenAsync();
        var dispatch = await run.SubmitAsync();
        run.B.Run();
        // A process whose clock is ten minutes ahead of its database's; the next one's is right.
        await run.VisitAsync(run.A, environment: FakeTime.Environment("+600s"));
        await run.DeliveredOnceAsync(dispatch);
        await TwoGateways.UntilAsync(
            async () => await run.A.Probe.Clock.OpenAnomaliesAsync() == 0,
            "the anomaly to be over");
        (await run.A.Probe.Ledger.EntriesAsync(EntryKind.ClockApart)).ShouldBeInRange(
            run.Persists ? 1 : 0, run.Kills && !run.Persists ? 0 : 1);
    }

    private static async Task ClockSetRightAsync(FaultRun run)
    {
        await run.OpenAsync();
        await run.A.Probe.Clock.BeginAnomalyAsync();
        var dispatch = await run.SubmitAsync();
        run.B.Run();
        await run.VisitAsync(run.A);
        await run.DeliveredOnceAsync(dispatch);
        await TwoGateways.UntilAsync(
            async () => await run.A.Probe.Ledger.EntriesAsync(EntryKind.ClockSettled) == 1,
            "the anomaly to be over");
    }

    private static async Task DatabaseClockStepsAsync(FaultRun run)
    {
        await using var server = await FakeTime.StartServerAsync();
        await using var own = new FaultRun(server.Postgres, run.Kind, "clock.database-stepped");
        await own.OpenAsync();
        var visit = own.VisitAsync(own.A);
        await TwoGateways.UntilAsync(
            async () => await own.A.Probe.Jobs.ServersAsync() == 1,
            "the process to serve");
        server.Step(TimeSpan.FromHours(1));
        await visit;
        server.Step(TimeSpan.Zero);
        own.B.Run();
        var dispatch = await own.SubmitAsync();
        await own.DeliveredOnceAsync(dispatch);
        (await own.A.Probe.Clock.StepsAsync()).ShouldBeInRange(own.Persists ? 1 : 0, 2);
        await own.EveryWriteWasNamedAsync();
    }
}
