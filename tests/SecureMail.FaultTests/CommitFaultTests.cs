using System.Collections.Concurrent;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using SecureMail.Gateway.Vocabulary;
using SecureMail.TestKit.Probes;
using Xunit.Abstractions;

namespace SecureMail.FaultTests;

/// <summary>Every commit, four times: killed before it, killed after it, the write fails, the write is durable and its
/// answer lost.</summary>
public sealed class CommitFaultTests(PostgresFixture postgres, ITestOutputHelper output)
    : IClassFixture<PostgresFixture>
{
    [Theory]
    [InlineData("kill-before")]
    [InlineData("kill-after")]
    public Task A_process_killed_at_any_commit_takes_up_where_it_was(string kind) => VisitAllAsync(kind);

    [Theory]
    [InlineData("fail")]
    [InlineData("lose-answer")]
    public Task A_write_that_fails_or_whose_answer_is_lost_changes_nothing_in_the_end(string kind) =>
        VisitAllAsync(kind);

    private Task VisitAllAsync(string kind)
    {
        var only = Environment.GetEnvironmentVariable("SECUREMAIL_TEST_POINT");
        return CommitVisits.VisitAsync(
            postgres, output, [.. CommitPoints.All.Keys.Where(p => only is null || p == only).Select(p => (kind, p))]);
    }
}

/// <summary>Three commits for each kind of fault. SECUREMAIL_COMMIT_SAMPLE chooses them: scripts/test gives the hash of
/// the commit under test, so that in time every visit is made.</summary>
public sealed class CommitSampleTests(PostgresFixture postgres, ITestOutputHelper output)
    : IClassFixture<PostgresFixture>
{
    private const int OfEachKind = 3;

    [Fact]
    public void The_table_has_a_course_for_each_commit_of_the_product_and_no_other() =>
        CommitPoints.All.Keys.ShouldBe(DurableCommits.Names(), ignoreOrder: true);

    [Fact]
    public async Task A_write_without_a_name_is_seen()
    {
        await using var run = new FaultRun(postgres, "none", "none");
        await run.OpenAsync();
        await run.SubmitAsync();
        await run.EveryWriteWasNamedAsync();

        var asGateway = new GatewayProbe(PostgresServer.AsGateway(run.A.Owner));
        await asGateway.Queue.AddAsync(WorkKind.Validate);

        (await run.A.Probe.Commits.UnnamedAsync()).ShouldBe(["INSERT gateway.work"]);
    }

    [Fact]
    public Task A_fault_at_one_of_these_commits_changes_nothing_in_the_end()
    {
        var seed = Environment.GetEnvironmentVariable("SECUREMAIL_COMMIT_SAMPLE") ?? "";
        var visits = new[] { "kill-before", "kill-after", "fail", "lose-answer" }
            .SelectMany(kind =>
                CommitPoints.All.Keys
                    .OrderBy(p => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes($"{seed} {kind} {p}"))))
                    .Take(OfEachKind)
                    .Select(p => (kind, p)))
            .ToList();
        output.WriteLine($"sample {seed}: {string.Join(", ", visits.Select(v => $"{v.kind} {v.p}"))}");
        return CommitVisits.VisitAsync(postgres, output, visits);
    }
}

internal static class CommitVisits
{
    // Two cores; most of a visit is waiting for processes to start.
    private const int AtOnce = 4;

    public static async Task VisitAsync(
        PostgresServer postgres, ITestOutputHelper output, IReadOnlyList<(string Kind, string Point)> visits)
    {
        var clock = Stopwatch.StartNew();
        var failures = new ConcurrentBag<string>();
        await Parallel.ForEachAsync(
            visits, new ParallelOptions { MaxDegreeOfParallelism = AtOnce }, async (visit, _) =>
            {
                await using var run = new FaultRun(postgres, visit.Kind, visit.Point);
                try
                {
                    await CommitPoints.All[visit.Point](run);
                    await run.EveryWriteWasNamedAsync();
                }
                catch (Exception e)
                {
                    failures.Add($"{visit.Kind} {visit.Point}: {e}\n{run.Said}");
                }
            });
        output.WriteLine(
            $"{visits.Count} commits visited, {failures.Count} failed, {clock.Elapsed.TotalSeconds:F1} s");
        failures.ShouldBeEmpty();
    }
}
