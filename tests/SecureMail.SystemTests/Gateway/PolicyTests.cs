using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Policy;
using SecureMail.Ledger;

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
        await pair.A.Node.Policy.SetSecrecyAsync(TwoGateways.Province, "ma\u0323\u0302t", CancellationToken.None);
        await Should.ThrowAsync<UnknownSecrecyException>(() =>
            pair.A.Node.Policy.SetSecrecyAsync(TwoGateways.Province, "BÍ MẬT", CancellationToken.None));
        var answer = await pair.A.Node.SubmitAsync(marked, CancellationToken.None);

        // The addressee made no such decision: it is returned, and the sender hears so.
        var sent = await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients[0].State == "refused");
        sent.Recipients[0].Reason.ShouldBe("SECRECY_REFUSED");
        (await pair.A.Probe.Ledger.EntriesAsync(EntryKind.PolicySecrecyPermitted)).ShouldBe(1);

        await pair.A.Node.Policy.SetSecrecyAsync(TwoGateways.Province, null, CancellationToken.None);
        await Should.ThrowAsync<SubmissionRefusedException>(() =>
            pair.A.Node.SubmitAsync(marked, CancellationToken.None));
    }

    [Fact]
    public async Task A_forbidden_route_stops_one_addressee_and_names_the_reason_until_the_rule_is_taken_back()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var rule = await pair.A.Node.Policy.ForbidAsync(
            null, TwoGateways.AnHoa, "Gửi qua huyện", CancellationToken.None);
        var answer = await pair.A.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.AnHoa, TwoGateways.BinhMinh), CancellationToken.None);
        var refused = answer.Recipients.Single(r => r.Code == TwoGateways.AnHoa).Refusal!;
        refused.Code.ShouldBe("ROUTE_REFUSED");
        refused.Vi.ShouldContain("Gửi qua huyện");
        answer.Recipients.Single(r => r.Code == TwoGateways.BinhMinh).Refusal.ShouldBeNull();

        (await pair.A.Node.Policy.PermitAsync(rule, CancellationToken.None)).ShouldBeTrue();
        (await pair.A.Node.Policy.PermitAsync(rule, CancellationToken.None)).ShouldBeFalse();
        (await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None))
            .Recipients[0]
            .Refusal.ShouldBeNull();
        await Should.ThrowAsync<DirectoryException>(() =>
            pair.A.Node.Policy.ForbidAsync("X.Y.Z", null, "?", CancellationToken.None));
    }
}
