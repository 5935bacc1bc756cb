using SecureMail.Exchange;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Host;
using SecureMail.Ledger;

namespace SecureMail.SystemTests.Gateway;

/// <summary>Tiếp nhận: what comes in waits for văn thư, who draws its arrival number; the sender hears of
/// both.</summary>
public sealed class RegistrationTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task A_dispatch_waits_for_a_person_and_its_sender_hears_that_it_arrived_and_then_its_number()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var stop = CancellationToken.None;
        var dispatch = (await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), stop)).DispatchId;
        var arrived = (
            await pair.A.OutgoingAsync(dispatch, d => d.Recipients[0].State == "acknowledged")).Recipients[0];
        (arrived.Answer, arrived.ArrivalNumber).ShouldBe((ReceiptState.Arrived, null));
        var message = await pair.B.IncomingAsync(m => m.DispatchId == dispatch);
        message.ArrivalNumber.ShouldBeNull();

        (await pair.B.Node.Registration.RegisterAsync(message.Id, TestActor.VanThu, stop)).ShouldBe(1);
        var registered = (
            await pair.A.OutgoingAsync(dispatch, d => d.Recipients[0].Answer == ReceiptState.Registered)
        ).Recipients[0];
        (registered.State, registered.ArrivalNumber, registered.ClosedAt).ShouldBe(
            ("acknowledged", 1, registered.ClosedAt));
        (await pair.B.Node.Incoming.FindAsync(message.Id, stop))!.ArrivalNumber.ShouldBe(1);

        // Once more changes nothing.
        var entries = await pair.B.Probe.Ledger.EntriesAsync();
        (await pair.B.Node.Registration.RegisterAsync(message.Id, TestActor.VanThu, stop)).ShouldBe(1);
        (await pair.B.Probe.Ledger.EntriesAsync()).ShouldBe(entries);
        await pair.B.Probe.WaitUntilQuietAsync();

        (await pair.B.Node.Ledger.AuditTrailAsync(dispatch, stop))
            .Where(e => e.Object == message.Id.ToString())
            .Select(e => (e.Kind, e.Actor))
            .ShouldBe(
            [
                (EntryKind.MessageReceived, null), (EntryKind.MessageValidated, null),
                (EntryKind.MessageRegistered, TestActor.VanThu.Actor), (EntryKind.ReceiptStated, null),
            ]);
        (await pair.A.Node.Ledger.AuditTrailAsync(dispatch, stop))
            .Select(e => e.Kind)
            .ShouldBe(
                [
                    EntryKind.DispatchAccepted, EntryKind.DispatchSigned, EntryKind.DispatchSent,
                    EntryKind.ReceiptMatched, EntryKind.DispatchAcknowledged, EntryKind.ReceiptMatched,
                    EntryKind.DispatchRegistered, EntryKind.MessageReceived, EntryKind.MessageReceived,
                ],
                ignoreOrder: true);
    }

    [Fact]
    public async Task Numbers_are_drawn_in_the_order_of_registration_per_agency_and_without_gaps()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var stop = CancellationToken.None;
        List<Guid> dispatches = [];
        for (var n = 0; n < 3; n++)
        {
            dispatches.Add(
                (
                    await pair.A.Node.SubmitAsync(
                        TwoGateways.Submission(TwoGateways.AnHoa, TwoGateways.BinhMinh), stop)).DispatchId);
        }

        foreach (var dispatch in dispatches)
        {
            await pair.A.OutgoingAsync(dispatch, d => d.Recipients.All(r => r.State == "acknowledged"));
        }

        foreach (var code in new[] { TwoGateways.AnHoa, TwoGateways.BinhMinh })
        {
            var waiting = await pair.B.Node.Incoming.ListAsync(code, Disposition.Inbox, 10, stop);
            List<int> drawn = [];
            foreach (var message in waiting.OrderBy(m => dispatches.IndexOf(m.DispatchId!.Value) % 2))
            {
                drawn.Add(await pair.B.Node.Registration.RegisterAsync(message.Id, TestActor.VanThu, stop));
            }

            drawn.ShouldBe([1, 2, 3]);
        }

        (await pair.B.Probe.Incoming.ArrivalGapsAsync()).ShouldBeEmpty();
    }

    [Fact]
    public async Task Only_what_lies_in_the_inbox_with_its_content_is_taken_in()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var stop = CancellationToken.None;
        var dispatch = (await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), stop)).DispatchId;
        await pair.A.OutgoingAsync(dispatch, d => d.Recipients[0].State == "acknowledged");
        var message = await pair.B.IncomingAsync(m => m.DispatchId == dispatch);
        await pair.B.Probe.WaitUntilQuietAsync();
        await pair.A.Probe.WaitUntilQuietAsync();
        var receipt = (await pair.A.Probe.Incoming.IdsAsync(dispatch, Disposition.Matched)).ShouldHaveSingleItem();

        (await RefusedAsync(pair.A, receipt)).ShouldBe("REGISTER_NOT_IN_INBOX");
        (await RefusedAsync(pair.B, Guid.NewGuid())).ShouldBe("REGISTER_UNKNOWN");
        await pair.B.Node.Erasure.EraseIncomingAsync(message.Id, "Thu hồi", "vanthu", TestActor.VanThu, stop);
        (await RefusedAsync(pair.B, message.Id)).ShouldBe("REGISTER_NOT_IN_INBOX");
        (await pair.B.Probe.Ledger.EntriesAsync(EntryKind.MessageRegistered)).ShouldBe(0);

        static async Task<string> RefusedAsync(RunningGateway gateway, Guid id) =>
            (
                await Should.ThrowAsync<RegistrationRefusedException>(() =>
                    gateway.Node.Registration.RegisterAsync(id, TestActor.VanThu, CancellationToken.None))).Code;
    }

    [Fact]
    public async Task A_clerk_takes_a_dispatch_in_on_the_command_line()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var dispatch = (
            await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
        ).DispatchId;
        var message = await pair.B.IncomingAsync(m => m.DispatchId == dispatch && m.Disposition == Disposition.Inbox);
        await using (var register = GatewayProcess.Run(
            pair.B.Options, null, "inbox", "register", message.Id.ToString()))
        {
            (await register.EndAsync()).ShouldBe(ExitCode.Done, register.Said);
            register.Said.ShouldBe("1\n");
        }

        await using var none = GatewayProcess.Run(
            pair.B.Options, null, "inbox", "register", Guid.NewGuid().ToString());
        (await none.EndAsync()).ShouldBe(ExitCode.NotPermitted, none.Said);
        await pair.A.OutgoingAsync(dispatch, d => d.Recipients[0].ArrivalNumber == 1);
    }
}
