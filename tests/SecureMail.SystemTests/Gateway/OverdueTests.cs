using Microsoft.Extensions.Logging.Abstractions;
using SecureMail.Exchange;
using SecureMail.Gateway;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Registers;

namespace SecureMail.SystemTests.Gateway;

/// <summary>Receipts that do not come, and destinations that are not there.</summary>
public sealed class OverdueTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task A_receipt_that_does_not_come_in_time_is_noted_once_and_still_counts_when_it_comes()
    {
        // B's token is not there yet: the dispatch arrives and nobody can open it.
        await using var pair = await TwoGateways.StartAsync(postgres, changeB: b => b with { Tokens = [b.Tokens[1]] });
        var overdue = new Overdue(
            pair.A.Node.Database, new DeliveryOptions { ReceiptDue = TimeSpan.FromHours(1) }, TimeProvider.System,
            NullLogger<Overdue>.Instance);
        var answer = await pair.A.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.AnHoa, TwoGateways.BinhMinh), CancellationToken.None);
        await pair.A.OutgoingAsync(answer.DispatchId, d =>
            d.Recipients.Single(r => r.Code == TwoGateways.AnHoa).State == "sent"
            && d.Recipients.Single(r => r.Code == TwoGateways.BinhMinh).State == "acknowledged");
        (await overdue.MarkAsync(CancellationToken.None)).ShouldBe(0);
        await pair.A.Probe.Outgoing.SentAgoAsync(TimeSpan.FromHours(2));
        var marked = await Task.WhenAll(
            overdue.MarkAsync(CancellationToken.None), overdue.MarkAsync(CancellationToken.None));
        marked.Sum().ShouldBe(1);
        (await overdue.MarkAsync(CancellationToken.None)).ShouldBe(0);
        var late = await pair.A.OutgoingAsync(answer.DispatchId, _ => true);
        late.Recipients.Single(r => r.Code == TwoGateways.AnHoa).OverdueAt.ShouldNotBeNull();
        late.Recipients.Single(r => r.Code == TwoGateways.BinhMinh).OverdueAt.ShouldBeNull();
        (await pair.A.Node.Ledger.AuditTrailAsync(answer.DispatchId, CancellationToken.None))
            .Count(l => l.Kind == "dispatch.overdue")
            .ShouldBe(1);
    }

    [Fact]
    public async Task A_dead_destination_is_given_up_in_the_end_and_delays_no_other()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, changeDirectory: d =>
            (d with { Gateways = [.. d.Gateways, Dead()] }).With(
                TwoGateways.BinhMinh, a => a.ServedBy("gateway-dead.test")));
        var answer = await pair.A.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.AnHoa, TwoGateways.BinhMinh), CancellationToken.None);
        var dead = (
            await pair.A.OutgoingAsync(answer.DispatchId, d => Of(d, TwoGateways.AnHoa).State == "acknowledged")
        ).Recipients.Single(r => r.Code == TwoGateways.BinhMinh);
        dead.State.ShouldBe("queued");
        var work = await TwoGateways.EventuallyAsync(
            async () =>
                (await pair.A.Node.Queue.ListAsync(CancellationToken.None)).FirstOrDefault(w =>
                    w.Subject == dead.Transmission && w.LastError is not null),
            "a failed attempt");
        work.State.ShouldBe("ready");

        await pair.A.Probe.Outgoing.QueuedAgoAsync(TimeSpan.FromDays(6));
        await TwoGateways.UntilAsync(
            async () => await pair.A.Node.Waiting.RetryAsync(work.Id, TestActor.VanThu, CancellationToken.None),
            "a retry");
        var given = await pair.A.OutgoingAsync(answer.DispatchId, d => Of(d, TwoGateways.BinhMinh).State == "failed");
        Of(given, TwoGateways.BinhMinh).Reason.ShouldBe("GIVEN_UP");
        (await pair.A.Node.Ledger.AuditTrailAsync(answer.DispatchId, CancellationToken.None))
            .Count(l => l.Kind == "dispatch.failed")
            .ShouldBe(1);
        (await pair.A.Probe.Queue.CountAsync()).ShouldBe(0);
    }

    private static OutgoingRecipient Of(OutgoingDispatch dispatch, string code) =>
        dispatch.Recipients.Single(r => r.Code == code);

    /// <summary>A gateway at a port where nobody listens.</summary>
    private static SecureMail.Exchange.GatewayRecord Dead()
    {
        var folder = Directory.CreateTempSubdirectory("smdead").FullName;
        try
        {
            return new GatewaySetup { Name = "gateway-dead.test", DataFolder = folder }.CreateIdentity("127.0.0.1", 1);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
