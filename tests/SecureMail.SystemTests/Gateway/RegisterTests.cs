using SecureMail.Exchange;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;

namespace SecureMail.SystemTests.Gateway;

/// <summary>Numbers of the register of outgoing documents: gapless, per agency and year of Vietnam's
/// calendar.</summary>
public sealed class RegisterTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    private const string OtherAgency = "H91.TB.001";

    [Fact]
    public async Task The_notices_of_an_agency_are_listed_however_many_newer_ones_others_have()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var ours = await SubmitAsync(TwoGateways.Province);
        var theirs = await SubmitAsync(OtherAgency);
        await pair.A.Probe.Outgoing.AddNoticeAsync(ours, NoticeAction.Delayed, ago: TimeSpan.FromDays(1));
        for (var n = 0; n < 3; n++)
        {
            await pair.A.Probe.Outgoing.AddNoticeAsync(theirs, NoticeAction.Delayed);
        }

        (await ListAsync(TwoGateways.Province, 2)).ShouldHaveSingleItem().DispatchId.ShouldBe(ours);
        (await ListAsync(OtherAgency, 2)).Select(n => n.DispatchId).ShouldBe([theirs, theirs]);
        (await ListAsync(null, 3)).ShouldAllBe(n => n.DispatchId == theirs);
        (await ListAsync("H00.XX.000", 2)).ShouldBeEmpty();

        async Task<Guid> SubmitAsync(string sender) =>
            (
                await pair.A.Node.SubmitAsync(
                    TwoGateways.Submission(TwoGateways.AnHoa) with
                    {
                        Sender = sender,
                    },
                    CancellationToken.None)
            ).DispatchId;

        Task<IReadOnlyList<SenderNotice>> ListAsync(string? agency, int limit) =>
            pair.A.Node.Notices.ListAsync(agency, limit, CancellationToken.None);
    }

    [Fact]
    public async Task Twenty_submissions_at_once_of_two_agencies_get_gapless_numbers_of_their_own()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var submitted = await Task.WhenAll(
            Enumerable
                .Range(0, 40)
                .Select(async n =>
                {
                    var submission = TwoGateways.Submission(TwoGateways.AnHoa) with
                    {
                        Sender = n % 2 == 0 ? TwoGateways.Province : OtherAgency,
                    };
                    // Every fifth of them fails after its number was drawn.
                    submission = n % 5 == 4 ? submission with { Documents = TwoGateways.Documents() } : submission;
                    try
                    {
                        return (
                            submission.Sender,
                            Number: (await pair.A.Node.SubmitAsync(submission, CancellationToken.None)).Number);
                    }
                    catch (SubmissionRefusedException)
                    {
                        return (submission.Sender, Number: "");
                    }
                }));
        foreach (var sender in new[] { TwoGateways.Province, OtherAgency })
        {
            submitted
                .Where(s => s.Sender == sender && s.Number != "")
                .Select(s => s.Number)
                .Order(StringComparer.Ordinal)
                .ShouldBe(Enumerable.Range(1, 16).Select(n => NumberAndNotation.Of(n, '-', "CV/VPTU").ToString()));
        }
    }

    [Fact]
    public async Task A_number_given_by_hand_is_kept_as_written_used_once_and_passed_over_by_the_register()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var submission = TwoGateways.Submission(TwoGateways.AnHoa);
        foreach (var number in new[] { "36-HD/VPTW", "15/QĐ-BNV", "007-CV/VPTU", "02-CV/VPTU" })
        {
            (
                await pair.A.Node.SubmitAsync(submission with { Number = number }, CancellationToken.None)
            ).Number.ShouldBe(number);
        }

        (
            await Should.ThrowAsync<SubmissionRefusedException>(() =>
                pair.A.Node.SubmitAsync(submission with { Number = "36-HD/VPTW" }, CancellationToken.None))
        ).Refusal.Code.ShouldBe("NUMBER_TAKEN");
        foreach (
            var number in new[]
            {
                "",
                "36",
                "-HD/VPTW",
                "36 HD/VPTW",
                "36-",
                "36-HD/",
                "123456789012-HD",
                "36-HD\r\n/VPTW",
                "٣-HD",
            })
        {
            (
                await Should.ThrowAsync<SubmissionRefusedException>(() =>
                    pair.A.Node.SubmitAsync(submission with { Number = number }, CancellationToken.None))
            ).Refusal.Code.ShouldBe("NUMBER_INVALID", number);
        }

        // Another agency's register is another.
        (
            await pair.A.Node.SubmitAsync(
                submission with
                {
                    Sender = OtherAgency,
                    Number = "36-HD/VPTW",
                },
                CancellationToken.None)
        ).Number.ShouldBe("36-HD/VPTW");
        List<string> drawn = [];
        for (var n = 0; n < 3; n++)
        {
            drawn.Add((await pair.A.Node.SubmitAsync(submission, CancellationToken.None)).Number);
        }

        drawn.ShouldBe(["01-CV/VPTU", "03-CV/VPTU", "04-CV/VPTU"]);
    }

    [Fact]
    public async Task The_year_turns_at_midnight_in_Vietnam()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var newYear = new DateTimeOffset(2028, 1, 1, 0, 0, 0, TimeSpan.FromHours(7));
        var agency = Guid.NewGuid();
        List<int> drawn = [];
        foreach (var time in new[] { newYear.AddMinutes(-2), newYear.AddMinutes(-1), newYear, newYear.AddMinutes(1) })
        {
            await using var connection = await pair.A.Node.Database.Source.OpenConnectionAsync();
            await using var transaction = await connection.BeginTransactionAsync();
            drawn.Add(
                await Register.NextAsync(
                    transaction, agency, "incoming", Register.YearOf(time.ToUniversalTime()), CancellationToken.None));
            await transaction.CommitAsync();
        }

        drawn.ShouldBe([1, 2, 1, 2]);
        (await pair.A.Probe.Outgoing.LastNumbersAsync(agency)).ShouldBe(
            new Dictionary<int, int> { [2027] = 2, [2028] = 2 }, ignoreOrder: true);
    }
}
