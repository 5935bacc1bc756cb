using System.Collections.Concurrent;
using System.Diagnostics;
using Xunit.Abstractions;

namespace SecureMail.SystemTests.Faults;

/// <summary>Every commit, four times: killed before it, killed after it, the write fails, the write is durable and its
/// answer lost.</summary>
[Collection("postgres")]
public sealed class CommitFaultTests(PostgresFixture postgres, ITestOutputHelper output)
{
    // Two cores; most of a visit is waiting for processes to start.
    private const int AtOnce = 4;

    [Theory]
    [InlineData("kill-before")]
    [InlineData("kill-after")]
    public Task A_process_killed_at_any_commit_takes_up_where_it_was(string kind) => VisitAllAsync(kind);

    [Theory]
    [InlineData("fail")]
    [InlineData("lose-answer")]
    public Task A_write_that_fails_or_whose_answer_is_lost_changes_nothing_in_the_end(string kind) =>
        VisitAllAsync(kind);

    private async Task VisitAllAsync(string kind)
    {
        var clock = Stopwatch.StartNew();
        var failures = new ConcurrentDictionary<string, string>();
        var only = Environment.GetEnvironmentVariable("SECUREMAIL_TEST_POINT");
        var points = CommitPoints.All.Where(p => only is null || p.Key == only).ToList();
        await Parallel.ForEachAsync(points, new ParallelOptions { MaxDegreeOfParallelism = AtOnce }, async (point, _) =>
        {
            await using var run = new FaultRun(postgres, kind, point.Key);
            try
            {
                await point.Value(run);
            }
            catch (Exception e)
            {
                failures[point.Key] = $"{e}\n{run.Said}";
            }
        });
        output.WriteLine(
            $"{kind}: {points.Count} commits visited, {failures.Count} failed, {clock.Elapsed.TotalSeconds:F1} s");
        failures.Select(f => $"{kind} {f.Key}: {f.Value}").ShouldBeEmpty();
    }
}
