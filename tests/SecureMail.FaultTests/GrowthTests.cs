using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Retention;
using SecureMail.Host.Schema;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.TestKit.Probes;
using Xunit.Abstractions;

namespace SecureMail.FaultTests;

/// <summary>
/// What the database becomes with time. Here a month scaled down; <c>scripts/growth</c> runs the same with a year of
/// 2,000 dispatches a day (<c>SECUREMAIL_GROWTH=DAYSxPERDAY</c>) and prints the table of docs/growth.md.
/// </summary>
public sealed class GrowthTests(PostgresFixture postgres, ITestOutputHelper output) : IClassFixture<PostgresFixture>
{
    private static readonly string[] Schema1 = ["0001_ledger.sql", "0001_gateway.sql"];
    private readonly StringBuilder _table = new();

    [Fact]
    public async Task A_long_time_of_traffic_leaves_the_daily_questions_fast_and_retention_gives_the_space_back()
    {
        var (days, perDay) = Environment.GetEnvironmentVariable("SECUREMAIL_GROWTH")?.Split('x') is [var d, var p]
            ? (int.Parse(d, CultureInfo.InvariantCulture), int.Parse(p, CultureInfo.InvariantCulture))
            : (60, 60);
        var patience = TimeSpan.FromSeconds(
            int.Parse(
                Environment.GetEnvironmentVariable("SECUREMAIL_GROWTH_SECONDS") ?? "600", CultureInfo.InvariantCulture)
        );
        var started = Stopwatch.GetTimestamp();
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.ListeningAsync();
        await ExchangeAsync(pair);
        await pair.A.Probe.WaitUntilQuietAsync();
        var recipient = await pair.A.Probe.Outgoing.AnyRecipientAsync();
        var database = new ProbeDatabase(pair.A.Owner);
        var load = new GrowthLoad(pair.A);
        var empty = await MeasureAsync(
            pair.A, (await pair.A.Node.Outgoing.ListAsync(1, CancellationToken.None))[0].Id, "01-CV/VPTU");
        await pair.A.Probe.WaitUntilQuietAsync();
        await load.StartAsync();
        var loading = Stopwatch.GetTimestamp();
        var first = new DateTimeOffset(DateTimeOffset.UtcNow.Date, TimeSpan.Zero).AddDays(-days - 1);
        for (var day = 0; day < days; day++)
        {
            // A machine that is too slow for all of them says how far it came.
            if (Stopwatch.GetElapsedTime(loading) > patience)
            {
                days = day;
                break;
            }

            await load.DayAsync(first.AddDays(day), perDay, recipient, day == 20);
        }

        await load.FinishAsync();

        var loaded = Stopwatch.GetElapsedTime(loading);
        await database.ExecuteAsync("VACUUM ANALYZE");
        var sizesFull = await SizesAsync(pair.A);
        var full = await MeasureAsync(pair.A, load.Middle, load.MiddleNumber);

        var sweeping = Stopwatch.GetTimestamp();
        var swept = await SweepForAsync(pair.A, TimeSpan.FromSeconds(days > 100 ? 180 : 30));
        var sweepTime = Stopwatch.GetElapsedTime(sweeping);
        await database.ExecuteAsync("VACUUM ANALYZE");
        var reused = await database.ScalarAsync<long>("SELECT pg_total_relation_size('gateway.blob_chunk_first')");
        var dead = await database.ScalarAsync<decimal>("SELECT coalesce(sum(octets), 0) FROM gateway.sweep");
        var sizesSwept = await SizesAsync(pair.A);
        var after = await MeasureAsync(pair.A, load.Middle, load.MiddleNumber);
        await ExchangeAsync(pair);
        await pair.A.Probe.WaitUntilQuietAsync();
        var verifying = Stopwatch.GetTimestamp();
        var report = await LedgerVerifier.VerifyAsync(
            pair.A.Node.Database.Source, pair.A.Node.Identity.Ledger.Verifier, [], CancellationToken.None);
        var verified = Stopwatch.GetElapsedTime(verifying);
        // The load's cosignatures are words of the right length; everything else is real.
        report.Problems.Where(x => x.Code is not ("cosignature" or "more")).ShouldBeEmpty();

        _table.AppendLine(
            CultureInfo.InvariantCulture,
            $"{days} days of {perDay} dispatches, blobs of {GrowthLoad.BlobOctets} octets, {load.Entries} "
                + $"ledger entries; loaded in {loaded.TotalSeconds:0} s"
        );
        _table.AppendLine("| table | MiB loaded | MiB after retention |").AppendLine("|---|---|---|");
        foreach (var (name, octets) in sizesFull.OrderByDescending(s => s.Value).Take(20))
        {
            _table.AppendLine(
                CultureInfo.InvariantCulture,
                $"| {name} | {octets / 1048576.0:0.0} | {sizesSwept.GetValueOrDefault(name) / 1048576.0:0.0} |");
        }

        _table.AppendLine(
            CultureInfo.InvariantCulture,
            $"| sum | {sizesFull.Values.Sum() / 1048576.0:0.0} | {sizesSwept.Values.Sum() / 1048576.0:0.0} |");
        _table
            .AppendLine()
            .AppendLine("| question | ms empty | ms loaded | ms after retention |")
            .AppendLine("|---|---|---|---|");
        foreach (var (name, ms) in full)
        {
            _table.AppendLine(
                CultureInfo.InvariantCulture, $"| {name} | {empty[name]:0.00} | {ms:0.00} | {after[name]:0.00} |");
        }

        _table.AppendLine(
            CultureInfo.InvariantCulture,
            $"retention: {string.Join(", ", swept.Select(s => $"{s.Key} {s.Value}"))}; {dead} octets of blobs "
                + $"destroyed in {sweepTime.TotalSeconds:0.0} s, chunk table {reused >> 20} MiB; ledger of "
                + $"{report.Entries} verified in {verified.TotalSeconds:0.0} s"
        );
        output.WriteLine(_table.ToString());
        if (Environment.GetEnvironmentVariable("SECUREMAIL_GROWTH_TABLE") is { } file)
        {
            await File.WriteAllTextAsync(file, _table.ToString());
        }

        // Generous: the machine is shared. What grows with the rows shows in the factor between empty and loaded.
        foreach (var (name, ms) in after.Where(m => m.Key is not "ledger overview"))
        {
            ms.ShouldBeLessThan((empty[name] * 20) + 250, name);
        }

        output.WriteLine(
            $"{days} days x {perDay} dispatches: slowest question {after.MaxBy(m => m.Value).Key} "
                + $"{after.Values.Max():0.0} ms, {swept.Values.Sum()} rows swept, ledger verified, "
                + $"{Stopwatch.GetElapsedTime(started).TotalSeconds:0.0} s"
        );
    }

