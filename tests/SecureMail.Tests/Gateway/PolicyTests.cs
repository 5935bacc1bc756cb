using System.Text.Json;
using SecureMail.Exchange;
using SecureMail.Gateway.Policy;
using SecureMail.Trust;

namespace SecureMail.Tests.Gateway;

public sealed class PolicyTests
{
    // What the office does, in the words of the contract of the command line: before the deadline, and after it.
    private static readonly Dictionary<string, (string Before, string After)> Outcomes = new()
    {
        ["valid"] = ("Accept", "Accept"),
        ["indeterminate"] = ("Wait", "Quarantine"),
        ["wrong-sender"] = ("Quarantine", "Quarantine"),
        ["partial"] = ("Quarantine", "Quarantine"),
        ["untrusted"] = ("Quarantine", "Quarantine"),
        ["invalid"] = ("Quarantine", "Quarantine"),
        ["unsigned"] = ("Quarantine", "Quarantine"),
        ["unreadable"] = ("Quarantine", "Quarantine"),
    };

    [Fact]
    public void The_table_says_what_becomes_of_each_verdict_and_no_verdict_is_forgotten() =>
        Enum.GetValues<Verdict>()
            .ToDictionary(
                v => JsonSerializer.Serialize(v).Trim('"'),
                v => (
                    VerdictPolicy.Of(v, deadlinePassed: false).ToString(),
                    VerdictPolicy.Of(v, deadlinePassed: true).ToString()))
            .ShouldBe(Outcomes, ignoreOrder: true);

    [Fact]
    public void A_verdict_that_this_build_does_not_know_never_leads_to_the_inbox()
    {
        VerdictPolicy.Of((Verdict)99, deadlinePassed: false).ShouldBe(VerdictOutcome.Quarantine);
        VerdictPolicy.Of((Verdict)99, deadlinePassed: true).ShouldBe(VerdictOutcome.Quarantine);
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
