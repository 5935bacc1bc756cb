using System.Security.Cryptography;
using System.Text;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Policy;
using SecureMail.Ledger;
using SecureMail.LedgerStore;

namespace SecureMail.SystemTests.Gateway;

public sealed class PolicyTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task A_marked_document_goes_only_after_the_agencys_own_decision_which_stands_in_the_ledger()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var marked = TwoGateways.Submission(TwoGateways.AnHoa) with
        {
            Fields = TwoGateways.Submission().Fields with { Secrecy = "MẬT" },
        };
        (
            await Should.ThrowAsync<SubmissionRefusedException>(() =>
                pair.A.Node.SubmitAsync(marked, CancellationToken.None))
        ).Refusal.Code.ShouldBe("SECRECY_REFUSED");

        // NFD, lower case: the office's typing is taken, an unknown word is not.
        await pair.A.Node.Policy.SetSecrecyAsync(
            TwoGateways.Province, "ma\u0323\u0302t", TestActor.VanThu, CancellationToken.None);
        await Should.ThrowAsync<UnknownSecrecyException>(() =>
            pair.A.Node.Policy.SetSecrecyAsync(
                TwoGateways.Province, "BÍ MẬT", TestActor.VanThu, CancellationToken.None));
        var answer = await pair.A.Node.SubmitAsync(marked, CancellationToken.None);

        // The addressee made no such decision: it is returned, and the sender hears so.
        var sent = await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients[0].State == "refused");
        sent.Recipients[0].Reason.ShouldBe("SECRECY_REFUSED");
        (await pair.A.Probe.Ledger.EntriesAsync(EntryKind.PolicySecrecyPermitted)).ShouldBe(1);

        await pair.A.Node.Policy.SetSecrecyAsync(TwoGateways.Province, null, TestActor.VanThu, CancellationToken.None);
        await Should.ThrowAsync<SubmissionRefusedException>(() =>
            pair.A.Node.SubmitAsync(marked, CancellationToken.None));
    }

    [Fact]
    public async Task A_forbidden_route_stops_one_addressee_and_names_the_reason_until_the_rule_is_taken_back()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var rule = await pair.A.Node.Policy.ForbidAsync(
            null, TwoGateways.AnHoa, "Gửi qua huyện", TestActor.VanThu, CancellationToken.None);
        var answer = await pair.A.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.AnHoa, TwoGateways.BinhMinh), CancellationToken.None);
        var refused = answer.Recipients.Single(r => r.Code == TwoGateways.AnHoa).Refusal!;
        refused.Code.ShouldBe("ROUTE_REFUSED");
        refused.Vi.ShouldContain("Gửi qua huyện");
        answer.Recipients.Single(r => r.Code == TwoGateways.BinhMinh).Refusal.ShouldBeNull();

        (await pair.A.Node.Policy.PermitAsync(rule, TestActor.VanThu, CancellationToken.None)).ShouldBeTrue();
        (await pair.A.Node.Policy.PermitAsync(rule, TestActor.VanThu, CancellationToken.None)).ShouldBeFalse();
        (await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None))
            .Recipients[0]
            .Refusal.ShouldBeNull();
        await Should.ThrowAsync<DirectoryException>(() =>
            pair.A.Node.Policy.ForbidAsync("X.Y.Z", null, "?", TestActor.VanThu, CancellationToken.None));
    }
    [Fact]
    public async Task Every_decision_is_listed_by_the_codes_that_people_know_and_stands_in_the_ledger()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var book = pair.A.Node.Policy;
        (await book.ListAsync(CancellationToken.None)).ShouldBeEmpty();
        var all = await book.ForbidAsync(
            null, TwoGateways.AnHoa, "Gửi qua huyện", TestActor.VanThu, CancellationToken.None);
        var one = await book.ForbidAsync(
            TwoGateways.Province, TwoGateways.BinhMinh, "Chờ bàn giao", TestActor.VanThu, CancellationToken.None);
        var none = await book.ForbidAsync(
            TwoGateways.Province, null, "Tạm dừng", TestActor.VanThu, CancellationToken.None);
        // A mark is kept as the decree writes it, and the last decision counts.
        await book.SetSecrecyAsync(TwoGateways.Province, "MẬT", TestActor.VanThu, CancellationToken.None);
        await book.SetSecrecyAsync(
            TwoGateways.Province, " to\u0302\u0301i mật ", TestActor.VanThu, CancellationToken.None);
        PolicyLine[] rules =
        [
            new("route", all, null, TwoGateways.AnHoa, "Gửi qua huyện"),
            new("route", one, TwoGateways.Province, TwoGateways.BinhMinh, "Chờ bàn giao"),
            new("route", none, TwoGateways.Province, null, "Tạm dừng"),
        ];
        (await book.ListAsync(CancellationToken.None)).ShouldBe(
            [.. rules, new("secrecy", null, TwoGateways.Province, null, "TỐI MẬT")]);

        (await book.PermitAsync(one, TestActor.VanThu, CancellationToken.None)).ShouldBeTrue();
        await book.SetSecrecyAsync(TwoGateways.Province, null, TestActor.VanThu, CancellationToken.None);
        await book.SetSecrecyAsync(TwoGateways.Province, null, TestActor.VanThu, CancellationToken.None);
        (await book.ListAsync(CancellationToken.None)).ShouldBe([rules[0], rules[2]]);
        foreach (
            var (kind, count) in new[]
            {
                (EntryKind.PolicyRouteForbidden, 3),
                (EntryKind.PolicyRoutePermitted, 1),
                (EntryKind.PolicySecrecyPermitted, 2),
                (EntryKind.PolicySecrecyRefused, 2),
            })
        {
            (await pair.A.Probe.Ledger.EntriesAsync(kind)).ShouldBe(count, kind);
        }
    }

    [Fact]
    public async Task An_agency_sends_up_to_the_mark_that_it_permitted_and_no_further()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.A.Node.Policy.SetSecrecyAsync(
            TwoGateways.Province, "TỐI MẬT", TestActor.VanThu, CancellationToken.None);
        foreach (
            var (mark, code) in new[]
            {
                ("", null),
                ("MẬT", null),
                ("TỐI MẬT", null),
                ("TUYỆT MẬT", "SECRECY_REFUSED"),
            })
        {
            var fields = TwoGateways.Submission().Fields with { Secrecy = mark.Length == 0 ? null : mark };
            var submission = TwoGateways.Submission(TwoGateways.AnHoa) with { Fields = fields };
            (await RefusalOfAsync(pair, submission)).ShouldBe(code, mark);
        }
    }

    [Fact]
    public async Task A_rule_for_one_sender_does_not_stop_the_others_and_a_rule_for_all_stops_each()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.A.Node.Policy.ForbidAsync(
            TwoGateways.BinhMinh, TwoGateways.AnHoa, "Chờ bàn giao", TestActor.VanThu, CancellationToken.None);
        var submission = TwoGateways.Submission(TwoGateways.AnHoa);
        (await RefusalOfAsync(pair, submission)).ShouldBeNull();
        await pair.A.Node.Policy.ForbidAsync(
            TwoGateways.Province, null, "Tạm dừng", TestActor.VanThu, CancellationToken.None);
        (await RefusalOfAsync(pair, submission)).ShouldBe("ROUTE_REFUSED");
    }

    [Fact]
    public async Task The_entry_of_a_decision_names_its_agency_and_commits_to_its_words()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var policy = pair.A.Node.Policy;
        var directory = await pair.A.Node.Directory.CurrentAsync(CancellationToken.None);
        var (province, commune) = (
            directory.FindEverByCode(TwoGateways.Province)!.Id, directory.FindEverByCode(TwoGateways.AnHoa)!.Id);
        var one = await policy.ForbidAsync(
            TwoGateways.Province, TwoGateways.AnHoa, "Chờ bàn giao", TestActor.VanThu, CancellationToken.None);
        var all = await policy.ForbidAsync(
            null, TwoGateways.AnHoa, "Tạm dừng", TestActor.VanThu, CancellationToken.None);
        await policy.SetSecrecyAsync(TwoGateways.Province, "tối mật", TestActor.VanThu, CancellationToken.None);
        await policy.SetSecrecyAsync(TwoGateways.Province, null, TestActor.VanThu, CancellationToken.None);
        await policy.PermitAsync(one, TestActor.VanThu, CancellationToken.None);

        await using var connection = await pair.A.Node.Database.Source.OpenConnectionAsync();
        var entries = await StoredLedger.ListAsync(connection, 5, CancellationToken.None);
        entries
            .Reverse()
            .Select(e => e.Entry)
            .Select(e => (e.Kind, e.Agency, e.Object, Decision: e.Commitments.ShouldHaveSingleItem()))
            .ShouldBe(
            [
                Entry(EntryKind.PolicyRouteForbidden, province, $"rule-{one}", $"{province}|{commune}|Chờ bàn giao"),
                Entry(EntryKind.PolicyRouteForbidden, Guid.Empty, $"rule-{all}", $"|{commune}|Tạm dừng"),
                Entry(EntryKind.PolicySecrecyPermitted, province, $"secrecy-{province}", "TỐI MẬT"),
                Entry(EntryKind.PolicySecrecyRefused, province, $"secrecy-{province}", ""),
                Entry(EntryKind.PolicyRoutePermitted, Guid.Empty, $"rule-{one}", ""),
            ]);

        static (string, Guid, string, KeyValuePair<string, string>) Entry(
            string kind, Guid agency, string subject, string words) =>
            (
                kind, agency, subject,
                new("decision", "sha256:" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(words)))));
    }

    private static async Task<string?> RefusalOfAsync(TwoGateways pair, Submission submission)
    {
        try
        {
            await pair.A.Node.SubmitAsync(submission, CancellationToken.None);
            return null;
        }
        catch (SubmissionRefusedException e)
        {
            return e.Refusal.Code;
        }
    }
}
