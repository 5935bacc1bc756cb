using System.Text.RegularExpressions;

namespace SecureMail.Tests.Storage;

/// <summary>
/// The list of commits is the source's own: every write that is durable has a name, each name stands once, and each has
/// its row in the table that kills the process there. A commit without one fails here.
/// </summary>
public sealed partial class DurableCommitTests
{
    private static readonly string Root = Repository.Root;

    private static readonly List<(string File, string Text)> Sources =
    [
        .. Directory
            .EnumerateFiles(Path.Combine(Root, "src"), "*.cs", SearchOption.AllDirectories)
            .Where(f =>
                !f.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal))
            .Select(f => (Path.GetRelativePath(Root, f), File.ReadAllText(f))),
    ];

    private static List<string> Points =>
        [.. Sources.SelectMany(s => Named().Matches(s.Text)).Select(m => m.Groups["point"].Value)];

    [Fact]
    public void Each_commit_has_a_name_of_its_own()
    {
        Points.Count.ShouldBeGreaterThan(20);
        Points.GroupBy(p => p).Where(g => g.Count() > 1).Select(g => g.Key).ShouldBeEmpty();
        Points.ShouldAllBe(p => WellFormed().IsMatch(p));
    }

    [Fact]
    public void Each_commit_is_visited_by_the_table_of_faults_and_the_table_names_no_other()
    {
        var table = File.ReadAllText(
            Path.Combine(Root, "tests", "SecureMail.FaultTests", "CommitPoints.cs"));
        Row().Matches(table).Select(m => m.Groups["point"].Value).Order().ShouldBe(Points.Order());
    }

    [Fact]
    public void No_statement_that_writes_stands_outside_a_transaction_or_a_named_commit()
    {
        var bare = new List<string>();
        var seen = 0;
        foreach (var (file, text) in Sources)
        {
            foreach (Match write in Write().Matches(text))
            {
                seen++;
                // The statement of C# round it: from the semicolon or brace before to the end of the line that closes
                // it.
                var begin = text.LastIndexOfAny([';', '{', '}'], Math.Max(0, write.Index - 1));
                begin = begin < 0 ? 0 : text.LastIndexOf('\n', Math.Max(0, begin));
                var behind = write.Index + write.Length;
                // Semicolons within the SQL do not count.
                var end = text.IndexOf(
                    ";\n",
                    write.Value.StartsWith("\"\"\"", StringComparison.Ordinal)
                        ? text.IndexOf("\"\"\"", behind, StringComparison.Ordinal)
                        : behind,
                    StringComparison.Ordinal);
                var statement = text[Math.Max(0, begin)..(end < 0 ? text.Length : end)];
                if (!statement.Contains("transaction", StringComparison.OrdinalIgnoreCase)
                    && !statement.Contains("CommitAsync(\"", StringComparison.Ordinal))
                {
                    bare.Add($"{file}: {write.Value.Trim()}");
                }
            }
        }

        seen.ShouldBeGreaterThan(30);
        bare.ShouldBeEmpty();
    }

    // What writes goes through InTransactionAsync. These hold a transaction open for longer, or only read in one.
    private static readonly string[] Beginners =
    [
        "DurableCommit.cs", "LedgerSnapshot.cs", "Migrator.cs", "Receive.cs", "RepeatedSubmission.cs", "Sequencer.cs",
    ];

    [Fact]
    public void There_is_one_way_to_begin_a_transaction() =>
        Directory
            .GetFiles(Path.Combine(Root, "src"), "*.cs", SearchOption.AllDirectories)
            .Where(f => File.ReadAllText(f).Contains(".BeginTransaction", StringComparison.Ordinal))
            .Select(f => Path.GetFileName(f))
            .Order()
            .ShouldBe(Beginners);

    [GeneratedRegex("""\.(?:CommitAsync|InTransactionAsync)\(\s*"(?<point>[^"]+)",""")]
    private static partial Regex Named();

    [GeneratedRegex("""^[a-z]+\.[a-z]+(-[a-z]+)*$""")]
    private static partial Regex WellFormed();

    [GeneratedRegex("""\["(?<point>[a-z.-]+)"\] =""")]
    private static partial Regex Row();

    [GeneratedRegex("(\"|\"\"\"\\s*\\n\\s*)(INSERT INTO|UPDATE [a-z]+\\.|DELETE FROM)")]
    private static partial Regex Write();
}
