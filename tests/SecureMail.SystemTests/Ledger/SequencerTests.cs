using System.Data;
using Npgsql;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.SystemTests.Ledger;

public sealed class SequencerTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task An_entry_is_in_the_ledger_when_its_transaction_commits_and_not_before()
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        var sequencer = ledger.NewSequencer();
        await using (var connection = await ledger.Gateway.OpenConnectionAsync())
        {
            await using var transaction = await connection.BeginTransactionAsync();
            await StoredLedger.AppendAsync(transaction, ledger.NewEntry(), CancellationToken.None);
            await transaction.RollbackAsync();
        }
        (await sequencer.RunOnceAsync(CancellationToken.None)).ShouldBeNull();
        await ledger.AppendAsync();
        (await sequencer.RunOnceAsync(CancellationToken.None))!.Size.ShouldBe(1);
        (await sequencer.RunOnceAsync(CancellationToken.None)).ShouldBeNull();
    }

    [Fact]
    public async Task Batches_of_any_size_give_the_tree_of_all_entries_and_every_proof_holds()
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        var checkpoints = new List<Checkpoint>();
        foreach (var entries in new[] { 1, 1, 2, 3, 7, 1, 16, 5 })
        {
            checkpoints.Add(await ledger.GrowAsync(entries));
        }

        var head = checkpoints[^1];
        head.Size.ShouldBe(36);
        head.IsSignedBy(ledger.LogKey.Verifier).ShouldBeTrue();
        await using var connection = await ledger.Gateway.OpenConnectionAsync();
        foreach (var stored in await StoredLedger.ListAsync(connection, 100, CancellationToken.None))
        {
            var (inclusion, consistency) = await StoredLedger.ProofsAsync(
                connection, stored.Index!.Value, [.. checkpoints.Select(c => c.Size)], head.Size,
                CancellationToken.None);
            MerkleTree
                .VerifyInclusion(
                    MerkleTree.LeafHash(stored.Body.Span), stored.Index.Value, head.Size, inclusion, head.Root.Span)
                .ShouldBeTrue();
            foreach (var earlier in checkpoints)
            {
                MerkleTree
                    .VerifyConsistency(
                        earlier.Size, earlier.Root.Span, head.Size, head.Root.Span, consistency[earlier.Size])
                    .ShouldBeTrue();
            }
        }

        (await ledger.VerifyAsync([.. checkpoints])).ShouldSatisfyAllConditions(
            report => report.Problems.ShouldBeEmpty(), report => report.Entries.ShouldBe(36),
            report => report.Checkpoints.ShouldBe(8), report => report.SeenAgreed.ShouldBe(8));
    }

    [Fact]
    public async Task An_entry_that_commits_after_one_with_a_larger_id_is_not_lost()
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        var sequencer = ledger.NewSequencer();
        await using var connection = await ledger.Gateway.OpenConnectionAsync();
        await using var slow = await connection.BeginTransactionAsync();
        var late = await StoredLedger.AppendAsync(slow, ledger.NewEntry(), CancellationToken.None);
        var early = await ledger.AppendAsync();
        early.EntryId.ShouldBeGreaterThan(late.EntryId);
        (await sequencer.RunOnceAsync(CancellationToken.None))!.Size.ShouldBe(1);
        await slow.CommitAsync();
        (await sequencer.RunOnceAsync(CancellationToken.None))!.Size.ShouldBe(2);
        (await StoredLedger.FindAsync(connection, late.EntryId, CancellationToken.None))!.Index.ShouldBe(1);
        (await ledger.VerifyAsync()).Problems.ShouldBeEmpty();
    }

    [Fact]
    public async Task Sequencers_of_several_nodes_take_turns_and_lose_nothing()
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        var covered = new List<long>();
        Task Covered(NpgsqlTransaction _, IReadOnlyList<long> ids, CancellationToken __)
        {
            lock (covered)
            {
                covered.AddRange(ids);
            }

            return Task.CompletedTask;
        }
        var first = ledger.NewSequencer(Covered, new SequencerOptions { BatchSize = 7 });
        var second = ledger.NewSequencer(Covered, new SequencerOptions { BatchSize = 5 });
        async Task Append()
        {
            for (var i = 0; i < 40; i++)
            {
                await ledger.AppendAsync();
            }
        }
        async Task Sequence(Sequencer sequencer, Task until)
        {
            while (await sequencer.RunOnceAsync(CancellationToken.None) is not null || !until.IsCompleted) { }
        }
        var appending = Task.WhenAll(Append(), Append(), Append());
        await Task.WhenAll(Sequence(first, appending), Sequence(second, appending), appending);
        covered.Count.ShouldBe(120);
        covered.Distinct().Count().ShouldBe(120);
        var report = await ledger.VerifyAsync();
        report.Problems.ShouldBeEmpty();
        report.Entries.ShouldBe(120);
    }

    [Fact]
    public async Task A_full_batch_is_followed_at_once_by_what_is_behind_it()
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        for (var i = 0; i < 6; i++)
        {
            await ledger.AppendAsync();
        }

        var all = new TaskCompletionSource();
        var covered = 0;
        var sequencer = ledger.NewSequencer(
            (_, ids, _) =>
            {
                covered += ids.Count;
                if (covered == 6)
                {
                    all.SetResult();
                }

                return Task.CompletedTask;
            },
            // No pause ends within this test.
            new SequencerOptions
            {
                BatchSize = 2,
                PollInterval = TimeSpan.FromDays(1),
                BetweenCheckpoints = TimeSpan.FromDays(1),
            });
        using var stop = new CancellationTokenSource();
        var running = sequencer.RunAsync(stop.Token);
        await all.Task.WaitAsync(TimeLimit.Limit);
        await stop.CancelAsync();
        await running;
    }

    [Fact]
    public async Task Writers_of_one_object_make_one_chain()
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        await Task.WhenAll(
            Enumerable
                .Range(0, 6)
                .Select(async _ =>
                {
                    for (var i = 0; i < 5; i++)
                    {
                        await ledger.AppendAsync(ledger.NewEntry("dispatch-x"));
                    }
                }));
        await using var connection = await ledger.Gateway.OpenConnectionAsync();
        var entries = await StoredLedger.ListOfAsync(connection, ["dispatch-x"], 100, CancellationToken.None);
        entries.Count.ShouldBe(30);
        for (var i = 0; i < entries.Count; i++)
        {
            var expected =
                i + 1 < entries.Count ? Convert.ToHexStringLower(MerkleTree.LeafHash(entries[i + 1].Body.Span)) : null;
            entries[i].Entry.Prior.ShouldBe(expected);
        }
    }

    [Fact]
    public async Task A_chained_entry_above_read_committed_is_a_mistake_of_the_caller()
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        await using var connection = await ledger.Gateway.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync(IsolationLevel.RepeatableRead);
        await Should.ThrowAsync<InvalidOperationException>(() =>
            StoredLedger.AppendAsync(transaction, ledger.NewEntry(), CancellationToken.None));
    }

    [Fact]
    public async Task When_what_waits_for_the_checkpoint_fails_there_is_no_checkpoint_and_the_next_run_makes_one()
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        await ledger.AppendAsync();
        var failing = ledger.NewSequencer((_, _, _) => throw new TimeoutException("the queue is away"));
        await Should.ThrowAsync<TimeoutException>(() => failing.RunOnceAsync(CancellationToken.None));

        (await ledger.ScalarAsync<long>("SELECT count(*) FROM ledger.checkpoint")).ShouldBe(0);
        var sequencer = ledger.NewSequencer();
        (await sequencer.RunOnceAsync(CancellationToken.None))!.Size.ShouldBe(1);
        (await ledger.VerifyAsync()).Problems.ShouldBeEmpty();
    }

    [Theory]
    [InlineData("UPDATE ledger.leaf SET hash = decode(repeat('00', 32), 'hex') WHERE idx = 4")]
    [InlineData("UPDATE ledger.node SET hash = decode(repeat('00', 32), 'hex') WHERE level = 2 AND idx = 0")]
    [InlineData("DELETE FROM ledger.node WHERE level = 2 AND idx = 0")]
    [InlineData("DELETE FROM ledger.leaf WHERE idx = 4")]
    [InlineData("DELETE FROM ledger.checkpoint")]
    [InlineData("UPDATE ledger.checkpoint SET note = '\\x00'")]
    [InlineData("UPDATE ledger.entry SET body = '\\x00' WHERE entry_id = (SELECT max(entry_id) FROM ledger.entry)")]
    [InlineData("INSERT INTO ledger.pending VALUES (1000000)")]
    public async Task Nothing_is_signed_over_damage(string damage)
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        await ledger.GrowAsync(5);
        await ledger.AppendAsync();
        await ledger.ExecuteAsync(damage);
        var before = await ledger.ScalarAsync<long>("SELECT count(*) FROM ledger.checkpoint");
        var sequencer = ledger.NewSequencer();
        (await Should.ThrowAsync<LedgerException>(() => sequencer.RunOnceAsync(CancellationToken.None))).Fault.ShouldBe(
            LedgerFault.Damaged);
        (await ledger.ScalarAsync<long>("SELECT count(*) FROM ledger.checkpoint")).ShouldBe(before);
    }

    [Fact]
    public async Task Another_key_does_not_continue_the_log()
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        await using var other = await LedgerDatabase.CreateAsync(postgres);
        await ledger.GrowAsync(3);
        await ledger.AppendAsync();
        var sequencer = ledger.NewSequencer(key: other.LogKey);
        (await Should.ThrowAsync<LedgerException>(() => sequencer.RunOnceAsync(CancellationToken.None))).Fault.ShouldBe(
            LedgerFault.Damaged);
    }

    [Fact]
    public async Task The_loop_covers_at_once_an_entry_that_work_of_its_own_process_awaits()
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        var covered = new SemaphoreSlim(0);
        var sequencer = ledger.NewSequencer(
            (_, ids, _) =>
            {
                covered.Release(ids.Count);
                return Task.CompletedTask;
            },
            new SequencerOptions { PollInterval = TimeSpan.FromDays(1) });
        using var stop = new CancellationTokenSource();
        var running = sequencer.RunAsync(stop.Token);
        for (var i = 0; i < 3; i++)
        {
            await ledger.Gateway.InTransactionAsync(
                "test.append",
                async t =>
                {
                    await StoredLedger.AppendAsync(t, ledger.NewEntry(), CancellationToken.None);
                    CommitSignal.Announce(t, CommittedRows.AwaitedEntries);
                },
                CancellationToken.None);
            (await covered.WaitAsync(TimeLimit.Limit)).ShouldBeTrue();
        }

        await stop.CancelAsync();
        await running;
    }

    [Fact]
    public async Task The_loop_covers_what_is_appended_and_outlives_a_lost_connection()
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        var covered = new SemaphoreSlim(0);
        Task Covered(NpgsqlTransaction _, IReadOnlyList<long> ids, CancellationToken __)
        {
            covered.Release(ids.Count);
            return Task.CompletedTask;
        }
        var sequencer = new Sequencer(
            ledger.Gateway,
            ledger.LogKey,
            new SequencerOptions
            {
                PollInterval = TimeSpan.FromMilliseconds(20),
                MaxBackoff = TimeSpan.FromMilliseconds(50),
            },
            TimeProvider.System,
            Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance,
            Covered);
        using var stop = new CancellationTokenSource();
        var running = sequencer.RunAsync(stop.Token);
        await ledger.AppendAsync();
        (await covered.WaitAsync(TimeSpan.FromSeconds(30))).ShouldBeTrue();
        await using (
            var killer = ledger.Gateway.CreateCommand(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = current_user "
                    + "AND datname = current_database() AND pid <> pg_backend_pid()"
            ))
        {
            ((long)(await killer.ExecuteScalarAsync())!).ShouldBeGreaterThan(0);
        }

        ledger.Gateway.Clear();
        await ledger.AppendAsync();
        (await covered.WaitAsync(TimeSpan.FromSeconds(30))).ShouldBeTrue();
        await stop.CancelAsync();
        await running;
        (await ledger.VerifyAsync()).Problems.ShouldBeEmpty();
    }

    [Theory]
    [InlineData("UPDATE ledger.entry SET body = body")]
    [InlineData("DELETE FROM ledger.entry")]
    [InlineData("TRUNCATE ledger.entry")]
    [InlineData("UPDATE ledger.leaf SET idx = idx")]
    [InlineData("DELETE FROM ledger.leaf")]
    [InlineData("UPDATE ledger.node SET hash = hash")]
    [InlineData("DELETE FROM ledger.node")]
    [InlineData("UPDATE ledger.checkpoint SET note = note")]
    [InlineData("DELETE FROM ledger.checkpoint")]
    [InlineData("DELETE FROM ledger.cosignature")]
    [InlineData("UPDATE ledger.alarm SET detail = ''")]
    [InlineData("DELETE FROM ledger.alarm")]
    [InlineData("UPDATE ledger.peer_checkpoint SET root = root")]
    [InlineData("DELETE FROM ledger.peer_checkpoint")]
    [InlineData("DROP TABLE ledger.entry")]
    public async Task The_gateways_role_cannot_change_what_is_written(string sql)
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        await using var command = ledger.Gateway.CreateCommand(sql);
        (await Should.ThrowAsync<PostgresException>(() => command.ExecuteNonQueryAsync())).SqlState.ShouldBe(
            PostgresErrorCodes.InsufficientPrivilege);
    }

    [Theory]
    [InlineData("INSERT INTO ledger.leaf VALUES (-1, 1, decode(repeat('00', 32), 'hex'))")]
    [InlineData("INSERT INTO ledger.leaf VALUES (0, 1, '\\x00')")]
    [InlineData("INSERT INTO ledger.node VALUES (0, 0, decode(repeat('00', 32), 'hex'))")]
    [InlineData("INSERT INTO ledger.checkpoint VALUES (0, decode(repeat('00', 32), 'hex'), '\\x00', now())")]
    [InlineData(
        "INSERT INTO ledger.peer_checkpoint VALUES ('p', 1, decode(repeat('00', 32), 'hex'), '\\x00', "
            + "'verified', now(), NULL)"
    )]
    [InlineData(
        "INSERT INTO ledger.peer_checkpoint VALUES ('p', 1, decode(repeat('00', 32), 'hex'), '\\x00', 'maybe', "
            + "now(), NULL)"
    )]
    [InlineData(
        "INSERT INTO ledger.alarm (time, peer, kind, detail, evidence, digest) VALUES (now(), 'p', 'mood', '', "
            + "'{\"\\\\x00\"}', decode(repeat('00', 32), 'hex'))"
    )]
    public async Task Impossible_rows_are_refused_by_the_database(string sql)
    {
        await using var ledger = await LedgerDatabase.CreateAsync(postgres);
        (await Should.ThrowAsync<PostgresException>(() => ledger.ExecuteAsync(sql))).SqlState.ShouldBe(
            PostgresErrorCodes.CheckViolation);
    }
}
