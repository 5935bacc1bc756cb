using SecureMail.Exchange;
using SecureMail.LedgerStore;

namespace SecureMail.SystemTests.Gateway;

/// <summary>The main path: a dispatch goes out, is judged, lies in the inbox, and its receipt closes it; both ledgers
/// say so.</summary>
public sealed class ExchangeTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task A_dispatch_to_two_communes_is_judged_delivered_and_acknowledged_in_both_ledgers()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var answer = await pair.A.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.AnHoa, TwoGateways.BinhMinh), CancellationToken.None);
        answer.Number.ShouldBe("01-CV/VPTU");

        var sent = await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients.All(r => r.State == "acknowledged"));
        sent.Recipients.Select(r => r.Code).ShouldBe([TwoGateways.AnHoa, TwoGateways.BinhMinh]);
        sent.Recipients.ShouldAllBe(r => r.ReceiptEvent == "ContentConsignment");

        foreach (var code in new[] { TwoGateways.AnHoa, TwoGateways.BinhMinh })
        {
            var listed = (
                await pair.B.Node.Incoming.ListAsync(code, "inbox", 10, CancellationToken.None)).ShouldHaveSingleItem();
            listed.Card!.Documents[0].ShouldBe("Công văn số 1.txt");
            var message = (await pair.B.Node.Incoming.FindAsync(listed.Id, CancellationToken.None))!;
            message.Verdict.ShouldBe("valid");
            message.ArrivalNumber.ShouldBeNull("a person draws it");
            message.SenderName.ShouldBe("Văn phòng Tỉnh ủy Sông Lam");
            message.Manifest!.Recipients.Select(r => r.Code).ShouldBe([TwoGateways.AnHoa, TwoGateways.BinhMinh]);
            await using var document = await pair.B.Node.Incoming.OpenDocumentAsync(
                message.Id, 1, CancellationToken.None);
            using var reader = new StreamReader(document);
            (await reader.ReadToEndAsync()).ShouldBe("Nội dung công văn");
            message.Manifest.Documents[0].Name.ShouldBe("Công văn số 1.txt");
        }

        // Both are behind one gateway: it was one mail.
        (await pair.B.Probe.Incoming.ReceivedAsync()).ShouldBe(1);
        foreach (var gateway in new[] { pair.A, pair.B })
        {
            var report = await LedgerVerifier.VerifyAsync(
                gateway.Node.Database.Source, gateway.Node.Identity.Ledger.Verifier, [], CancellationToken.None);
            report.Problems.ShouldBeEmpty();
            (await gateway.Probe.Queue.CountAsync()).ShouldBe(0);
        }

        // B saw A's checkpoint and cosigned it; A keeps the line.
        (
            await TwoGateways.EventuallyAsync(
                async () =>
                    (await pair.A.Node.Ledger.OverviewAsync(CancellationToken.None)).Cosignatures is { Count: > 0 } c
                        ? c
                        : null,
                "a cosignature")
        )[0]
            .Line.ShouldContain("gateway-b.test");
    }

    [Fact]
    public async Task Nothing_of_a_dispatch_stands_in_the_database_in_clear()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var answer = await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients.All(r => r.State == "acknowledged"));
        foreach (var gateway in new[] { pair.A, pair.B })
        {
            foreach (var clear in new[] { "Nội dung công văn", "V/v triệu tập hội nghị", "Công văn số 1" })
            {
                var bytes = System.Text.Encoding.UTF8.GetBytes(clear);
                (await gateway.Probe.Content.ChunksHoldingAsync(bytes)).ShouldBe(0);
                (await gateway.Probe.Ledger.EntriesHoldingAsync(bytes)).ShouldBe(0);
                (await gateway.Probe.Incoming.FindingsHoldingAsync(clear)).ShouldBe(0);
            }
        }
    }

    [Fact]
    public async Task The_gateway_cannot_change_its_ledger()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await using var connection = await pair.A.Node.Database.Source.OpenConnectionAsync();
        foreach (
            var sql in new[]
            {
                "UPDATE ledger.entry SET kind = 'x'",
                "DELETE FROM ledger.entry",
                "UPDATE ledger.leaf SET idx = 0",
                "DELETE FROM ledger.checkpoint",
                "TRUNCATE ledger.entry",
                "UPDATE gateway.finding SET verdict = 'valid'",
                "DELETE FROM gateway.finding",
            })
        {
            await using var command = new Npgsql.NpgsqlCommand(sql, connection);
            (await Should.ThrowAsync<Npgsql.PostgresException>(() => command.ExecuteNonQueryAsync())).SqlState.ShouldBe(
                Npgsql.PostgresErrorCodes.InsufficientPrivilege);
        }
    }
}
