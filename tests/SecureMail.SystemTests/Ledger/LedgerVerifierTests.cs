using System.Diagnostics;
using System.Text;
using SecureMail.Ledger;
using SecureMail.LedgerStore;

namespace SecureMail.SystemTests.Ledger;

public sealed class LedgerVerifierTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    private async Task<LedgerDatabase> TwentyEntriesAsync()
    {
        var ledger = await LedgerDatabase.CreateAsync(postgres);
        foreach (var entries in new[] { 5, 4, 8, 3 })
        {
            await ledger.GrowAsync(entries);
        }

        return ledger;
    }

    public static TheoryData<string, string, string> Damages() =>
        new()
        {
            {
                "entry-changed",
                "Entry 6 (id 7)",
                "UPDATE ledger.entry SET body = (SELECT body FROM ledger.entry WHERE entry_id = 1) WHERE entry_id = 7"
            },
            {
                "entry-changed",
                "Entry 6 (id 7)",
                "UPDATE ledger.entry x SET (body, leaf_hash, object) = (SELECT body, leaf_hash, object FROM "
                    + "ledger.entry WHERE entry_id = 1) WHERE entry_id = 7"
            },
            { "entry-missing", "Entry 6 (id 7)", "DELETE FROM ledger.entry WHERE entry_id = 7" },
            {
                "entry-columns",
                "Entry 6 (id 7)",
                "UPDATE ledger.entry SET object = 'dispatch-other' WHERE entry_id = 7"
            },
            {
                "entry-columns",
                "Entry 6 (id 7)",
                "UPDATE ledger.entry SET time = time + interval '1 day' WHERE entry_id = 7"
            },
            {
                "entry-columns",
                "Entry 6 (id 7)",
                "UPDATE ledger.entry SET leaf_hash = decode(repeat('00', 32), 'hex') WHERE entry_id = 7"
            },
            { "leaf-missing", "Index 6 is missing", "DELETE FROM ledger.leaf WHERE idx = 6" },
            {
                "order",
                "Entries 4–7 were replaced or reordered",
                """
                    UPDATE ledger.leaf SET idx = -1 - idx + 100 WHERE idx IN (5, 6);
                    UPDATE ledger.leaf SET idx = CASE idx WHEN 94 THEN 6 ELSE 5 END WHERE idx IN (93, 94)
                    """
            },
            {
                "order",
                "Entries 6–7 were replaced",
                "UPDATE ledger.leaf SET hash = e.leaf_hash, entry_id = e.entry_id FROM ledger.entry e WHERE "
                    + "idx = 7 AND e.entry_id = 21"
            },
            { "order", "Entries 4–7", "DELETE FROM ledger.node WHERE level = 2 AND idx = 1" },
            {
                "checkpoint-signature",
                "size 9",
                "UPDATE ledger.checkpoint SET note = (SELECT note FROM ledger.checkpoint WHERE size = 9) || "
                    + "'\\x00' WHERE size = 9"
            },
            {
                "checkpoint-columns",
                "size 9",
                "UPDATE ledger.checkpoint SET note = (SELECT note FROM ledger.checkpoint WHERE size = 5) WHERE size = 9"
            },
            {
                "checkpoint-root",
                "Entries 5–8",
                "UPDATE ledger.checkpoint SET note = (SELECT note FROM ledger.checkpoint WHERE size = 5) WHERE size = 9"
            },
            { "uncovered", "Entries 17–19", "DELETE FROM ledger.checkpoint WHERE size = 20" },
            {
                "tail-missing",
                "counts 20 entries, but the ledger has only 19",
                "DELETE FROM ledger.leaf WHERE idx = 19; DELETE FROM ledger.entry WHERE entry_id = 20"
            },
            {
                "node-extra",
                "The hash tree has a node too many",
                "DELETE FROM ledger.leaf WHERE idx = 19; DELETE FROM ledger.entry WHERE entry_id = 20"
            },
            { "entry-unlisted", "Entry id 20", "DELETE FROM ledger.leaf WHERE idx = 19" },
            { "entry-unlisted", "Entry id 21", "DELETE FROM ledger.pending" },
            { "pending-missing", "Entry id 21", "DELETE FROM ledger.entry WHERE entry_id = 21" },
            {
                "chain-broken",
                "Entry id 21",
                "UPDATE ledger.entry SET prior = decode(repeat('00', 32), 'hex') WHERE entry_id = 21"
            },
        };

    [Theory]
    [MemberData(nameof(Damages))]
    public async Task What_was_changed_is_named(string code, string sentence, string damage)
    {
        await using var ledger = await TwentyEntriesAsync();
        await ledger.AppendAsync(); // id 21, waiting
        (await ledger.VerifyAsync()).Problems.ShouldBeEmpty();
        await ledger.ExecuteAsync(damage);
        var report = await ledger.VerifyAsync();
        var problem = report.Problems.FirstOrDefault(p => p.Code == code);
        problem.ShouldNotBeNull(string.Join("; ", report.Problems));
        problem.En.ShouldContain(sentence);
        problem.Vi.ShouldNotBeNullOrWhiteSpace();
    }

    [Fact]
    public async Task A_rewrite_signed_anew_is_whole_in_itself_and_found_by_what_others_hold()
    {
        await using var a = await TwentyEntriesAsync();
        await using var b = await LedgerDatabase.CreateAsync(postgres, "b");
        await using (var connection = await a.Gateway.OpenConnectionAsync())
        {
            await b.ObserveAsync(a, (await StoredLedger.HeadAsync(connection, CancellationToken.None))!);
        }

        await a.ExecuteAsync(
            "TRUNCATE ledger.entry, ledger.pending, ledger.leaf, ledger.node, ledger.checkpoint, "
                + "ledger.cosignature RESTART IDENTITY"
        );
        await a.GrowAsync(25);
        using var file = new MemoryStream();
        await using (var connection = await b.Gateway.OpenConnectionAsync())
        {
            await LedgerExporter.WriteSeenAsync(connection, a.LogKey.Name, file, CancellationToken.None);
        }

        file.Position = 0;
        var seen = await LedgerExport.ReadSeenAsync(file, CancellationToken.None);
        (await a.VerifyAsync()).Problems.ShouldBeEmpty();
        var problem = (await a.VerifyAsync([.. seen])).Problems.ShouldHaveSingleItem();
        problem.Code.ShouldBe("seen-fork");
        problem.En.ShouldContain("0–19");

        await a.ExecuteAsync(
            "TRUNCATE ledger.entry, ledger.pending, ledger.leaf, ledger.node, ledger.checkpoint, "
                + "ledger.cosignature RESTART IDENTITY"
        );
        await a.GrowAsync(3);
        (await a.VerifyAsync([.. seen])).Problems.ShouldHaveSingleItem().Code.ShouldBe("seen-longer");
        (await a.VerifyAsync(await b.GrowAsync(1))).Problems.ShouldHaveSingleItem().Code.ShouldBe("seen-signature");
    }

    [Fact]
    public async Task A_single_note_is_a_file_of_seen_checkpoints_too_and_junk_is_not()
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        var checkpoint = await ledger.GrowAsync(2);
        (await LedgerExport.ReadSeenAsync(new MemoryStream(checkpoint.Note.ToArray()), CancellationToken.None))
            .ShouldHaveSingleItem()
            .Size.ShouldBe(2);
        foreach (
            var junk in new[]
            {
                "junk",
                "{",
                "{}",
                "{\"type\":\"checkpoint\"}",
                "{\"type\":1}",
                "[1]",
                "{\"type\":\"checkpoint\",\"note\":\"x\"}",
            })
        {
            await Should.ThrowAsync<LedgerException>(() =>
                LedgerExport.ReadSeenAsync(new MemoryStream(Encoding.UTF8.GetBytes(junk)), CancellationToken.None));
        }
    }

    [Fact]
    public async Task Another_language_verifies_the_export_and_finds_the_damage()
    {
        await using var a = await TwentyEntriesAsync();
        await using var b = await LedgerDatabase.CreateAsync(postgres, "b");
        await using (var connection = await a.Gateway.OpenConnectionAsync())
        {
            var head = (await StoredLedger.HeadAsync(connection, CancellationToken.None))!;
            var cosignature = (await b.ObserveAsync(a, head)).Cosignature!;
            (
                await a.InTransactionAsync(t =>
                    PeerLedger.AddCosignatureAsync(t, b.CosignerKey.Verifier, cosignature, CancellationToken.None))
            ).ShouldBeTrue();
        }
        using var export = new MemoryStream();
        await LedgerExporter.WriteAsync(a.Gateway, a.LogKey.Verifier, export, CancellationToken.None);
        var good = Encoding.UTF8.GetString(export.ToArray());
        (await PythonAsync(good, a.LogKey.Verifier)).ShouldBe(
            (0, "20 entries, 4 checkpoints, 1 cosignatures: all verify"));
        (await PythonAsync(good, b.LogKey.Verifier)).ExitCode.ShouldBe(1);

        var lines = good.Split('\n');
        var entry = Array.FindIndex(lines, line => line.Contains("\"index\":6,", StringComparison.Ordinal));
        string[] changed = [.. lines];
        changed[entry] = changed[entry].Replace(",\"body\":\"eyJh", ",\"body\":\"eyJi", StringComparison.Ordinal);
        changed[entry].ShouldNotBe(lines[entry]);
        (await PythonAsync(string.Join('\n', changed), a.LogKey.Verifier)).ShouldSatisfyAllConditions(
            result => result.ExitCode.ShouldBe(1), result => result.Output.ShouldContain("checkpoint 9"));
        string[] shorter = [.. lines[..entry], .. lines[(entry + 1)..]];
        (await PythonAsync(string.Join('\n', shorter), a.LogKey.Verifier)).ExitCode.ShouldBe(1);
        (
            await PythonAsync(good.Replace("\\n20\\n", "\\n21\\n", StringComparison.Ordinal), a.LogKey.Verifier)
        ).ExitCode.ShouldBe(1);
    }

    [Fact]
    public async Task A_hundred_thousand_entries_are_verified()
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        await ledger.InTransactionAsync(t =>
            StoredLedger.AppendManyAsync(
                t, [.. Enumerable.Range(0, 100_000).Select(_ => ledger.NewEntry())], CancellationToken.None));
        var sequencer = ledger.NewSequencer();
        while (await sequencer.RunOnceAsync(CancellationToken.None) is not null) { }
        using var limit = new TimeLimit("A verification of 100,000 entries");
        var report = await ledger.VerifyAsync();
        report.Problems.ShouldBeEmpty();
        report.Entries.ShouldBe(100_000);
    }

    private static async Task<(int ExitCode, string Output)> PythonAsync(string export, VerifierKey key)
    {
        var file = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, export);
            var script = Path.Combine(Vectors.Folder("own"), "v1", "verify_ledger.py");
            using var python = Process.Start(
                new ProcessStartInfo("python3", [script, file, key.ToString()])
                {
                    RedirectStandardOutput = true,
                    UseShellExecute = false,
                }
            )!;
            var output = await python.StandardOutput.ReadToEndAsync();
            await python.WaitForExitAsync();
            return (python.ExitCode, output.Trim());
        }
        finally
        {
            File.Delete(file);
        }
    }
}
