using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace SecureMail.Storage.Queue;

/// <summary>
/// Runs the handlers of the work kinds on this node, each kind with a concurrency of its own, so that slow sending
/// never starves judging.
/// </summary>
/// <remarks>
/// It looks for work a few times a second, and at once when a handler ended. A database that goes away is waited for.
/// On stop no new work is leased, what runs may finish, and what does not finish in time is given back by its lease.
/// </remarks>
public sealed class Worker(
    WorkQueue queue, IReadOnlyDictionary<string, WorkHandler> handlers, string node, TimeProvider time,
    ILogger logger) : IDisposable
{
    // What a node had under way when it died is taken over by another when this is past; renewed four times before
    // that.
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(200);

    // A database or a disk of ours that failed is mended for all work at once: whatever it held up goes on soon after,
    // however long it took.
    private static readonly TimeSpan OursMended = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(20);

    private readonly string _owner = $"{node}:{Guid.NewGuid().ToString("N")[..8]}";
    private readonly SemaphoreSlim _wake = new(0);
    private readonly ConcurrentDictionary<long, bool> _underWay = new();

    public void Dispose() => _wake.Dispose();

    /// <summary>Runs until cancelled.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        var running = new List<Task>();
        var free = handlers.ToDictionary(h => h.Key, h => new SemaphoreSlim(h.Value.Concurrency));
        using var abandon = new CancellationTokenSource();
        var predecessor = true;
        while (!stop.IsCancellationRequested)
        {
            try
            {
                if (predecessor)
                {
                    await queue.ReclaimOfAsync(node, _owner, stop);
                    predecessor = false;
                }

                string[] idle = [.. handlers.Keys.Where(k => free[k].CurrentCount > 0)];
                var due = idle.Length == 0 ? Poll : await queue.NextDueAsync(idle, stop) ?? Poll;
                if (due > TimeSpan.Zero)
                {
                    await _wake.WaitAsync(due < Poll ? due : Poll, stop);
                    continue;
                }

                await queue.ReclaimAsync(stop);
                var leased = 0;
                foreach (var kind in idle)
                {
                    foreach (
                        var item in await queue.LeaseAsync(
                            kind, _owner, Lease, free[kind].CurrentCount, handlers[kind].Destinations, stop))
                    {
                        leased++;
                        // One whose lease ran out under our own hands, and that is ours again: what runs goes on,
                        // nothing is begun beside it.
                        List<WorkItem> begun = [.. item.All.Where(i => _underWay.TryAdd(i.Id, true))];
                        if (begun.Count > 0)
                        {
                            await free[kind].WaitAsync(stop);
                            running.Add(
                                RunOneAsync(WorkItem.Together(begun), handlers[kind], free[kind], abandon.Token));
                        }
                    }
                }

                running.RemoveAll(t => t.IsCompleted);
                if (leased == 0)
                {
                    // What is due stands behind a destination that is shut or full.
                    await _wake.WaitAsync(Poll, stop);
                }
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                break;
            }
            catch (Exception e) when (DatabaseFault.Is(e))
            {
                QueueLog.DatabaseAway(logger, e.Message);
                await Task.Delay(TimeSpan.FromSeconds(1), time, CancellationToken.None);
            }
        }

        abandon.CancelAfter(Grace);
        await Task.WhenAll(running);
    }

    private async Task RunOneAsync(WorkItem item, WorkHandler handler, SemaphoreSlim slot, CancellationToken abandon)
    {
        await Task.Yield();
        using var lost = CancellationTokenSource.CreateLinkedTokenSource(abandon);
        using var finished = CancellationTokenSource.CreateLinkedTokenSource(lost.Token);
        var renewal = RenewAsync(item, lost, finished.Token);
        try
        {
            var started = time.GetTimestamp();
            using var activity = QueueMeter.Activities.StartActivity(item.Kind);
            var outcome = await AttemptAsync(item, handler, lost.Token);
            var took = time.GetElapsedTime(started);
            await finished.CancelAsync();
            foreach (
                var (one, how) in outcome is WorkOutcome.Each each
                    ? each.Outcomes
                    : [.. item.All.Select(i => (i, outcome))])
            {
                QueueMeter.WorkDone(one.Kind, how.GetType().Name, took);
                await ApplyAsync(one, handler, how);
            }
        }
        catch (Exception e) when (DatabaseFault.Is(e))
        {
            // The row stays leased until its lease runs out; whoever finds it then does the work.
            QueueLog.OutcomeNotRecorded(logger, item.Kind, item.Subject, e.Message);
        }
        finally
        {
            await finished.CancelAsync();
            await renewal;
            foreach (var one in item.All)
            {
                _underWay.TryRemove(one.Id, out _);
            }

            slot.Release();
            _wake.Release();
        }
    }

    private async Task<WorkOutcome> AttemptAsync(
        WorkItem item, WorkHandler handler, CancellationToken cancellationToken)
    {
        try
        {
            return await handler.Handle(item, cancellationToken);
        }
        catch (LeaseLostException)
        {
            QueueLog.LeaseLost(logger, item.Kind, item.Subject);
            return new WorkOutcome.Done();
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            return new WorkOutcome.Snooze(TimeSpan.Zero, "stopped");
        }
        catch (Exception e)
            when (DatabaseFault.Is(e) || e is StorageUnavailableException)
        {
            return new WorkOutcome.Retry(e.GetType().Name) { Within = OursMended };
        }
        catch (Exception e)
        {
            // A bug, or a row that no code of ours can work on: tried again with growing delays, then left for a
            // person. Its message may quote what it stumbled over, so the queue row names the type alone.
            QueueLog.HandlerFailed(logger, e, item.Kind, item.Subject);
            return new WorkOutcome.Each([
                .. item.All.Select(i =>
                    (
                        i,
                        i.Attempts >= 10
                            ? new WorkOutcome.Dead(e.GetType().Name)
                            : (WorkOutcome)new WorkOutcome.Retry(e.GetType().Name))),
            ]);
        }
    }

    private Task ApplyAsync(WorkItem item, WorkHandler handler, WorkOutcome outcome) =>
        outcome switch
        {
            WorkOutcome.Move m => queue.PutBackAsync(
                item, WorkState.Ready, TimeSpan.Zero, "moved", countsAsAttempt: false, CancellationToken.None,
                m.Destination),
            WorkOutcome.Retry r => queue.PutBackAsync(
                item,
                WorkState.Ready,
                r.Within is { } within
                    ? (handler.Retry with { Longest = within }).After(item.Attempts)
                    : handler.Retry.After(item.Attempts),
                r.Reason,
                countsAsAttempt: true,
                CancellationToken.None),
            WorkOutcome.Snooze s => queue.PutBackAsync(
                item, WorkState.Ready, s.Delay, s.Reason, countsAsAttempt: false, CancellationToken.None),
            WorkOutcome.Hold h => queue.PutBackAsync(
                item, WorkState.Held, TimeSpan.Zero, h.Reason, countsAsAttempt: false, CancellationToken.None),
            WorkOutcome.Dead d => queue.PutBackAsync(
                item, WorkState.Dead, TimeSpan.Zero, d.Reason, countsAsAttempt: true, CancellationToken.None),
            _ => Task.CompletedTask,
        };

    private async Task RenewAsync(WorkItem item, CancellationTokenSource lost, CancellationToken finished)
    {
        var failures = 0;
        while (!finished.IsCancellationRequested)
        {
            await Task.Delay(Lease / 4, time, finished).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (finished.IsCancellationRequested)
            {
                return;
            }

            try
            {
                if (!await queue.RenewAsync(item, Lease, finished))
                {
                    await lost.CancelAsync();
                    return;
                }

                failures = 0;
            }
            catch (Exception e)
                when (DatabaseFault.Is(e) || e is OperationCanceledException)
            {
                // Three renewals missed: the lease may end before the fourth.
                if (++failures >= 3)
                {
                    await lost.CancelAsync();
                    return;
                }
            }
        }
    }
}

/// <summary>One kind of work: what does it, and how many at once on this node.</summary>
public sealed record WorkHandler(int Concurrency, Func<WorkItem, CancellationToken, Task<WorkOutcome>> Handle)
{
    /// <summary>Null: the work goes nowhere in particular.</summary>
    public DestinationLimits? Destinations { get; init; }

    public RetrySchedule Retry { get; init; } = RetrySchedule.OfWork;
}
