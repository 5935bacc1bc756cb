using System.Text.RegularExpressions;

namespace SecureMail.Tests.Storage;

/// <summary>
/// Every write that is durable has a name, and each name stands once. That each has its row in the table of faults is a
/// test beside that table; that nothing else writes is seen where the table's courses run.
/// </summary>
public sealed partial class DurableCommitTests
{
    [Fact]
    public void Each_commit_has_a_name_of_its_own_that_is_written_where_it_is_made()
    {
        var names = DurableCommits.Names();
        names.Where(n => n is null).ShouldBeEmpty();
        names.Distinct().Count().ShouldBe(names.Count);
        names.ShouldAllBe(n => WellFormed().IsMatch(n!));
        // The scan sees commits of every kind: a transaction, a statement, and one that its caller began.
        names.ShouldContain("outbound.accept");
        names.ShouldContain("queue.retry");
        names.ShouldContain("ledger.checkpoint");
    }

    // What writes goes through InTransactionAsync. These hold a transaction open for longer, or only read in one.
    [Fact]
    public void There_is_one_way_to_begin_a_transaction() =>
        ProductCalls
            .Of("BeginTransactionAsync", "BeginTransaction")
            .Select(c => c.In)
            .Distinct()
            .ShouldBe(
                [
                    "DurableCommit", "LedgerSnapshot", "Migrator", "Receive", "RepeatedSubmission", "Sequencer",
                ],
                ignoreOrder: true);

    [GeneratedRegex("""^[a-z]+\.[a-z]+(-[a-z]+)*$""")]
    private static partial Regex WellFormed();
}
