using System.Text.RegularExpressions;
using SecureMail.Benchmarks;

namespace SecureMail.Tests.Benchmarks;

/// <summary>The measurements themselves take minutes and depend on the machine; here only that both sides of each do
/// the same work.</summary>
public sealed partial class BenchmarkTests
{
    public static TheoryData<string> Contests()
    {
        using var contests = new CmsContests();
        using var curves = new CurveContests();
        return [.. contests.All.Select(c => c.Name), .. curves.All.Select(c => c.Name)];
    }

    [Theory]
    [MemberData(nameof(Contests))]
    public async Task Each_side_of_a_contest_takes_what_the_other_makes(string name)
    {
        using var contests = new CmsContests(small: 1000, large: 200_000, recipients: 3);
        using var curves = new CurveContests();
        var contest = contests.All.Concat(curves.All).Single(c => c.Name == name).Make();
        contest.Name.ShouldBe(name);
        contest.Goal.ShouldBeInRange(0.5, 10);
        contest.Peer.ShouldNotBeEmpty();
        await contest.Agree();
        await contest.Ours();
        contest.Theirs();
    }

    [Fact]
    public async Task Every_row_has_a_name_of_its_own_and_stands_on_the_page_of_figures()
    {
        using var contests = new CmsContests();
        using var curves = new CurveContests();
        using var tokens = new TokenContests();
        await using var queues = new QueueContests();
        await using var smtp = new SmtpContests();
        string[] names =
            [
                .. contests.All.Select(c => c.Name),
                .. curves.All.Select(c => c.Name),
                .. tokens.All.Select(c => c.Name),
                .. queues.All.Select(c => c.Name),
                .. StartUp.All.Select(c => c.Name),
                .. smtp.All.Select(c => c.Name),
                .. CmsMemory.Names,
                .. GatewayCosts.Names,
                .. EndToEnd.Names,
            ];
        names.ShouldBeUnique();
        names.ShouldAllBe(n => RowName().IsMatch(n));
        names.ShouldContain("cms.decrypt-verify.25m.text");
        names.ShouldContain("cms.memory.decrypt-verify.200m");
        var page = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "performance.md"));
        names.Where(n => !page.Contains($"`{n}`", StringComparison.Ordinal)).ShouldBeEmpty();
    }

    [GeneratedRegex(@"\A(cms|curve|token|queue|host|e2e|smtp|start)(\.[a-z0-9]+(-[a-z0-9]+)*)+\z")]
    private static partial Regex RowName();
}
