using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Host.Schema;
using SecureMail.Ledger;
using SecureMail.TestKit.Probes;

namespace SecureMail.SystemTests.Gateway;

/// <summary>Entries of the ledger name who acted.</summary>
public sealed class ActorTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task Every_act_of_a_person_is_an_entry_of_that_person_and_the_gateways_own_have_no_actor()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var (node, stop) = (pair.A.Node, CancellationToken.None);
        var by = TestActor.VanThu with { Grant = "approval:1" };

        var rule = await node.Policy.ForbidAsync(null, TwoGateways.BinhMinh, "Gửi qua huyện", by, stop);
        (await node.Policy.PermitAsync(rule, by, stop)).ShouldBeTrue();
        await node.Policy.SetSecrecyAsync(TwoGateways.Province, "MẬT", by, stop);
        await node.Policy.SetSecrecyAsync(TwoGateways.Province, null, by, stop);
        await node.Directory.ImportAsync(await pair.PublishAsync(2), stop, by);
        var job = await node.Jobs.RequestAsync(JobKind.LedgerVerification, by, stop);
        var rotation = await node.Jobs.RotateAsync(makeKey: true, by, stop);
        var dispatch = (
            await node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa) with { By = by }, stop)).DispatchId;
        await pair.A.OutgoingAsync(dispatch, d => d.Recipients.All(r => r.State == "acknowledged"));
        await pair.A.Probe.WaitUntilQuietAsync();
        await node.Erasure.EraseOutgoingAsync(dispatch, "Thu hồi", "vanthu", by, stop);

        var entries = await node.Ledger.ListAsync(1000, stop);
        entries
            .Where(e => e.Actor is not null)
            .Select(e => (e.Kind, e.Actor, e.Grant))
            .ShouldBe(
                new[]
                {
                    EntryKind.PolicyRouteForbidden, EntryKind.PolicyRoutePermitted, EntryKind.PolicySecrecyPermitted,
                    EntryKind.PolicySecrecyRefused, EntryKind.DirectoryImported, EntryKind.JobRequested,
                    EntryKind.StorageRotationBegun, EntryKind.DispatchAccepted, EntryKind.DispatchErased,
                }.Select(kind => (kind, (Guid?)by.Actor, (string?)by.Grant)),
                ignoreOrder: true);
        entries.Single(e => e.Kind == EntryKind.JobRequested).Object.ShouldBe($"{JobKind.LedgerVerification}/{job}");
        entries.Single(e => e.Kind == EntryKind.StorageRotationBegun).Object.ShouldBe(rotation.Key);
        // What leaves with mail is the gateway's own.
        entries.Single(e => e.Kind == EntryKind.DispatchSigned).Actor.ShouldBeNull();
        (await pair.B.Node.Ledger.ListAsync(1000, stop)).ShouldAllBe(e => e.Actor == null && e.Grant == null);
    }

    [Fact]
    public async Task Work_that_a_person_asks_for_again_releases_or_drops_is_an_entry_about_what_it_is_about()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var (node, stop) = (pair.A.Node, CancellationToken.None);
        var submission = TwoGateways.Submission(TwoGateways.AnHoa);
        var first = (await node.SubmitAsync(submission, stop)).DispatchId;
        var second = (await node.SubmitAsync(submission, stop)).DispatchId;
        var work = (await node.Queue.ListAsync(stop)).ToDictionary(w => w.Subject, w => w.Id);

        (await node.Waiting.RetryAsync(work[first], TestActor.VanThu, stop)).ShouldBeTrue();
        (await node.Waiting.DropAsync(work[second], TestActor.VanThu, stop)).ShouldBeTrue();
        // An act on what is not there is no act.
        (await node.Waiting.RetryAsync(work[second], TestActor.VanThu, stop)).ShouldBeFalse();
        (await node.Waiting.DropAsync(-1, TestActor.VanThu, stop)).ShouldBeFalse();
        (await node.Waiting.ReleaseHeldAsync(TestActor.VanThu, stop)).ShouldBe(0);
        await pair.A.Probe.Queue.HoldAsync(WorkKind.SignAndEncrypt);
        (await node.Waiting.ReleaseHeldAsync(TestActor.VanThu, stop)).ShouldBe(1);

        (await node.Ledger.ListAsync(1000, stop))
            .Where(e => e.Actor == TestActor.VanThu.Actor)
            .Select(e => (e.Kind, e.Object))
            .ShouldBe(
            [
                (EntryKind.WorkReleased, "work"), (EntryKind.WorkDropped, second.ToString()),
                (EntryKind.WorkRetried, first.ToString()),
            ]);
    }

    [Fact]
    public async Task The_operator_of_a_gateway_is_one_random_id_that_the_migration_made()
    {
        List<Guid> made = [];
        for (var n = 0; n < 2; n++)
        {
            var owner = await postgres.CreateDatabaseAsync();
            await HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None);
            made.Add(await new GatewayProbe(owner).OperatorAsync());
        }

        made.ShouldAllBe(id => id.Version == 4);
        made[0].ShouldNotBe(made[1]);
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        (await new OperatorAccount(pair.A.Node.Database).AuthorityAsync(CancellationToken.None)).ShouldBe(
            new Authority(await pair.A.Probe.OperatorAsync()));
    }
}
