using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SecureMail.Host.Schema;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.SystemTests.Storage;

public sealed class QueueTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>, IAsyncLifetime
{
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);

    private NpgsqlDataSource _database = null!;
    private NpgsqlDataSource _owner = null!;
    private WorkQueue _queue = null!;

    public async Task InitializeAsync()
    {
        var owner = await postgres.CreateDatabaseAsync();
        await HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None);
        _owner = NpgsqlDataSource.Create(owner);
        _database = NpgsqlDataSource.Create(PostgresFixture.AsGateway(owner));
        _queue = new WorkQueue(_database);
    }

    public async Task DisposeAsync()
    {
        await _database.DisposeAsync();
        await _owner.DisposeAsync();
    }

    [Fact]
    public async Task Work_exists_only_with_its_commit_and_once_for_a_subject()
    {
        var subject = Guid.NewGuid();
        await using (var connection = await _database.OpenConnectionAsync())
        await using (var transaction = await connection.BeginTransactionAsync())
        {
            await WorkQueue.EnqueueAsync(transaction, "send", subject);
            await transaction.RollbackAsync();
        }

        (await _queue.ListAsync(CancellationToken.None)).ShouldBeEmpty();
        await EnqueueAsync(subject);
        await EnqueueAsync(subject);
        (await _queue.ListAsync(CancellationToken.None)).ShouldHaveSingleItem().State.ShouldBe("ready");
    }

    [Fact]
    public async Task The_loops_of_a_process_hear_of_the_rows_that_they_look_for_and_of_no_others()
    {
        // What each commit wrote, and who hears of it: the worker, the sequencer.
        await HearsAsync(t => WorkQueue.EnqueueAsync(t, "judge", Guid.NewGuid()), work: true, entries: false);
        await HearsAsync(t => WorkQueue.EnqueueAsync(t, "seal", Guid.NewGuid(), 7), work: false, entries: true);
        await HearsAsync(t => WorkQueue.ReleaseAsync(t, [8], CancellationToken.None), work: false, entries: false);
        await HearsAsync(t => WorkQueue.ReleaseAsync(t, [7], CancellationToken.None), work: true, entries: false);
        await HearsAsync(t => WorkQueue.WakeAsync(t, ["X"], CancellationToken.None), work: false, entries: false);
        await HearsAsync(_ => Task.CompletedTask, work: false, entries: false);
        await HearsAsync(
            async t =>
            {
                await WorkQueue.EnqueueAsync(t, "receipt", Guid.NewGuid(), 9);
                await WorkQueue.EnqueueAsync(t, "judge", Guid.NewGuid());
            },
            work: true, entries: true);

        var heard = CommitSignal.OfReadyWork(_database).Next;
        await using var connection = await _database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await WorkQueue.EnqueueAsync(transaction, "judge", Guid.NewGuid());
        await transaction.RollbackAsync();
        heard.IsCompleted.ShouldBeFalse();
    }

    [Fact]
    public async Task A_timer_has_one_row_for_all_nodes_and_falls_due_again_after_its_period()
    {
        using var stop = new CancellationTokenSource(Minute);
        var fired = new SemaphoreSlim(0);
        var handlers = new Dictionary<string, WorkHandler>
        {
            ["overdue"] = new(
                1,
                (_, _) =>
                {
                    fired.Release();
                    return Task.FromResult<WorkOutcome>(new WorkOutcome.Recur());
                },
                (_, _, _) => Task.CompletedTask)
            {
                Every = TimeSpan.FromMilliseconds(20),
            },
        };
        using var one = new Worker(_queue, handlers, "one", TimeProvider.System, NullLogger.Instance);
        using var two = new Worker(_queue, handlers, "two", TimeProvider.System, NullLogger.Instance);
        var running = Task.WhenAll(one.RunAsync(stop.Token), two.RunAsync(stop.Token));
        for (var n = 0; n < 3; n++)
        {
            (await fired.WaitAsync(Minute)).ShouldBeTrue();
        }

        (await OwnerAsync("SELECT count(*) FROM gateway.work")).ShouldBe(1L);
        await stop.CancelAsync();
        await running;

        // A person can neither see it as something that waits, nor drop it.
        (await _queue.ListAsync(CancellationToken.None)).ShouldBeEmpty();
        var id = (long)(await OwnerAsync("SELECT work_id FROM gateway.work"))!;
        (await OwnerAsync("SELECT state || ' ' || attempts || ' ' || failures FROM gateway.work")).ShouldBe(
            "ready 0 0");
        (await DropAsync(id)).ShouldBeNull();
        // What is wrong with a timer is shown, and the next start of a node lets it go on, by the period of then.
        await OwnerAsync("UPDATE gateway.work SET state = 'dead', failures = 10");
        (await _queue.ListAsync(CancellationToken.None)).ShouldHaveSingleItem().Kind.ShouldBe("overdue");
        await _queue.StartTimerAsync("overdue", Minute, CancellationToken.None);
        (await OwnerAsync("SELECT state || ' ' || failures || ' ' || period FROM gateway.work")).ShouldBe(
            "ready 0 00:01:00");
    }

    [Fact]
    public async Task The_work_on_one_subject_is_done_at_once_and_only_by_who_leases_it()
    {
        List<Guid> done = [];
        var handlers = new Dictionary<string, WorkHandler>
        {
            ["judge"] = new(
                1,
                async (item, stop) =>
                {
                    done.Add(item.Subject);
                    return await item.DropAsync(_database, stop);
                },
                (_, _, _) => Task.CompletedTask),
        };
        using var worker = new Worker(_queue, handlers, "one", TimeProvider.System, NullLogger.Instance);
        var (first, second, held) = (Guid.NewGuid(), Guid.NewGuid(), Guid.NewGuid());
        foreach (var subject in new[] { first, second, held })
        {
            await OwnerAsync($"INSERT INTO gateway.work (kind, subject) VALUES ('judge', '{subject}')");
        }

        await OwnerAsync($"UPDATE gateway.work SET state = 'held' WHERE subject = '{held}'");
        (await worker.DoAsync("judge", second, CancellationToken.None)).ShouldBeTrue();
        done.ShouldBe([second]);
        // Done, held, unknown or leased by another: nothing is done.
        await OwnerAsync(
            "UPDATE gateway.work SET state = 'leased', lease_owner = 'two:1', lease_until = now() + interval "
                + $"'1 minute' WHERE subject = '{first}'"
        );
        foreach (var subject in new[] { second, held, Guid.NewGuid(), first })
        {
            (await worker.DoAsync("judge", subject, CancellationToken.None)).ShouldBeFalse();
        }

        done.ShouldBe([second]);
    }

    [Fact]
    public async Task A_lease_is_ours_until_it_ends_and_then_somebody_elses()
    {
        await EnqueueAsync(Guid.NewGuid());
        var first = (await LeaseAsync("one")).ShouldHaveSingleItem();
        first.Attempts.ShouldBe(1);
        (await LeaseAsync("two")).ShouldBeEmpty();
        (await _queue.ReclaimAsync("two", CancellationToken.None)).ShouldBe(0);
        (await _queue.RenewAsync(first, Minute, CancellationToken.None)).ShouldBeTrue();
        await WorkItem.RequireLeasesAsync([first], _database, CancellationToken.None);

        await OwnerAsync("UPDATE gateway.work SET lease_until = now()");
        (await _queue.RenewAsync(first, Minute, CancellationToken.None)).ShouldBeFalse();
        await Should.ThrowAsync<LeaseLostException>(() =>
            WorkItem.RequireLeasesAsync([first], _database, CancellationToken.None));
        (await _queue.ReclaimAsync("two", CancellationToken.None)).ShouldBe(1);
        var second = (await LeaseAsync("two")).ShouldHaveSingleItem();
        second.Attempts.ShouldBe(2);

        // The one that lost it can neither end it nor put it back; whatever it did in that transaction is undone.
        await using (var connection = await _database.OpenConnectionAsync())
        await using (var transaction = await connection.BeginTransactionAsync())
        {
            await WorkQueue.EnqueueAsync(transaction, "judge", Guid.NewGuid());
            await Should.ThrowAsync<LeaseLostException>(() => first.CompleteAsync(transaction, CancellationToken.None));
        }

        await _queue.PutBackAsync(first, "dead", TimeSpan.Zero, "late", countsAsAttempt: true, CancellationToken.None);
        var row = (await _queue.ListAsync(CancellationToken.None)).ShouldHaveSingleItem();
        row.State.ShouldBe("leased");
        await second.DropAsync(_database, CancellationToken.None);
        (await _queue.ListAsync(CancellationToken.None)).ShouldBeEmpty();
    }

    [Fact]
    public async Task Two_workers_on_one_queue_do_each_piece_once()
    {
        const int Pieces = 200;
        await using (var connection = await _database.OpenConnectionAsync())
        await using (var transaction = await connection.BeginTransactionAsync())
        {
            for (var i = 0; i < Pieces; i++)
            {
                await WorkQueue.EnqueueAsync(transaction, "send", Guid.NewGuid());
            }

            await transaction.CommitAsync();
        }

        var done = new System.Collections.Concurrent.ConcurrentBag<(Guid Subject, int Worker)>();
        var all = new TaskCompletionSource();
        using var stop = new CancellationTokenSource();
        var workers = new[] { 1, 2 }
            .Select(worker =>
                RunAsync(
                    8,
                    async (item, cancel) =>
                    {
                        done.Add((item.Subject, worker));
                        var outcome = await item.DropAsync(_database, cancel);
                        if (done.Count >= Pieces)
                        {
                            all.TrySetResult();
                        }

                        return outcome;
                    },
                    stop.Token))
            .ToArray();
        await all.Task.WaitAsync(Minute);
        await stop.CancelAsync();
        await Task.WhenAll(workers);
        done.Count.ShouldBe(Pieces);
        done.Select(d => d.Subject).Distinct().Count().ShouldBe(Pieces);
        done.Select(d => d.Worker).Distinct().Count().ShouldBe(2);
        (await _queue.ListAsync(CancellationToken.None)).ShouldBeEmpty();
    }

    [Fact]
    public async Task What_a_handler_answers_is_what_becomes_of_the_row()
    {
        var subjects = new Dictionary<Guid, Func<WorkOutcome>>
        {
            [Guid.NewGuid()] = () => new WorkOutcome.Retry("retry"),
            [Guid.NewGuid()] = () => new WorkOutcome.Snooze(Minute, "snooze"),
            [Guid.NewGuid()] = () => new WorkOutcome.Hold("hold"),
            [Guid.NewGuid()] = () => new WorkOutcome.Dead("dead"),
            [Guid.NewGuid()] = () => throw new InvalidOperationException("trích yếu bí mật"),
        };
        foreach (var subject in subjects.Keys)
        {
            await EnqueueAsync(subject);
        }

        await DoAsync(subjects.Count, item => subjects[item.Subject]());
        var rows = (await _queue.ListAsync(CancellationToken.None)).OrderBy(r => r.Id).ToList();
        rows.Select(r => (r.State, r.Attempts, r.LastError))
            .ShouldBe([
                ("ready", 1, "retry"),
                ("ready", 0, "snooze"),
                ("held", 0, "hold"),
                ("dead", 1, "dead"),
                ("ready", 1, "InvalidOperationException"),
            ]);
        // The first delay is two seconds, give or take a quarter.
        (
            (double)
                (
                    await OwnerAsync(
                        "SELECT extract(epoch FROM run_at - now())::float8 FROM gateway.work WHERE last_error = 'retry'"
                    )
                )!
        ).ShouldBeInRange(-10, 2.5);
        (
            (double)
                (
                    await OwnerAsync(
                        "SELECT extract(epoch FROM run_at - now())::float8 FROM gateway.work WHERE last_error "
                            + "= 'snooze'"
                    )
                )!
        ).ShouldBeInRange(40, 60);

        // Asking for the subject again wakes what is held or dead and leaves the rest as it is.
        foreach (var subject in subjects.Keys)
        {
            await EnqueueAsync(subject);
        }

        (await _queue.ListAsync(CancellationToken.None))
            .OrderBy(r => r.Id)
            .Select(r => (r.State, r.Attempts))
            .ShouldBe([("ready", 1), ("ready", 0), ("ready", 0), ("ready", 0), ("ready", 1)]);
    }

    [Fact]
    public async Task A_handler_that_always_fails_ends_as_a_dead_letter()
    {
        await EnqueueAsync(Guid.NewGuid());
        await OwnerAsync("UPDATE gateway.work SET failures = 9");
        await DoAsync(1, _ => throw new InvalidOperationException());
        var dead = (await _queue.ListAsync(CancellationToken.None)).ShouldHaveSingleItem();
        (dead.State, dead.LastError).ShouldBe(("dead", "InvalidOperationException"));
        (await LeaseAsync("one")).ShouldBeEmpty();
        (await RetryAsync(dead.Id)).ShouldNotBeNull();
        var again = (await LeaseAsync("one")).ShouldHaveSingleItem();
        (again.Attempts, again.ActedAt is not null).ShouldBe((1, true));
    }

    [Theory]
    [InlineData(typeof(InvalidDataException), true)]
    [InlineData(typeof(EndOfStreamException), true)]
    [InlineData(typeof(IOException), true)]
    [InlineData(typeof(System.Text.RegularExpressions.RegexMatchTimeoutException), true)]
    [InlineData(typeof(OutOfMemoryException), true)]
    [InlineData(typeof(NpgsqlException), false)]
    [InlineData(typeof(TimeoutException), false)]
    [InlineData(typeof(StorageUnavailableException), false)]
    public async Task Only_what_the_work_itself_does_counts_against_it(Type exception, bool counts)
    {
        await EnqueueAsync(Guid.NewGuid());
        await OwnerAsync("UPDATE gateway.work SET failures = 1, attempts = 40");
        await DoAsync(
            1, _ => throw (exception == typeof(StorageUnavailableException)
                ? new StorageUnavailableException("away")
                : (Exception)Activator.CreateInstance(exception)!));
        var row = (await _queue.ListAsync(CancellationToken.None)).ShouldHaveSingleItem();
        (row.State, row.Failures, row.Attempts).ShouldBe(("ready", counts ? 2 : 1, 41));
    }

    [Fact]
    public async Task Work_that_its_handler_puts_back_has_not_failed()
    {
        await EnqueueAsync(Guid.NewGuid());
        await OwnerAsync("UPDATE gateway.work SET failures = 9");
        await DoAsync(1, _ => new WorkOutcome.Retry("token"));
        (await _queue.ListAsync(CancellationToken.None)).ShouldHaveSingleItem().Failures.ShouldBe(0);
    }

    [Fact]
    public async Task A_process_that_ends_over_its_work_counts_and_a_lease_that_ran_out_under_its_own_worker_does_not()
    {
        await EnqueueAsync(Guid.NewGuid());
        await LeaseAsync("one:1");
        await OwnerAsync("UPDATE gateway.work SET lease_until = now()");
        (await _queue.ReclaimAsync("one:1", CancellationToken.None)).ShouldBe(1);
        (await _queue.ListAsync(CancellationToken.None))[0].Failures.ShouldBe(0);
        await LeaseAsync("one:1");
        await OwnerAsync("UPDATE gateway.work SET lease_until = now()");
        (await _queue.ReclaimAsync("two:1", CancellationToken.None)).ShouldBe(1);
        (await _queue.ListAsync(CancellationToken.None))[0].Failures.ShouldBe(1);
        await LeaseAsync("one:1");
        (await _queue.ReclaimOfAsync("one", "one:2", CancellationToken.None)).ShouldBe(1);
        (await _queue.ListAsync(CancellationToken.None))[0].Failures.ShouldBe(2);
    }

    [Fact]
    public async Task Work_that_ended_its_processes_is_given_up_untried_and_giving_up_is_tried_until_it_works()
    {
        await EnqueueAsync(Guid.NewGuid());
        // The last of three processes ended just now.
        await LeaseAsync("node:1");
        await OwnerAsync("UPDATE gateway.work SET failures = 2");
        var (tries, reasons) = (0, new List<string>());
        using var stop = new CancellationTokenSource();
        var handler = new WorkHandler(
            1,
            (_, _) =>
            {
                tries++;
                return Task.FromResult<WorkOutcome>(new WorkOutcome.Done());
            },
            async (item, reason, cancel) =>
            {
                reasons.Add(reason);
                if (reasons.Count == 1)
                {
                    throw new InvalidOperationException("not even this");
                }

                await DieAsync(item, reason, cancel);
                await stop.CancelAsync();
            })
        {
            MostFailures = 3,
            Retry = new RetrySchedule(TimeSpan.FromMilliseconds(10), TimeSpan.FromMilliseconds(10)),
        };
        await RunAsync(handler, stop.Token, "node").WaitAsync(Minute);
        tries.ShouldBe(0);
        reasons.ShouldBe([Worker.ProcessEnded, Worker.ProcessEnded]);
        var row = (await _queue.ListAsync(CancellationToken.None)).ShouldHaveSingleItem();
        (row.State, row.LastError).ShouldBe(("dead", "ProcessEnded"));
    }

    [Fact]
    public async Task Work_that_is_suspected_is_tried_one_piece_at_a_time_and_the_rest_goes_on_beside_it()
    {
        var suspects = new[] { Guid.NewGuid(), Guid.NewGuid(), Guid.NewGuid() };
        foreach (var subject in suspects)
        {
            await EnqueueAsync(subject);
        }

        await OwnerAsync("UPDATE gateway.work SET failures = 2");
        var others = new[] { Guid.NewGuid(), Guid.NewGuid() };
        foreach (var subject in others)
        {
            await EnqueueAsync(subject);
        }

        var (suspectsNow, most, done) = (0, 0, 0);
        var beside = new TaskCompletionSource();
        using var stop = new CancellationTokenSource();
        await RunAsync(
                8,
                async (item, cancel) =>
                {
                    if (suspects.Contains(item.Subject))
                    {
                        most = Math.Max(most, Interlocked.Increment(ref suspectsNow));
                        // The first suspect ends only after both others are done.
                        await beside.Task.WaitAsync(Minute, cancel);
                        Interlocked.Decrement(ref suspectsNow);
                    }

                    var outcome = await item.DropAsync(_database, cancel);
                    if (others.Contains(item.Subject)
                        && !(await _queue.ListAsync(cancel)).Any(r => others.Contains(r.Subject)))
                    {
                        beside.TrySetResult();
                    }

                    if (Interlocked.Increment(ref done) == suspects.Length + others.Length)
                    {
                        await stop.CancelAsync();
                    }

                    return outcome;
                },
                stop.Token)
            .WaitAsync(Minute);
        (most, done).ShouldBe((1, 5));
        (await _queue.ListAsync(CancellationToken.None)).ShouldBeEmpty();
    }

    [Fact]
    public async Task A_person_retries_releases_and_drops_but_not_what_is_being_worked_on()
    {
        foreach (var _ in Enumerable.Range(0, 3))
        {
            await EnqueueAsync(Guid.NewGuid());
        }

        var leased = (await _queue.LeaseAsync("send", "one", Minute, 2, null, CancellationToken.None)).ToList();
        (await RetryAsync(leased[0].Id)).ShouldBeNull();
        (await DropAsync(leased[0].Id)).ShouldBeNull();
        (await DropAsync(-1)).ShouldBeNull();
        foreach (var item in leased)
        {
            await _queue.PutBackAsync(
                item, "held", TimeSpan.Zero, "PIN_REFUSED", countsAsAttempt: false, CancellationToken.None);
        }

        (await LeaseAsync("two")).ShouldHaveSingleItem().ActedAt.ShouldBeNull();
        (await _database.InTransactionAsync(
            "queue.release-held", t => WorkQueue.ReleaseHeldAsync(t, CancellationToken.None), CancellationToken.None))
            .ShouldBe(leased.Select(w => w.Subject), ignoreOrder: true);
        var freed = await LeaseAsync("two");
        freed.Count.ShouldBe(2);
        // One act: whoever is freed by it bears one time, so that it permits one try.
        freed.Select(f => f.ActedAt!.Value).Distinct().ShouldHaveSingleItem();
        await _queue.PutBackAsync(
            freed[0], "held", TimeSpan.Zero, "PIN_REFUSED", countsAsAttempt: false, CancellationToken.None);
        (await DropAsync(freed[0].Id)).ShouldNotBeNull();
    }

    [Fact]
    public async Task Work_that_awaits_an_entry_is_not_done_before_that_entry_is_covered()
    {
        await EnqueueAsync(Guid.NewGuid(), awaits: 7);
        await EnqueueAsync(Guid.NewGuid(), awaits: 8);
        (await LeaseAsync("one")).ShouldBeEmpty();
        await using (var connection = await _database.OpenConnectionAsync())
        {
            await using (var undone = await connection.BeginTransactionAsync())
            {
                await WorkQueue.ReleaseAsync(undone, [7, 8], CancellationToken.None);
                await undone.RollbackAsync();
            }

            (await LeaseAsync("one")).ShouldBeEmpty();
            await using var transaction = await connection.BeginTransactionAsync();
            await WorkQueue.ReleaseAsync(transaction, [7], CancellationToken.None);
            await transaction.CommitAsync();
        }

        (await LeaseAsync("one")).ShouldHaveSingleItem();
        (await _queue.ListAsync(CancellationToken.None))
            .Where(r => r.AwaitsEntry is not null)
            .ShouldHaveSingleItem()
            .AwaitsEntry.ShouldBe(8);
    }

    [Fact]
    public async Task A_worker_whose_lease_is_taken_away_stops_and_records_nothing()
    {
        await EnqueueAsync(Guid.NewGuid());
        using var stop = new CancellationTokenSource();
        var running = new TaskCompletionSource<WorkItem>();
        var go = new TaskCompletionSource();
        var ended = new TaskCompletionSource<Exception?>();
        var worker = RunAsync(
            1,
            async (item, cancel) =>
            {
                running.TrySetResult(item);
                await go.Task;
                await using var connection = await _database.OpenConnectionAsync(cancel);
                await using var transaction = await connection.BeginTransactionAsync(cancel);
                try
                {
                    await WorkQueue.EnqueueAsync(transaction, "judge", Guid.NewGuid(), cancellationToken: cancel);
                    await item.CompleteAsync(transaction, cancel);
                    await transaction.CommitAsync(cancel);
                    ended.TrySetResult(null);
                    return new WorkOutcome.Done();
                }
                catch (LeaseLostException e)
                {
                    ended.TrySetResult(e);
                    throw;
                }
            },
            stop.Token);
        await running.Task.WaitAsync(Minute);
        await OwnerAsync("UPDATE gateway.work SET lease_owner = 'another', lease_until = now() + interval '1 hour'");
        go.SetResult();
        (await ended.Task.WaitAsync(Minute)).ShouldBeOfType<LeaseLostException>();
        await stop.CancelAsync();
        await worker;
        (await OwnerAsync("SELECT count(*) FROM gateway.work WHERE kind = 'judge'")).ShouldBe(0L);
        (await OwnerAsync("SELECT lease_owner FROM gateway.work")).ShouldBe("another");
    }

    [Theory]
    [InlineData("INSERT INTO gateway.work (kind, subject) VALUES ('cook', gen_random_uuid())")]
    [InlineData("INSERT INTO gateway.work (kind, subject, state) VALUES ('send', gen_random_uuid(), 'leased')")]
    [InlineData(
        "INSERT INTO gateway.work (kind, subject, lease_owner, lease_until) VALUES ('send', gen_random_uuid(), "
            + "'one', now())"
    )]
    [InlineData(
        "INSERT INTO gateway.work (kind, subject, state, awaits_entry) VALUES ('send', gen_random_uuid(), 'held', 1)")]
    [InlineData("INSERT INTO gateway.register VALUES (gen_random_uuid(), 'outgoing', 2026, 0)")]
    [InlineData("INSERT INTO gateway.directory (version, document, sha256) VALUES (0, '', sha256(''))")]
    [InlineData(
        "INSERT INTO gateway.transmission (transmission_id, kind, dispatch_id, agency_id, recipient_id, "
            + "recipient_code, state) VALUES (gen_random_uuid(), 'dispatch', gen_random_uuid(), gen_random_uuid(), "
            + "gen_random_uuid(), 'X', 'sent')"
    )]
    [InlineData(
        "INSERT INTO gateway.transmission (transmission_id, kind, dispatch_id, agency_id, recipient_id, "
            + "recipient_code, state) VALUES (gen_random_uuid(), 'dispatch', gen_random_uuid(), gen_random_uuid(), "
            + "NULL, 'X', 'waiting')"
    )]
    [InlineData(
        "INSERT INTO gateway.transmission (transmission_id, kind, dispatch_id, agency_id, recipient_id, "
            + "recipient_code, state, closed_at) VALUES (gen_random_uuid(), 'dispatch', gen_random_uuid(), "
            + "gen_random_uuid(), NULL, 'X', 'failed', now())"
    )]
    [InlineData(
        "INSERT INTO gateway.transmission (transmission_id, kind, dispatch_id, agency_id, recipient_id, "
            + "recipient_code, state, reason) VALUES (gen_random_uuid(), 'dispatch', gen_random_uuid(), "
            + "gen_random_uuid(), NULL, 'X', 'failed', 'X')"
    )]
    [InlineData("INSERT INTO gateway.secrecy_permission VALUES (gen_random_uuid(), 'HƠI MẬT', 1)")]
    public async Task An_impossible_row_cannot_be_written(string sql) =>
        (await Should.ThrowAsync<PostgresException>(() => OwnerAsync(sql))).SqlState.ShouldBe(
            PostgresErrorCodes.CheckViolation);

    [Fact]
    public async Task A_worker_that_is_stopped_while_it_leases_does_what_it_was_given()
    {
        await EnqueueAsync(Guid.NewGuid());
        await OwnerAsync(
            """
            CREATE FUNCTION gateway.hold() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END $$;
            CREATE TRIGGER hold BEFORE UPDATE ON gateway.work FOR EACH ROW EXECUTE FUNCTION gateway.hold()
            """);
        using var stop = new CancellationTokenSource();
        var done = 0;
        Task running;
        await using (var connection = await _owner.OpenConnectionAsync())
        {
            await using var transaction = await connection.BeginTransactionAsync();
            await using var hold = new NpgsqlCommand("SELECT pg_advisory_xact_lock(4711)", connection, transaction);
            await hold.ExecuteNonQueryAsync();
            running = RunAsync(
                1,
                async (item, cancellationToken) =>
                {
                    Interlocked.Increment(ref done);
                    return await item.DropAsync(_database, cancellationToken);
                },
                stop.Token);
            await TwoGateways.UntilAsync(
                async () =>
                    (long)(await OwnerAsync(
                        """
                        SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted
                          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                        """))! > 0,
                "the lease to wait");
            await stop.CancelAsync();
            await transaction.CommitAsync();
        }

        await running.WaitAsync(Minute);
        done.ShouldBe(1);
        (await _queue.ListAsync(CancellationToken.None)).ShouldBeEmpty();
    }

    private async Task EnqueueAsync(Guid subject, long? awaits = null)
    {
        await using var connection = await _database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await WorkQueue.EnqueueAsync(transaction, "send", subject, awaits);
        await transaction.CommitAsync();
    }

    private Task<IReadOnlyList<WorkItem>> LeaseAsync(string owner) =>
        _queue.LeaseAsync("send", owner, Minute, 10, null, CancellationToken.None);

    private Task RunAsync(
        int concurrency, Func<WorkItem, CancellationToken, Task<WorkOutcome>> handle, CancellationToken stop) =>
        RunAsync(new WorkHandler(concurrency, handle, DieAsync), stop);

    private async Task RunAsync(WorkHandler handler, CancellationToken stop, string? node = null)
    {
        using var worker = new Worker(
            _queue, new Dictionary<string, WorkHandler> { ["send"] = handler }, node ?? Guid.NewGuid().ToString(),
            TimeProvider.System, NullLogger.Instance);
        await worker.RunAsync(stop);
    }

    private async Task DieAsync(WorkItem item, string reason, CancellationToken cancellationToken)
    {
        await using var connection = await _database.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        await item.DieAsync(transaction, reason, cancellationToken);
        await transaction.CommitAsync(cancellationToken);
    }

    /// <summary>Lets a worker do so many pieces, stops it, and comes back when what it did is recorded.</summary>
    private async Task DoAsync(int pieces, Func<WorkItem, WorkOutcome> handle)
    {
        using var stop = new CancellationTokenSource();
        var left = pieces;
        await RunAsync(
                1,
                (item, _) =>
                {
                    if (Interlocked.Decrement(ref left) == 0)
                    {
                        stop.Cancel();
                    }

                    return Task.FromResult(handle(item));
                },
                stop.Token)
            .WaitAsync(Minute);
    }

    private async Task<object?> OwnerAsync(string sql)
    {
        await using var command = _owner.CreateCommand(sql);
        return await command.ExecuteScalarAsync();
    }

    private async Task HearsAsync(Func<NpgsqlTransaction, Task> write, bool work, bool entries)
    {
        var (ready, awaited) = (
            CommitSignal.OfReadyWork(_database).Next, CommitSignal.OfAwaitedEntries(_database).Next);
        await _database.InTransactionAsync("test.write", write, CancellationToken.None);
        (ready.IsCompleted, awaited.IsCompleted).ShouldBe((work, entries));
    }

    private Task<Guid?> RetryAsync(long id) =>
        _database.InTransactionAsync(
            "queue.retry", t => WorkQueue.RetryAsync(t, id, CancellationToken.None), CancellationToken.None);

    private Task<Guid?> DropAsync(long id) =>
        _database.InTransactionAsync(
            "queue.give-up", t => WorkQueue.DropAsync(t, id, CancellationToken.None), CancellationToken.None);
}
