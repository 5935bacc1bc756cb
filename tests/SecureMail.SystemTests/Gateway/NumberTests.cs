using SecureMail.Exchange;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Host;
using SecureMail.Ledger;

namespace SecureMail.SystemTests.Gateway;

/// <summary>Numbers as values in the series of a body, a type and a period; cancelled numbers; gaps (DOMAIN.md,
/// "Numbers").</summary>
public sealed class NumberTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task One_number_in_several_spellings_is_used_once()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        (await SendAsync(pair, "36-HD/VPTW")).ShouldBe("36-HD/VPTW");
        foreach (var again in new[] { "36-HD/VPTW", "036-HD/VPTW", "36-hd/vptw", "36- HD/VPTW", "36/HD-VPTW" })
        {
            (
                await Should.ThrowAsync<SubmissionRefusedException>(() => SendAsync(pair, again))
            ).Refusal.Code.ShouldBe("NUMBER_TAKEN", again);
        }

        // Another type, another body.
        (await SendAsync(pair, "036-QĐ/VPTW")).ShouldBe("036-QĐ/VPTW");
        (await SendAsync(pair, "36-HD/TU")).ShouldBe("36-HD/TU");
    }

    [Fact]
    public async Task Each_type_of_each_body_has_a_series_of_its_own()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        List<string> drawn = [];
        foreach (var notation in new[] { "CV/TU", "QĐ/TU", "CV/TU", "cv/tu", "CV/VPTU", "QĐ/TU" })
        {
            drawn.Add(await DrawAsync(pair, notation));
        }

        drawn.ShouldBe(["01-CV/TU", "01-QĐ/TU", "02-CV/TU", "03-cv/tu", "01-CV/VPTU", "02-QĐ/TU"]);
    }

    [Fact]
    public async Task A_body_numbers_by_the_terms_of_its_committee_and_a_congress_has_one_series_for_all_types()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var numbers = pair.A.Node.Numbers;
        await numbers.SetNumberingAsync(
            TwoGateways.Province, " tu ", [new DateOnly(2025, 10, 16), new DateOnly(2020, 10, 10)], oneSeries: false,
            TestActor.VanThu, CancellationToken.None);
        await numbers.SetNumberingAsync(
            TwoGateways.Province, "ĐH", [], oneSeries: true, TestActor.VanThu, CancellationToken.None);

        var agency = (await pair.A.Node.Directory.CurrentAsync(CancellationToken.None))
            .FindEverByCode(TwoGateways.Province)!.Id;
        await using var connection = await pair.A.Node.Database.Source.OpenConnectionAsync();
        (await PeriodAsync("CV/TU", "2020-10-09T23:59:00+07:00")).ShouldBe(("CV", "2020"));
        (await PeriodAsync("CV/TU", "2020-10-10T00:00:00+07:00")).ShouldBe(("CV", "2020-10-10"));
        (await PeriodAsync("CV/TU", "2025-10-15T23:59:59+07:00")).ShouldBe(("CV", "2020-10-10"));
        (await PeriodAsync("QĐ/TU", "2025-10-15T17:00:00Z")).ShouldBe(("QĐ", "2025-10-16"));
        (await PeriodAsync("QĐ/VPTU", "2025-12-31T17:00:00Z")).ShouldBe(("QĐ", "2026"));
        (await PeriodAsync("NQ/ĐH", "2025-10-15T12:00:00+07:00")).ShouldBe(("", "2025"));

        (await DrawAsync(pair, "NQ/ĐH")).ShouldBe("01-NQ/ĐH");
        (await DrawAsync(pair, "BB/ĐH")).ShouldBe("02-BB/ĐH");
        (await DrawAsync(pair, "CV/TU")).ShouldBe("01-CV/TU");

        async Task<(string Type, string Period)> PeriodAsync(string notation, string at)
        {
            await using var transaction = await connection.BeginTransactionAsync();
            var series = await Register.HoldAsync(
                transaction, agency, NumberAndNotation.Of(1, '-', notation),
                DateTimeOffset.Parse(at, System.Globalization.CultureInfo.InvariantCulture), CancellationToken.None);
            return (series.Type, series.Period);
        }
    }

    [Fact]
    public async Task A_number_that_is_not_issued_is_cancelled_with_its_reason_and_never_used_again()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var (node, stop) = (pair.A.Node, CancellationToken.None);
        await SendAsync(pair, "04-CV/VPTU");
        (await DrawAsync(pair, "CV/VPTU")).ShouldBe("01-CV/VPTU");
        (await GapsAsync()).ShouldBe([(2, 3)]);

        await CancelAsync("02-cv/vptu", "Cấp trên giấy rồi không dùng");
        (await GapsAsync()).ShouldBe([(3, 3)]);
        (await RefusedAsync("002-CV/VPTU", "lại")).ShouldBe("NUMBER_CANCELLED");
        (await RefusedAsync("01-CV/VPTU", "đã phát hành")).ShouldBe("NUMBER_ISSUED");
        (await RefusedAsync("05-CV/VPTU", "chưa cấp")).ShouldBe("NUMBER_NOT_DRAWN");
        (await RefusedAsync("00-CV/VPTU", "không có")).ShouldBe("NUMBER_NOT_DRAWN");
        (await RefusedAsync("03-CV/VPTU", " ")).ShouldBe("CANCEL_REASON");
        (await RefusedAsync("không phải số", "x")).ShouldBe("NUMBER_INVALID");
        (
            await Should.ThrowAsync<SubmissionRefusedException>(() => SendAsync(pair, "2-CV/VPTU"))
        ).Refusal.Code.ShouldBe("NUMBER_TAKEN");
        (await DrawAsync(pair, "CV/VPTU")).ShouldBe("03-CV/VPTU");
        (await DrawAsync(pair, "CV/VPTU")).ShouldBe("05-CV/VPTU");

        (await node.Numbers.ListAsync(TwoGateways.Province, stop))
            .Select(n => (n.Text, n.State, n.Reason))
            .ShouldBe(
            [
                ("01-CV/VPTU", NumberState.Used, null),
                ("02-cv/vptu", NumberState.Cancelled, "Cấp trên giấy rồi không dùng"),
                ("03-CV/VPTU", NumberState.Used, null), ("04-CV/VPTU", NumberState.Used, null),
                ("05-CV/VPTU", NumberState.Used, null),
            ]);
        var entry = (await node.Ledger.ListAsync(100, stop)).Single(e => e.Kind == EntryKind.NumberCancelled);
        entry.Actor.ShouldBe(TestActor.VanThu.Actor);
        entry.Commitments.Keys.ShouldBe(["number", "reason"], ignoreOrder: true);

        async Task<IEnumerable<(long, long)>> GapsAsync() =>
            (await node.Numbers.GapsAsync(TwoGateways.Province, stop)).Select(g => (g.First, g.Last));

        Task CancelAsync(string number, string reason) =>
            node.Numbers.CancelAsync(TwoGateways.Province, number, reason, TestActor.VanThu, stop);

        async Task<string> RefusedAsync(string number, string reason) =>
            (await Should.ThrowAsync<NumberRefusedException>(() => CancelAsync(number, reason))).Code;
    }

    [Fact]
    public async Task The_number_of_a_refused_dispatch_is_cancelled_in_the_story_of_that_dispatch()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var (node, stop) = (pair.A.Node, CancellationToken.None);
        var dispatch = (await node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), stop)).DispatchId;
        await node.Policy.ForbidAsync(null, TwoGateways.AnHoa, "Tạm dừng", TestActor.VanThu, stop);
        pair.A.Run();
        var refused = await pair.A.OutgoingAsync(dispatch, d => d.State == OutgoingState.Refused);

        await node.Numbers.CancelAsync(
            TwoGateways.Province, refused.Card.Number, "Không phát hành", TestActor.VanThu, stop);
        var listed = (await node.Numbers.ListAsync(TwoGateways.Province, stop)).ShouldHaveSingleItem();
        (listed.Dispatch, listed.State, listed.Reason).ShouldBe((dispatch, NumberState.Cancelled, "Không phát hành"));
        (await node.Numbers.GapsAsync(TwoGateways.Province, stop)).ShouldBeEmpty();
        (await node.Ledger.AuditTrailAsync(dispatch, stop)).ShouldContain(e => e.Kind == EntryKind.NumberCancelled);
    }

    [Fact]
    public async Task The_number_of_a_marked_document_is_reserved_and_no_gap()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var (node, stop) = (pair.A.Node, CancellationToken.None);
        await node.Policy.SetSecrecyAsync(TwoGateways.Province, "MẬT", TestActor.VanThu, stop);
        var marked = TwoGateways.Submission(TwoGateways.AnHoa);
        await node.SubmitAsync(marked with { Fields = marked.Fields with { Secrecy = "MẬT" } }, stop);
        await DrawAsync(pair, "CV/VPTU");
        (await node.Numbers.ListAsync(TwoGateways.Province, stop))
            .Select(n => (n.Value, n.State, n.Dispatch is null))
            .ShouldBe([(1, NumberState.Reserved, true), (2, NumberState.Used, false)]);
        (await node.Numbers.GapsAsync(TwoGateways.Province, stop)).ShouldBeEmpty();
    }

    [Fact]
    public async Task A_clerk_lists_numbers_finds_gaps_and_cancels_one_on_the_command_line()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        await SendAsync(pair, "03-CV/VPTU");
        await SendAsync(pair, "01-CV/VPTU");
        var (missing, gaps) = await RunAsync("gaps");
        missing.ShouldBe(ExitCode.Wanting);
        gaps.ShouldStartWith($"{TwoGateways.Province} ");
        gaps.ShouldEndWith(" CV/VPTU: 2\n");
        (await RunAsync("cancel", "02-CV/VPTU", "--agency", TwoGateways.Province, "--reason", "Bỏ")).Exit.ShouldBe(
            ExitCode.Done);
        (await RunAsync("gaps", "--agency", TwoGateways.Province)).ShouldBe((ExitCode.Done, ""));
        (await RunAsync("cancel", "02-CV/VPTU", "--reason", "Bỏ")).Exit.ShouldBe(ExitCode.NotPermitted);
        (await RunAsync("cancel", "03-CV/VPTU", "--agency", TwoGateways.Province, "--reason", "Bỏ")).Exit.ShouldBe(
            ExitCode.NotPermitted);
        var (exit, said) = await RunAsync("list", "--agency", TwoGateways.Province);
        exit.ShouldBe(ExitCode.Done);
        said.ShouldContain("02-CV/VPTU");
        said.ShouldContain("hủy số / cancelled");
        (await RunAsync("numbering", "TU", "--agency", TwoGateways.Province, "--term", "16/10/2025")).Exit.ShouldBe(
            ExitCode.Usage);
        (await RunAsync("numbering", "TU", "--agency", TwoGateways.Province, "--term", "2025-10-16")).Exit.ShouldBe(
            ExitCode.Done);
        (await DrawAsync(pair, "CV/TU")).ShouldBe("01-CV/TU");
        (await pair.A.Node.Numbers.ListAsync(TwoGateways.Province, CancellationToken.None))
            .Single(n => n.Body == "TU").Period.ShouldBe("2025-10-16");

        async Task<(int Exit, string Said)> RunAsync(params string[] arguments)
        {
            await using var process = GatewayProcess.Run(pair.A.Options, null, ["registers", .. arguments]);
            return (await process.EndAsync(), process.Said);
        }
    }

    private static async Task<string> SendAsync(TwoGateways pair, string number) =>
        (
            await pair.A.Node.SubmitAsync(
                TwoGateways.Submission(TwoGateways.AnHoa) with { Number = number }, CancellationToken.None)
        ).Number;

    private static async Task<string> DrawAsync(TwoGateways pair, string notation) =>
        (
            await pair.A.Node.SubmitAsync(
                TwoGateways.Submission(TwoGateways.AnHoa) with { Notation = notation }, CancellationToken.None)
        ).Number;
}
