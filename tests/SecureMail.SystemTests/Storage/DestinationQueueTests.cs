using System.Diagnostics;
using Npgsql;
using SecureMail.Host.Schema;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using Xunit.Abstractions;

namespace SecureMail.SystemTests.Storage;

/// <summary>Destinations on the queue itself: shares, back-off, the one probe, opening again, and what ten thousand
/// waiting rows cost.</summary>
public sealed class DestinationQueueTests(PostgresFixture postgres, ITestOutputHelper output)
    : IClassFixture<PostgresFixture>, IAsyncLifetime
{
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);
    private static readonly DestinationLimits Limits = new(4, 8);

    private NpgsqlDataSource _database = null!;
    private NpgsqlDataSource _owner = null!;
    private WorkQueue _queue = null!;
    private DestinationQueues _destinations = null!;

    public async Task InitializeAsync()
    {
        var owner = await postgres.CreateDatabaseAsync();
        await HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None);
        _owner = NpgsqlDataSource.Create(owner);
        _database = NpgsqlDataSource.Create(PostgresFixture.AsGateway(owner));
        _queue = new WorkQueue(_database);
        _destinations = new DestinationQueues(
            _database, new RetrySchedule(TimeSpan.FromMinutes(10), TimeSpan.FromHours(2)));
    }

    public async Task DisposeAsync()
    {
        await _database.DisposeAsync();
        await _owner.DisposeAsync();
    }

    [Fact]
    public async Task A_lane_has_its_share_of_each_node_and_no_more()
    {
        await FillAsync("b", 20);
        await FillAsync("c", 2);
        await FillAsync(null, 3);
        var one = await LeaseAsync("one");
        one.CountBy(i => i.Destination ?? "-")
            .ToDictionary(c => c.Key, c => c.Value)
            .ShouldBe(
                new Dictionary<string, int>
                {
                    ["b"] = 4,
                    ["c"] = 2,
                    ["-"] = 3,
                });
        (await LeaseAsync("one")).ShouldBeEmpty();
        (await LeaseAsync("two")).Select(i => i.Destination).ShouldBe(["b", "b", "b", "b"]);

        // A place that is free is taken by the oldest row that waits; a row that goes elsewhere waits there.
        await _queue.PutBackAsync(
            one.First(i => i.Destination == "b"), "ready", Minute, "later", countsAsAttempt: true,
            CancellationToken.None);
        await _queue.PutBackAsync(
            one.First(i => i.Destination is null), "ready", TimeSpan.Zero, "moved", countsAsAttempt: false,
            CancellationToken.None, "b");
        (await LeaseAsync("one")).ShouldHaveSingleItem().Destination.ShouldBe("b");
        (await _queue.ListAsync(CancellationToken.None)).Count(r => r.Destination is null).ShouldBe(2);
    }

    [Fact]
    public async Task No_more_rows_are_leased_than_there_are_slots_and_the_oldest_first()
    {
        foreach (var lane in new[] { "z", "y", "x" })
        {
            await FillAsync(lane, 6);
        }

        await FillAsync(null, 6);
        var rows = await _queue.LeaseAsync("send", "one", Minute, 5, Limits, CancellationToken.None);
        rows.CountBy(r => r.Destination ?? "-")
            .ToDictionary(c => c.Key, c => c.Value)
            .ShouldBe(new Dictionary<string, int> { ["z"] = 4, ["y"] = 1 });
    }

    [Fact]
    public async Task A_lane_that_backs_off_is_probed_by_one_row_and_opens_by_and_by()
    {
        await FillAsync("b", 20);
        await FillAsync("c", 1);
        var first = await LeaseAsync("one");
        foreach (var item in first.Where(i => i.Destination == "b"))
        {
            // Four attempts that were under way at once are one failure.
            await _destinations.FailedAsync("b", item.LeasedAt, "Connect", CancellationToken.None);
            await _queue.PutBackAsync(
                item, "ready", TimeSpan.Zero, "Connect", countsAsAttempt: false, CancellationToken.None);
        }

        var down = (await _destinations.BackingOffAsync(CancellationToken.None)).ShouldHaveSingleItem();
        (down.Destination, down.Failures, down.LastError, down.Waiting).ShouldBe(("b", 1, "Connect", 20));
        (down.NotBefore - DateTime.UtcNow).TotalMinutes.ShouldBeInRange(7, 13);
        (await LeaseAsync("one")).ShouldBeEmpty();

        // Its time has come: of six nodes that ask at once, one has the probe. While it runs nobody else goes, and it
        // is none of those tried before.
        await OwnerAsync("UPDATE gateway.destination SET not_before = now()");
        var probes = (await Task.WhenAll(Enumerable.Range(0, 6).Select(n => LeaseAsync($"node {n}"))))
            .SelectMany(p => p)
            .ToList();
        var probe = probes.ShouldHaveSingleItem();
        first.Select(f => f.Subject).ShouldNotContain(probe.Subject);
        await OwnerAsync("UPDATE gateway.destination SET not_before = now()");
        (await LeaseAsync("one")).ShouldBeEmpty();

        // It failed again: twice the time.
        await _destinations.FailedAsync("b", probe.LeasedAt, "Timeout", CancellationToken.None);
        await _queue.PutBackAsync(
            probe, "ready", TimeSpan.Zero, "Timeout", countsAsAttempt: false, CancellationToken.None);
        (
            (await _destinations.BackingOffAsync(CancellationToken.None)).Single().NotBefore - DateTime.UtcNow
        ).TotalMinutes.ShouldBeInRange(14, 26);

        // The next one gets through: two at once, then three, then its whole share.
        await OwnerAsync("UPDATE gateway.destination SET not_before = now()");
        var running = (await LeaseAsync("one")).ToList();
        running.Count.ShouldBe(1);
        List<int> opening = [];
        while (opening.Count < 4)
        {
            await running[0].DropAsync(_database, CancellationToken.None);
            running.RemoveAt(0);
            await _destinations.ReachedAsync("b", CancellationToken.None);
            running.AddRange(await LeaseAsync("one"));
            opening.Add(running.Count);
        }

        opening.ShouldBe([2, 3, 4, 4]);
        (await _destinations.BackingOffAsync(CancellationToken.None)).ShouldBeEmpty();
        output.WriteLine(
            "20 rows behind one dead destination, 6 nodes: 1 probe at a time; open again with "
                + $"{string.Join(", ", opening)} at once"
        );
    }

    [Fact]
    public async Task However_many_destinations_are_dead_half_of_the_slots_are_for_the_living()
    {
        for (var n = 0; n < 20; n++)
        {
            await FillAsync($"dead{n}", 3);
            await _destinations.FailedAsync($"dead{n}", DateTime.UtcNow, "Timeout", CancellationToken.None);
        }

        await FillAsync("alive", 3);
        await OwnerAsync("UPDATE gateway.destination SET not_before = now()");
        var leased = await LeaseAsync("one");
        leased.Count(i => i.Destination!.StartsWith("dead", StringComparison.Ordinal)).ShouldBe(8);
        leased.Count(i => i.Destination == "alive").ShouldBe(3);
        await FillAsync("alive too", 3);
        (await LeaseAsync("one")).Select(i => i.Destination).Distinct().ShouldBe(["alive too"]);
    }

    [Fact]
    public async Task A_person_who_asks_for_a_row_has_its_lane_probed_at_once()
    {
        await FillAsync("b", 2);
        await _destinations.FailedAsync("b", DateTime.UtcNow, "TlsRefused", CancellationToken.None);
        (await LeaseAsync("one")).ShouldBeEmpty();
        var row = (await _queue.ListAsync(CancellationToken.None))[1];
        row.DestinationNotBefore.ShouldNotBeNull();
        (await RetryAsync(row.Id)).ShouldBe(row.Subject);
        (await RetryAsync(-1)).ShouldBeNull();
        (await LeaseAsync("one")).ShouldHaveSingleItem();
    }

    [Fact]
    public async Task Ten_thousand_rows_behind_dead_destinations_cost_the_living_nothing()
    {
        await OwnerAsync(
            "INSERT INTO gateway.work (kind, subject, lane) SELECT 'send', gen_random_uuid(), 'dead' || (i % "
                + "5) FROM generate_series(1, 10000) i"
        );
        for (var n = 0; n < 5; n++)
        {
            await _destinations.FailedAsync($"dead{n}", DateTime.UtcNow, "Connect", CancellationToken.None);
        }

        await FillAsync("alive", 400);
        await OwnerAsync("ANALYZE gateway.work");
        List<double> took = [];
        for (var n = 0; n < 100; n++)
        {
            var started = Stopwatch.GetTimestamp();
            var leased = await LeaseAsync("one");
            took.Add(Stopwatch.GetElapsedTime(started).TotalMilliseconds);
            leased.Select(l => l.Destination).ShouldBe(["alive", "alive", "alive", "alive"]);
            foreach (var item in leased)
            {
                await item.DropAsync(_database, CancellationToken.None);
            }
        }

        await OwnerAsync(
            "UPDATE gateway.work SET batch = gen_random_uuid() WHERE lane LIKE 'dead%'; ANALYZE gateway.work");
        var plan = await PlanAsync();
        // Not one plan node reads more than the few rows it needs.
        plan.Nodes.ShouldAllBe(n => n.Rows <= 100, plan.Text);
        plan.Text.ShouldNotContain("Seq Scan on work");
        took.Sort();
        output.WriteLine(
            $"10,000 rows behind 5 dead destinations: a lease of 4 took {took[50]:0.0} ms at the median, "
                + $"{took[99]:0.0} ms at most; the widest plan node read {plan.Nodes.Max(n => n.Rows)} rows"
        );
    }

    private async Task<(string Text, List<(string Node, double Rows)> Nodes)> PlanAsync()
    {
        await using var connection = await _database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var command = new NpgsqlCommand(
            $"EXPLAIN (ANALYZE) {LeaseByDestination.Pick(16, Limits)} SELECT * FROM pick", connection, transaction);
        command.Parameters.AddWithValue("kind", "send");
        command.Parameters.AddWithValue("owner", "one");
        command.Parameters.AddWithValue("lease", Minute);
        List<string> lines = [];
        await using (var reader = await command.ExecuteReaderAsync())
        {
            while (await reader.ReadAsync())
            {
                lines.Add(reader.GetString(0));
            }
        }

        await transaction.RollbackAsync();
        var nodes = lines
            .Select(l =>
                System.Text.RegularExpressions.Regex.Match(
                    l, @"^\s*(?:->)?\s*(.*?)\s+\(cost.*actual time=\S+ rows=([\d.]+)"))
            .Where(m => m.Success)
            .Select(m =>
                (m.Groups[1].Value, double.Parse(m.Groups[2].Value, System.Globalization.CultureInfo.InvariantCulture)))
            .ToList();
        nodes.Count.ShouldBeGreaterThan(10);
        return (string.Join('\n', lines), nodes);
    }

    [Fact]
    public async Task Rows_of_one_batch_are_leased_together_and_take_one_place_of_their_lane()
    {
        var (large, small) = (Guid.NewGuid(), Guid.NewGuid());
        await FillAsync("b", WorkQueue.LargestBatch + 50, large);
        await FillAsync("b", 3, small);
        await FillAsync("c", 2, large);
        await FillAsync("b", 10);

        // Of the large one no more than a mail may have recipients; another destination's rows of it are by themselves.
        var first = await _queue.LeaseAsync(
            "send", "one", Minute, 2, new DestinationLimits(1, 8), CancellationToken.None);
        first.Select(i => (i.Destination, i.All.Count)).Order().ShouldBe([("b", WorkQueue.LargestBatch), ("c", 2)]);
        first.SelectMany(i => i.All).Select(i => i.Subject).Distinct().Count().ShouldBe(WorkQueue.LargestBatch + 2);
        (
            await _queue.LeaseAsync("send", "one", Minute, 2, new DestinationLimits(1, 8), CancellationToken.None)
        ).ShouldBeEmpty();
        (await _queue.LeaseAsync("send", "one", Minute, 16, new DestinationLimits(2, 8), CancellationToken.None))
            .ShouldHaveSingleItem()
            .All.Count.ShouldBe(50);
        // The large one takes one place of four, the small one the second.
        (await LeaseAsync("one")).Select(i => i.All.Count).ShouldBe([3]);
        (await LeaseAsync("one")).Select(i => i.All.Count).ShouldBe([1, 1]);
        (await LeaseAsync("one")).ShouldBeEmpty();

        // They are renewed together, also when one was done before the others.
        var together = first.Single(i => i.Destination == "c");
        await together.All[1].DropAsync(_database, CancellationToken.None);
        (await _queue.RenewAsync(together, Minute, CancellationToken.None)).ShouldBeTrue();
        await WorkItem.RequireLeasesAsync([together], _database, CancellationToken.None);
        await Should.ThrowAsync<LeaseLostException>(() =>
            WorkItem.RequireLeasesAsync(together.All, _database, CancellationToken.None));
        await together.DropAsync(_database, CancellationToken.None);
        (await _queue.RenewAsync(together, Minute, CancellationToken.None)).ShouldBeFalse();
    }

    private async Task FillAsync(string? lane, int rows, Guid? batch = null)
    {
        await using var connection = await _database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        for (var n = 0; n < rows; n++)
        {
            await WorkQueue.EnqueueAsync(transaction, "send", Guid.NewGuid(), destination: lane, batch: batch);
        }

        await transaction.CommitAsync();
    }

    private Task<IReadOnlyList<WorkItem>> LeaseAsync(string owner) =>
        _queue.LeaseAsync("send", owner, Minute, 16, Limits, CancellationToken.None);

    private async Task OwnerAsync(string sql)
    {
        await using var command = _owner.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }

    private Task<Guid?> RetryAsync(long id) =>
        _database.InTransactionAsync(
            "queue.retry", t => WorkQueue.RetryAsync(t, id, CancellationToken.None), CancellationToken.None);
}
