using SecureMail.Exchange;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;

namespace SecureMail.SystemTests.Gateway;

/// <summary>Mail that is authentic and still not for the inbox: returned or kept aside, and its sender is told
/// why.</summary>
public sealed class ScreeningTests(SharedPair shared) : IClassFixture<SharedPair>
{
    [Fact]
    public async Task A_dispatch_for_another_agency_is_returned_and_its_sender_sees_it_refused()
    {
        var dispatch = new TestDispatch(shared.Pair)
        {
            Recipients = [TwoGateways.AnHoa],
            EncryptTo = [TwoGateways.AnHoa, TwoGateways.BinhMinh],
        };
        var message = await shared.DeliverAsync(
            await dispatch.MakeSentAsync(TwoGateways.BinhMinh), SharedPair.BinhMinhAddress);
        (message.Verdict, message.Disposition, message.Reason, message.ArrivalNumber).ShouldBe(
            ("valid", "returned", "NOT_ADDRESSED_TO_US", null));
        await RefusedAsync(dispatch.Id, "RelayRejection", "NOT_ADDRESSED_TO_US");
        (
            await shared.Pair.B.Node.Incoming.ListAsync(TwoGateways.BinhMinh, "inbox", 10, CancellationToken.None)
        ).ShouldBeEmpty();
    }

    [Fact]
    public async Task What_we_have_no_key_for_waits_and_is_then_quarantined()
    {
        var octets = await new TestDispatch(shared.Pair)
        {
            Recipients = [TwoGateways.AnHoa, TwoGateways.BinhMinh],
            EncryptTo = [TwoGateways.AnHoa],
        }.MakeAsync();
        (await shared.Pair.InjectAsync(octets, SharedPair.BinhMinhAddress)).Outcome.ShouldBe(
            SecureMail.Mail.Smtp.Client.SmtpOutcome.Delivered);
        var id = (await shared.Pair.B.Probe.Incoming.OfAsync(octets)).ShouldHaveSingleItem();
        await TwoGateways.EventuallyAsync(
            async () => await shared.Pair.B.Probe.Queue.LastErrorAsync(WorkKind.Validate, id),
            "that it waits");
        (await shared.Pair.B.Node.Incoming.FindAsync(id, CancellationToken.None))!.State.ShouldBe("received");
        var message = await TwoGateways.EventuallyAsync(
            async () =>
                await shared.Pair.B.Node.Incoming.FindAsync(id, CancellationToken.None) is { State: "recorded" } m
                    ? m
                    : null,
            "that it is recorded");
        (message.Verdict, message.Disposition, message.Reason).ShouldBe(
            ("indeterminate", "quarantine", "INDETERMINATE"));
    }

    [Fact]
    public async Task A_mark_of_secrecy_is_returned()
    {
        var dispatch = new TestDispatch(shared.Pair) { Secrecy = "MẬT" };
        var message = await shared.DeliverAsync(await dispatch.MakeSentAsync(TwoGateways.AnHoa));
        (message.Disposition, message.Reason).ShouldBe(("returned", "SECRECY_REFUSED"));
        await RefusedAsync(dispatch.Id, "RelayRejection", "SECRECY_REFUSED");
    }

    [Theory]
    [InlineData("one byte", "Công văn.txt=Nội dunh|Phụ lục.txt=Bảng")]
    [InlineData("one missing", "Công văn.txt=Nội dung")]
    [InlineData("one too many", "Công văn.txt=Nội dung|Phụ lục.txt=Bảng|Thêm.txt=Thêm")]
    [InlineData("renamed", "Công văn.txt=Nội dung|Phụ luc.txt=Bảng")]
    [InlineData("in another order", "Phụ lục.txt=Bảng|Công văn.txt=Nội dung")]
    public async Task Documents_that_differ_from_the_manifest_are_kept_aside_and_their_sender_is_told(
        string what, string enclosed)
    {
        var dispatch = new TestDispatch(shared.Pair)
        {
            Enclosed = [.. enclosed.Split('|').Select(d => (d.Split('=')[0], d.Split('=')[1]))],
        };
        var message = await shared.DeliverAsync(await dispatch.MakeSentAsync(TwoGateways.AnHoa));
        (message.Disposition, message.Reason, message.ArrivalNumber).ShouldBe(
            ("quarantine", "DOCUMENTS_DIFFER", null), what);
        await RefusedAsync(dispatch.Id, "ContentConsignmentFailure", "DOCUMENTS_DIFFER", "held");
    }

    private async Task RefusedAsync(Guid dispatch, string @event, string reason, string state = "refused")
    {
        var recipient = (
            await shared.Pair.A.OutgoingAsync(dispatch, d => d.Recipients.All(r => r.State == state))
        ).Recipients.ShouldHaveSingleItem();
        (recipient.ReceiptEvent, recipient.Reason).ShouldBe((@event, reason));
    }
}
