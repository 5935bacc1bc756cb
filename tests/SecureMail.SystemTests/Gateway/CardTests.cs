using Npgsql;
using SecureMail.Storage;

namespace SecureMail.SystemTests.Gateway;

/// <summary>Cards: what the registers list lies encrypted in the rows.</summary>
public sealed class CardTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    private const string Subject = "V/v triệu tập hội nghị";

    [Fact]
    public async Task A_list_opens_no_blob_a_card_opens_in_its_own_row_only_and_goes_with_the_content()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var first = await SendAsync(pair);
        var second = await SendAsync(pair);
        await pair.A.StopAsync();
        await pair.B.StopAsync();

        // Not even the length tells a subject: all cards of short subjects are alike.
        (await pair.A.Probe.Outgoing.CardLengthsAsync()).Distinct().ShouldHaveSingleItem();
        (await pair.A.Probe.Outgoing.CardsHoldingAsync("triệu tập")).ShouldBe(0);

        foreach (var gateway in new[] { pair.A, pair.B })
        {
            await gateway.Probe.Content.LoseChunksAsync();
        }

        (await pair.A.Node.Outgoing.ListAsync(10, CancellationToken.None))
            .Select(d => (d.Id, d.Card.Subject, d.Card.Number, d.Manifest))
            .ShouldBe([(second, Subject, "02-CV/VPTU", null), (first, Subject, "01-CV/VPTU", null)]);
        var listed = (
            await pair.B.Node.Incoming.ListAsync(TwoGateways.AnHoa, "inbox", 10, CancellationToken.None)
        ).Single(m => m.DispatchId == first);
        (listed.Card!.Number, listed.Card.Sender.Code).ShouldBe(("01-CV/VPTU", TwoGateways.Province));

        // Whoever swaps the cards of two rows is found out.
        await pair.A.Probe.Outgoing.ReplaceCardAsync(first, second);
        await Should.ThrowAsync<InvalidDataException>(() => pair.A.Node.Outgoing.ListAsync(10, CancellationToken.None));
        (await pair.A.Probe.Queue.CountAsync()).ShouldBe(0);

        await pair.A.Node.Erasure.EraseOutgoingAsync(
            first, "Hết hạn", "vanthu", TestActor.VanThu, CancellationToken.None);
        (await pair.A.Probe.Outgoing.CardKeyAsync(first)).ShouldBeNull();
        (await pair.A.Node.Outgoing.ListAsync(10, CancellationToken.None)).Single(d => d.Id == first)
            .Card.Subject.ShouldBe("Đã hủy nội dung / Content erased");
    }

    [Fact]
    public async Task A_row_of_an_older_build_is_listed_from_its_manifest_and_rotation_encrypts_cards_again()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var without = await SendAsync(pair);
        var dispatch = await SendAsync(pair);
        await pair.A.Probe.Outgoing.DropCardAsync(without);
        (await pair.A.Node.Outgoing.ListAsync(10, CancellationToken.None)).ShouldAllBe(d => d.Card.Subject == Subject);

        var answer = await pair.A.Node.Rotation.RotateAsync(makeKey: true, CancellationToken.None);

        answer.Unused.ShouldBe(["storage-0001"]);
        (await pair.A.Probe.Outgoing.CardKeyAsync(dispatch)).ShouldBe(answer.Key);
        (await pair.A.Node.Outgoing.ListAsync(10, CancellationToken.None)).ShouldAllBe(d => d.Card.Subject == Subject);
    }

    private static async Task<Guid> SendAsync(TwoGateways pair)
    {
        var answer = await pair.A.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients.All(r => r.State == "acknowledged"));
        return answer.DispatchId;
    }
}
