using System.Security.Cryptography;
using SecureMail.Exchange;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Mail.Smtp.Client;

namespace SecureMail.SystemTests.Gateway;

/// <summary>The same thing again, and things that only look the same.</summary>
public sealed class ReplayTests(SharedPair shared) : IClassFixture<SharedPair>
{
    private const string ThanhBinh = "H91.TB.001";

    private TwoGateways Pair => shared.Pair;

    [Fact]
    public async Task A_replayed_mail_is_delivered_once_and_acknowledged_again()
    {
        var answer = await Pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        await Pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients.All(r => r.State == "acknowledged"));
        var first = await Pair.B.IncomingAsync(m => m.DispatchId == answer.DispatchId);
        using var octets = new MemoryStream();
        await using (var received = await Pair.B.Node.Incoming.OpenReceivedAsync(first.Id, CancellationToken.None))
        {
            await received.CopyToAsync(octets);
        }

        var receipts = await ReceiptsAsync(answer.DispatchId);
        for (var n = 0; n < 5; n++)
        {
            var again = await shared.DeliverAsync(octets.ToArray());
            (again.Disposition, again.Reason, again.Verdict, again.ArrivalNumber).ShouldBe(
                ("duplicate", "DUPLICATE", "valid", null));
        }

        (await PlacesAsync(answer.DispatchId)).ShouldBe([
            "duplicate",
            "duplicate",
            "duplicate",
            "duplicate",
            "duplicate",
            "inbox",
        ]);
        await TwoGateways.UntilAsync(
            async () => await ReceiptsAsync(answer.DispatchId) > receipts, "the receipt again");
        (await Pair.A.OutgoingAsync(answer.DispatchId, _ => true))
            .Recipients.ShouldHaveSingleItem()
            .State.ShouldBe("acknowledged");
    }

    [Fact]
    public async Task Two_connections_that_bring_it_at_once_deliver_it_once()
    {
        var dispatch = new TestDispatch(Pair);
        var octets = await dispatch.MakeAsync();
        var both = await Task.WhenAll(
            Pair.InjectAsync(octets, SharedPair.AnHoaAddress), Pair.InjectAsync(octets, SharedPair.AnHoaAddress));
        both.ShouldAllBe(r => r.Outcome == SmtpOutcome.Delivered);
        var places = await TwoGateways.EventuallyAsync(
            async () => await PlacesAsync(dispatch.Id) is { Count: 2 } p ? p : null, "two rows");
        places.ShouldBe(["duplicate", "inbox"]);
    }

    [Fact]
    public async Task The_same_id_with_another_content_is_an_alarm_and_the_first_stays()
    {
        var dispatch = new TestDispatch(Pair);
        var first = await shared.DeliverAsync(await dispatch.MakeAsync());
        first.Disposition.ShouldBe("inbox");
        var conflict = await shared.DeliverAsync(
            await (dispatch with { Documents = [("Công văn.txt", "Nội dung khác")] }).MakeAsync());
        (conflict.Disposition, conflict.Reason, conflict.ArrivalNumber).ShouldBe(
            ("quarantine", "CONTENT_CONFLICT", null));
        (await Pair.B.Node.Ledger.AlarmsAsync(CancellationToken.None)).ShouldContain(a =>
            a.Kind == "content-conflict" && a.Detail.Contains(dispatch.Id.ToString(), StringComparison.Ordinal));

        var now = (await Pair.B.Node.Incoming.FindAsync(first.Id, CancellationToken.None))!;
        (now.Disposition, now.Manifest!.Documents.Count).ShouldBe(("inbox", 2));
        await using var document = await Pair.B.Node.Incoming.OpenDocumentAsync(first.Id, 1, CancellationToken.None);
        (await SHA256.HashDataAsync(document)).ShouldBe(now.Manifest.Documents[0].Sha256);
    }

    [Fact]
    public async Task The_same_id_from_another_sender_is_another_dispatch()
    {
        var dispatch = new TestDispatch(Pair);
        var first = await shared.DeliverAsync(await dispatch.MakeAsync());
        var second = await shared.DeliverAsync(await (dispatch with { Sender = ThanhBinh }).MakeAsync());
        (first.Disposition, second.Disposition).ShouldBe(("inbox", "inbox"));
        second.SenderName.ShouldBe("Văn phòng Tỉnh ủy Thanh Bình");
        // Each sender has its own receipt: both were sent, under one dispatch id.
        await TwoGateways.UntilAsync(
            async () =>
                await Pair.B.Probe.Outgoing.TransmissionsAsync(
                    [TransmissionState.Sent], TransmissionKind.Receipt, dispatch.Id) == 2,
            "two receipts");
    }

    private Task<long> ReceiptsAsync(Guid dispatch) =>
        Pair.A.Probe.Incoming.CountAsync(disposition: Disposition.Matched, dispatch: dispatch);

    private async Task<List<string>> PlacesAsync(Guid dispatch) =>
    [
        .. (await Pair.B.Probe.Incoming.DispositionsAsync(dispatch))
            .Where(d => d.Key.Length > 0)
            .SelectMany(d => Enumerable.Repeat(d.Key, (int)d.Value))
            .Order(StringComparer.Ordinal),
    ];
}
