using SecureMail.Exchange;
using SecureMail.Gateway.Policy;
using SecureMail.Trust;

namespace SecureMail.Tests.Gateway;

public sealed class PolicyTests
{
    // Every verdict × whether its deadline has passed.
    [Theory]
    [InlineData(Verdict.Valid, false, VerdictOutcome.Accept)]
    [InlineData(Verdict.Valid, true, VerdictOutcome.Accept)]
    [InlineData(Verdict.Indeterminate, false, VerdictOutcome.Wait)]
    [InlineData(Verdict.Indeterminate, true, VerdictOutcome.Quarantine)]
    [InlineData(Verdict.WrongSender, false, VerdictOutcome.Quarantine)]
    [InlineData(Verdict.WrongSender, true, VerdictOutcome.Quarantine)]
    [InlineData(Verdict.Partial, false, VerdictOutcome.Quarantine)]
    [InlineData(Verdict.Partial, true, VerdictOutcome.Quarantine)]
    [InlineData(Verdict.Untrusted, false, VerdictOutcome.Quarantine)]
    [InlineData(Verdict.Untrusted, true, VerdictOutcome.Quarantine)]
    [InlineData(Verdict.Invalid, false, VerdictOutcome.Quarantine)]
    [InlineData(Verdict.Invalid, true, VerdictOutcome.Quarantine)]
    [InlineData(Verdict.Unsigned, false, VerdictOutcome.Quarantine)]
    [InlineData(Verdict.Unsigned, true, VerdictOutcome.Quarantine)]
    [InlineData(Verdict.Unreadable, false, VerdictOutcome.Quarantine)]
    [InlineData(Verdict.Unreadable, true, VerdictOutcome.Quarantine)]
    public void Each_verdict_has_its_place(Verdict verdict, bool deadlinePassed, VerdictOutcome outcome) =>
        VerdictPolicy.Of(verdict, deadlinePassed).ShouldBe(outcome);

    [Fact]
    public void Nothing_but_a_valid_verdict_leads_to_the_inbox()
    {
        foreach (var verdict in Enum.GetValues<Verdict>().Append((Verdict)99))
        {
            foreach (var passed in new[] { false, true })
            {
                (VerdictPolicy.Of(verdict, passed) == VerdictOutcome.Accept).ShouldBe(verdict == Verdict.Valid);
            }
        }
    }

    [Theory]
    [InlineData(null, 0)]
    [InlineData("", 0)]
    [InlineData("  ", 0)]
    [InlineData("MẬT", 1)]
    [InlineData("mật", 1)]
    [InlineData(" Tối Mật ", 2)]
    [InlineData("TUYỆT MẬT", 3)]
    [InlineData("HẠN CHẾ", 3)]
    [InlineData("MAT", 3)]
    [InlineData("TỐI  MẬT", 3)]
    public void A_mark_that_nobody_knows_counts_as_the_highest(string? mark, int rank) =>
        SecrecyMark.RankOrHighest(mark).ShouldBe(rank);

    [Theory]
    [InlineData("M\u1EACT", 1)]
    [InlineData("MA\u0323\u0302T", 1)]
    [InlineData("ma\u0323\u0302t", 1)]
    [InlineData("T\u1ED0I M\u1EACT", 2)]
    [InlineData("TO\u0302\u0301I MA\u0323\u0302T", 2)]
    [InlineData("TUY\u1EC6T M\u1EACT", 3)]
    [InlineData("TUYE\u0323\u0302T MA\u0323\u0302T", 3)]
    public void A_mark_is_known_composed_or_decomposed(string mark, int rank)
    {
        SecrecyMark.Rank(mark).ShouldBe(rank);
        SecrecyMark.Rank(mark + "!").ShouldBe(0);
    }
}
