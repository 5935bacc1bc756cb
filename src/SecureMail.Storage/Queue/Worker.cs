using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace SecureMail.Storage.Queue;

/// <summary>
/// Runs the handlers of the work kinds on this node, each kind with a concurrency of its own, so that slow sending
/// never starves validation.
/// </summary>
/// <remarks>
/// The worker looks for work a few times a second, and at once when a handler ended. When the database goes away, it
/// waits. On stop it leases no new work and lets handlers finish; what does not finish in time becomes ready when its
/// lease ends.
/// </remarks>
public sealed class Worker(
    WorkQueue queue, IReadOnlyDictionary<string, WorkHandler> handlers, string node, TimeProvider time,
    ILogger logger) : IDisposable
{
    // After this time another node takes over the work of a node that died. A lease is renewed four times within it.
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(200);

    // A failed database or disk of ours is mended for all work at once. Therefore what it held up goes on soon after,
    // however long the failure took.
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
                        // The lease of this work ran out while we did it, and the work is leased to us again. The
                        // running handler goes on, and no second one is started.
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
                    // The work that is due waits for a destination that backs off or is full.
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
            // The row stays leased until its lease runs out. Then any node does the work.
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
            // This is a bug, or a row that this build cannot work on. It is tried again with growing delays and then
            // left for a person. The row names only the exception's type, because the message may quote content.
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
                // Three renewals were missed, so the lease may end before the fourth.
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
    /// <summary>Null: the work has no destinations.</summary>
    public DestinationLimits? Destinations { get; init; }

    public RetrySchedule Retry { get; init; } = RetrySchedule.OfWork;
}