    [Fact]
    public async Task A_database_of_the_first_schema_becomes_partitions_while_nodes_of_that_build_write_into_it()
    {
        var owner = await postgres.CreateDatabaseAsync();
        await ApplyFirstSchemaAsync(owner);
        var folder = Directory.CreateTempSubdirectory("smgrow").FullName;
        using var key = LedgerKey.Create(Path.Combine(folder, "log.pem"), "a.example/ledger", NoteKeyKind.Log);
        await using var source = NpgsqlDataSource.Create(PostgresFixture.AsGateway(owner));
        // Writers of the build before: their statements are these, only the schema under them changes. Only they know
        // columns of the first schema alone.
        var keys = StorageKeys.Open(Path.Combine(folder, "storage"));
        var blobs = new BlobStore(source, keys);
        var before = await WriteAsync(source, blobs, 200);
        var sequencer = new Sequencer(
            source, key, new SequencerOptions(), TimeProvider.System, NullLogger.Instance);
        await sequencer.RunOnceAsync(CancellationToken.None);
        var lastBefore = await ScalarAsync<long>(owner, "SELECT max(entry_id) FROM ledger.entry");

        using var stop = new CancellationTokenSource();
        var writer = Task.Run(async () =>
        {
            List<(Guid, byte[])> written = [];
            while (!stop.IsCancellationRequested)
            {
                try
                {
                    written.AddRange(await WriteAsync(source, blobs, 2));
                }
                catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.DeadlockDetected)
                {
                    // As the flows do: once more.
                }
            }

            return written;
        });
        var migrating = Stopwatch.GetTimestamp();
        (await HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None)).ShouldContain(
            "ledger/0002_partitions.sql");
        var took = Stopwatch.GetElapsedTime(migrating);
        var soFar = await ScalarAsync<long>(owner, "SELECT count(*) FROM ledger.entry");
        await TwoGateways.EventuallyAsync(
            async () =>
                await ScalarAsync<long>(owner, "SELECT count(*) FROM ledger.entry") > soFar + 20 ? "more" : null,
            "writers that go on after the migration");
        await stop.CancelAsync();
        var during = await writer;
        await sequencer.RunOnceAsync(CancellationToken.None);

        // Nothing is lost, ids only rise, the next partitions are there, and the role still may change nothing.
        foreach (var (id, octets) in before.Concat(during))
        {
            (await blobs.ReadAllAsync(id, octets.Length, CancellationToken.None)).ShouldBe(octets);
        }

        (await ScalarAsync<long>(owner, "SELECT count(*) FROM ledger.entry")).ShouldBe(before.Count + during.Count);
        (await LedgerVerifier.VerifyAsync(source, key.Verifier, [], CancellationToken.None)).Problems.ShouldBeEmpty();
        (await ScalarAsync<long>(owner, "SELECT count(*) FROM ledger.entry_first")).ShouldBe(
            before.Count + during.Count);
        (await ScalarAsync<long>(owner, "SELECT last_value FROM ledger.entry_entry_id_seq")).ShouldBeGreaterThan(
            lastBefore);
        foreach (var table in new[] { "ledger.entry", "ledger.entry_first", "ledger.entry_default" })
        {
            foreach (
                var sql in new[]
                {
                    $"UPDATE {table} SET kind = 'x'",
                    $"DELETE FROM {table}",
                    $"TRUNCATE {table}",
                    $"DROP TABLE {table}",
                })
            {
                (
                    await Should.ThrowAsync<PostgresException>(() =>
                        ScalarAsync<int>(PostgresFixture.AsGateway(owner), sql))
                ).SqlState.ShouldBe(PostgresErrorCodes.InsufficientPrivilege);
            }
        }

        // Ids that no partition was made for go into the default one, and to their place when it is made.
        await ScalarAsync<long>(owner, "SELECT setval('ledger.entry_entry_id_seq', 9000000)");
        var late = await WriteAsync(source, blobs, 3);
        (await ScalarAsync<long>(owner, "SELECT count(*) FROM ledger.entry_default")).ShouldBe(3);
        (
            await ScalarAsync<int>(PostgresFixture.AsGateway(owner), "SELECT ledger.make_partitions()")
        ).ShouldBeGreaterThan(0);
        (await ScalarAsync<long>(owner, "SELECT count(*) FROM ledger.entry_default")).ShouldBe(0);
        await sequencer.RunOnceAsync(CancellationToken.None);
        (await LedgerVerifier.VerifyAsync(source, key.Verifier, [], CancellationToken.None)).Problems.ShouldBeEmpty();

        // A year of octets that is over: emptied, it is dropped at once; one that holds anything is not.
        await ScalarAsync<int>(
            owner, "SELECT 1; ALTER TABLE gateway.blob_chunk DETACH PARTITION gateway.blob_chunk_first");
        await ScalarAsync<int>(
            owner,
            "ALTER TABLE gateway.blob_chunk ATTACH PARTITION gateway.blob_chunk_first FOR VALUES FROM "
                + "(gateway.uuid_at('2026-01-01')) TO (gateway.uuid_at(now() + interval '1 day'))"
        );
        await ScalarAsync<int>(
            owner,
            "CREATE TABLE gateway.blob_chunk_2024 PARTITION OF gateway.blob_chunk FOR VALUES FROM "
                + "(gateway.uuid_at('2024-01-01')) TO (gateway.uuid_at('2025-01-01'))"
        );
        await ScalarAsync<int>(
            owner,
            "WITH b AS (INSERT INTO gateway.blob (blob_id, length, sha256, storage_key, wrapped_key) VALUES "
                + "(gateway.uuid_at('2024-05-01'), 1, sha256('x'), 'k', 'w') RETURNING blob_id) INSERT INTO "
                + "gateway.blob_chunk SELECT blob_id, 0, 'x' FROM b"
        );
        (await ScalarAsync<int>(PostgresFixture.AsGateway(owner), "SELECT gateway.drop_empty_partitions()")).ShouldBe(
            0);
        await ScalarAsync<int>(
            PostgresFixture.AsGateway(owner),
            "DELETE FROM gateway.blob_chunk WHERE blob_id < '019b0000-0000-0000-0000-000000000000' AND octets = 'x'");
        (await ScalarAsync<int>(PostgresFixture.AsGateway(owner), "SELECT gateway.drop_empty_partitions()")).ShouldBe(
            1);
        Directory.Delete(folder, recursive: true);
        output.WriteLine(
            $"{before.Count} entries and blobs of the first schema, {during.Count} written while it was "
                + $"migrated in {took.TotalSeconds:0.0} s, {late.Count} after: none lost, 1 empty year dropped"
        );
    }

    private static async Task ApplyFirstSchemaAsync(string owner)
    {
        await using var connection = new NpgsqlConnection(owner);
        await connection.OpenAsync();
        await connection.ExecuteAsync(
            """
            CREATE SCHEMA gateway; CREATE SCHEMA ledger; CREATE SCHEMA quartz;
            CREATE TABLE gateway.schema_version (
              name text PRIMARY KEY, sha256 bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
            GRANT USAGE ON SCHEMA gateway, ledger, quartz TO securemail_gateway;
            GRANT SELECT ON gateway.schema_version TO securemail_gateway;
            INSERT INTO gateway.schema_version (name, sha256)
            VALUES ('quartz/4.7', sha256('the scheduler of that build'));
            """
        );
        foreach (
            var (name, sql) in HostSchema.Migrator.Known.Where(m =>
                Schema1.Any(f => m.Name.Contains(f, StringComparison.Ordinal))))
        {
            await using var command = new NpgsqlCommand(sql, connection);
            await command.ExecuteNonQueryAsync();
            await connection.ExecuteAsync(
                "INSERT INTO gateway.schema_version (name, sha256) VALUES (@name, @digest)",
                new { name, digest = SHA256.HashData(Encoding.UTF8.GetBytes(sql.ReplaceLineEndings("\n"))) });
        }
    }

    private static async Task<List<(Guid, byte[])>> WriteAsync(NpgsqlDataSource source, BlobStore blobs, int many)
    {
        List<(Guid, byte[])> written = [];
        await using var connection = await source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        for (var n = 0; n < many; n++)
        {
            var octets = RandomNumberGenerator.GetBytes(3000);
            written.Add(
                ((await blobs.WriteAsync(transaction, new MemoryStream(octets), CancellationToken.None)).Id, octets));
            await StoredLedger.AppendAsync(
                transaction,
                new LedgerEntry
                {
                    Time = DateTimeOffset.UtcNow,
                    Agency = Guid.Parse("0195536e-8f00-7000-8000-000000000001"),
                    Kind = "dispatch.accepted",
                    Object = $"object-{n}",
                },
                CancellationToken.None);
        }

        await transaction.CommitAsync();
        return written;
    }

    private static async Task ExchangeAsync(TwoGateways pair)
    {
        var sent = await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        await pair.A.OutgoingAsync(sent.DispatchId, o => o.Recipients.All(r => r.State == "acknowledged"));
    }

    /// <summary>Retention with its standard terms, for at most so long; how many rows of each kind went.</summary>
    private static async Task<Dictionary<string, long>> SweepForAsync(RunningGateway gateway, TimeSpan most)
    {
        using var stop = new CancellationTokenSource(most);
        try
        {
            await gateway.Sweeper(new RetentionOptions()).RunAsync(stop.Token);
        }
        catch (Exception) when (stop.IsCancellationRequested)
        {
            // The rest goes another hour.
        }

        await using var connection = new NpgsqlConnection(gateway.Owner);
        return (
            await connection.QueryAsync<(string Kind, decimal Rows)>(
                "SELECT kind, sum(rows) FROM gateway.sweep GROUP BY kind ORDER BY kind")
        ).ToDictionary(r => r.Kind, r => (long)r.Rows);
    }

    private static async Task<Dictionary<string, long>> SizesAsync(RunningGateway gateway)
    {
        await using var connection = new NpgsqlConnection(gateway.Owner);
        return (
            await connection.QueryAsync<(string, long)>(
                """
                SELECT n.nspname || '.' || c.relname, pg_total_relation_size(c.oid)
                FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname IN ('gateway', 'ledger', 'hangfire') AND c.relkind = 'r'
                """
            )
        ).ToDictionary(r => r.Item1, r => r.Item2);
    }

    /// <summary>The median of five, in milliseconds, of what the product asks all day.</summary>
    private static async Task<Dictionary<string, double>> MeasureAsync(
        RunningGateway gateway, Guid dispatch, string number)
    {
        var node = gateway.Node;
        var source = node.Database.Source;
        var none = CancellationToken.None;
        var entry = await gateway.Probe.Outgoing.AcceptedEntryAsync(dispatch);
        await using var connection = await source.OpenConnectionAsync();
        var results = new Dictionary<string, double>();
        async Task Time(string name, Func<Task> ask)
        {
            var times = new List<double>();
            for (var n = 0; n < 5; n++)
            {
                var start = Stopwatch.GetTimestamp();
                await ask();
                times.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
            }

            times.Sort();
            results[name] = times[2];
        }

        await Time("register of outgoing, newest 50", () => node.Outgoing.ListAsync(50, none));
        await Time("register of incoming, newest 50", () => node.Incoming.ListAsync(null, null, 50, none));
        await Time("inbox of one agency, newest 50", () =>
            node.Incoming.ListAsync(TwoGateways.Province, "inbox", 50, none));
        await Time("quarantine, newest 50", () => node.Incoming.ListAsync(null, "quarantine", 50, none));
        await Time("one dispatch", () => node.Outgoing.FindAsync(dispatch, none));
        await Time("story of a dispatch", () => node.Ledger.AuditTrailAsync(dispatch, none));
        await Time("search by number", () => connection.QueryAsync<Guid>(
                "SELECT dispatch_id FROM gateway.outgoing WHERE agency_id = (SELECT agency_id FROM "
                    + "gateway.outgoing WHERE dispatch_id = @dispatch) AND number_body = 'VPTU' AND number_type = 'CV' "
                    + "AND number_period = @period AND number_value = @value",
                new
                {
                    dispatch,
                    value = SecureMail.Exchange.NumberAndNotation.TryParse(number)!.Value,
                    period = $"{DateTimeOffset.UtcNow.Year}",
                }));
        await Time("duplicate?", () =>
            connection.QueryAsync<Guid>(
                "SELECT incoming_id FROM gateway.seen WHERE recipient_id = @dispatch AND sender_id = "
                    + "@dispatch AND dispatch_id = @dispatch",
                new { dispatch }));
        await Time("queue lease", () =>
            node.Queue.LeaseAsync("nothing", "test", TimeSpan.FromSeconds(1), 16, null, none));
        await Time("ledger append, chained, and commit", () => AppendAsync(source));
        var sequencer = new Sequencer(
            source, node.Identity.Ledger, new SequencerOptions(), TimeProvider.System, NullLogger.Instance);
        await Time("sequencer: one entry to checkpoint", async () =>
        {
            await AppendAsync(source);
            await sequencer.RunOnceAsync(none);
        });
        await Time("ledger proof", () => EvidenceBuilder.BuildAsync(connection, entry, [1, 7], [], none));
        await Time("ledger overview", () => node.Ledger.OverviewAsync(none));
        await Time("newest 100 entries", () => node.Ledger.ListAsync(100, none));
        await Time("health", () => node.HealthAsync(none));
        return results;
    }

    private static async Task AppendAsync(NpgsqlDataSource source)
    {
        await using var connection = await source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = DateTimeOffset.UtcNow,
                Agency = Guid.Parse("0195536e-8f00-7000-8000-000000000001"),
                Kind = "dispatch.sent",
                Object = "measured",
            },
            CancellationToken.None);
        await transaction.CommitAsync();
    }

    private static async Task<T> ScalarAsync<T>(string connectionString, string sql)
    {
        await using var connection = new NpgsqlConnection(connectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync() is T value ? value : default!;
    }
}
