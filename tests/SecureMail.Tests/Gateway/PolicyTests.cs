using System.Text;
using SecureMail.Exchange;
using SecureMail.Gateway.Policy;
using SecureMail.Trust;

namespace SecureMail.Tests.Gateway;

public sealed class PolicyTests
{
    // Every verdict × whether its deadline has passed.
    [Theory]
    [InlineData(Verdict.Valid, false, Place.Inbox)]
    [InlineData(Verdict.Valid, true, Place.Inbox)]
    [InlineData(Verdict.Indeterminate, false, Place.Wait)]
    [InlineData(Verdict.Indeterminate, true, Place.Quarantine)]
    [InlineData(Verdict.WrongSender, false, Place.Quarantine)]
    [InlineData(Verdict.WrongSender, true, Place.Quarantine)]
    [InlineData(Verdict.Partial, false, Place.Quarantine)]
    [InlineData(Verdict.Partial, true, Place.Quarantine)]
    [InlineData(Verdict.Untrusted, false, Place.Quarantine)]
    [InlineData(Verdict.Untrusted, true, Place.Quarantine)]
    [InlineData(Verdict.Invalid, false, Place.Quarantine)]
    [InlineData(Verdict.Invalid, true, Place.Quarantine)]
    [InlineData(Verdict.Unsigned, false, Place.Quarantine)]
    [InlineData(Verdict.Unsigned, true, Place.Quarantine)]
    [InlineData(Verdict.Unreadable, false, Place.Quarantine)]
    [InlineData(Verdict.Unreadable, true, Place.Quarantine)]
    public void Each_verdict_has_its_place(Verdict verdict, bool deadlinePassed, Place place) =>
        Placement.Of(verdict, deadlinePassed).ShouldBe(place);

    [Fact]
    public void Nothing_but_a_valid_verdict_leads_to_the_inbox()
    {
        foreach (var verdict in Enum.GetValues<Verdict>().Append((Verdict)99))
        {
            foreach (var passed in new[] { false, true })
            {
                (Placement.Of(verdict, passed) == Place.Inbox).ShouldBe(verdict == Verdict.Valid);
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
    [InlineData("MẬT", 1)]
    [InlineData("TỐI MẬT", 2)]
    [InlineData("TUYỆT MẬT", 3)]
    public void A_mark_is_known_composed_or_decomposed(string mark, int rank)
    {
        SecrecyMark.Rank(mark.Normalize(NormalizationForm.FormC)).ShouldBe(rank);
        SecrecyMark.Rank(mark.Normalize(NormalizationForm.FormD)).ShouldBe(rank);
        SecrecyMark.Rank(mark + "!").ShouldBe(0);
    }
}
