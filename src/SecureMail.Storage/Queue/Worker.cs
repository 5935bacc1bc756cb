using System.Collections.Concurrent;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging;

namespace SecureMail.Storage.Queue;

/// <summary>
/// Runs the handlers of the work kinds on this node, each kind with a concurrency of its own, so that slow sending
/// never starves validation.
/// </summary>
/// <remarks>
/// The worker looks for work when this process committed work, when a handler ended that kept other work waiting, when
/// work falls due, and once a second for what other processes ask for. When the database goes away, it waits. On stop
/// it leases no new work and lets handlers finish; what does not finish in time becomes ready when its lease ends.
/// </remarks>
public sealed class Worker(
    WorkQueue queue, IReadOnlyDictionary<string, WorkHandler> handlers, string node, TimeProvider time,
    ILogger logger) : IDisposable
{
    // After this time another node takes over the work of a node that died. A lease is renewed four times within it.
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(20);

    // What other processes enqueue is found after this time at the latest.
    private static readonly TimeSpan AtRest = TimeSpan.FromSeconds(1);

    // Work that is due and was not leased waits for a destination, or another node has it.
    private static readonly TimeSpan WhileNoneIsFree = TimeSpan.FromMilliseconds(200);

    // A failed database or disk of ours is mended for all work at once. Therefore what it held up goes on soon after,
    // however long the failure took.
    private static readonly TimeSpan OursMended = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(20);

    /// <summary>Why work is given up whose attempts ended with their processes.</summary>
    public const string ProcessEnded = "ProcessEnded";

    // After so many failures work is suspected of ending the process, and is tried alone.
    private const int Suspect = 2;

    private static readonly TimeSpan WhileAnotherIsTried = TimeSpan.FromSeconds(1);

    private readonly string _owner = $"{node}:{Guid.NewGuid().ToString("N")[..8]}";
    private readonly ConcurrentDictionary<long, bool> _underWay = new();
    private readonly ConcurrentDictionary<string, long> _triedAlone = new();
    private readonly CancellationTokenSource _abandon = new();

    public void Dispose() => _abandon.Dispose();

    /// <summary>Leases the work on one subject now and does it as a look at the queue would. Returns when it was done;
    /// answers false where it is not due, or another worker has it. How many of these run at once is the
    /// caller's.</summary>
    /// <param name="kind">A kind without destinations.</param>
    public async Task<bool> DoAsync(string kind, Guid subject, CancellationToken stop)
    {
        var leased = await queue.LeaseAsync(kind, _owner, Lease, 1, destinations: null, stop, subject);
        if (leased is not [var item]
            || !_underWay.TryAdd(item.Id, true)
            || !await MayBeginAsync([item], handlers[kind]))
        {
            return false;
        }

        using var slot = new SemaphoreSlim(0);
        await RunOneAsync(item, handlers[kind], slot, _abandon.Token);
        return true;
    }

    /// <summary>Runs until cancelled.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        var running = new List<Task>();
        var free = handlers.ToDictionary(h => h.Key, h => new SemaphoreSlim(h.Value.Concurrency));
        var predecessor = true;
        await using var grace = stop.Register(() => _abandon.CancelAfter(Grace));
        while (!stop.IsCancellationRequested)
        {
            try
            {
                if (predecessor)
                {
                    await queue.ReclaimOfAsync(node, _owner, stop);
                    foreach (var (kind, handler) in handlers)
                    {
                        if (handler.Every is { } period)
                        {
                            await queue.StartTimerAsync(kind, period, stop);
                        }
                    }

                    predecessor = false;
                }

                var news = queue.Commits.Next;
                string[] idle = [.. handlers.Keys.Where(k => free[k].CurrentCount > 0)];
                var next = idle.Length == 0 ? [] : await queue.NextAsync(idle, stop);
                if (next.Any(n => n.LeaseOverIn <= TimeSpan.Zero))
                {
                    await queue.ReclaimAsync(_owner, stop);
                    next = await queue.NextAsync(idle, stop);
                }

                var pause = next.SelectMany(n => new[] { n.DueIn, n.LeaseOverIn }).Append(AtRest).Min()!.Value;
                if (pause > TimeSpan.Zero)
                {
                    await CommitSignal.PauseAsync(news, pause, time, stop);
                    continue;
                }

                var (leased, mayBeMore) = (0, false);
                foreach (var kind in next.Where(n => n.DueIn <= TimeSpan.Zero).Select(n => n.Kind))
                {
                    if (stop.IsCancellationRequested)
                    {
                        break;
                    }

                    // A stop does not cancel a lease: the database would have given it, and nobody would know.
                    var most = free[kind].CurrentCount;
                    var items = await queue.LeaseAsync(
                        kind, _owner, Lease, most, handlers[kind].Destinations, _abandon.Token);
                    mayBeMore |= items.Count >= most || handlers[kind].Destinations is not null;
                    foreach (var item in items)
                    {
                        leased++;
                        // The lease of this work ran out while we did it, and the work is leased to us again. The
                        // running handler goes on, and no second one is started.
                        List<WorkItem> begun = [.. item.All.Where(i => _underWay.TryAdd(i.Id, true))];
                        if (begun.Count > 0 && await MayBeginAsync(begun, handlers[kind]))
                        {
                            await free[kind].WaitAsync(_abandon.Token);
                            running.Add(
                                RunOneAsync(WorkItem.Together(begun), handlers[kind], free[kind], _abandon.Token));
                        }
                    }
                }

                running.RemoveAll(t => t.IsCompleted);
                if (leased == 0)
                {
                    // The work that is due waits for a destination that backs off or is full.
                    await CommitSignal.PauseAsync(news, WhileNoneIsFree, time, stop);
                }
                else if (!mayBeMore)
                {
                    // All that was due is under way, and what of it is put back is looked for then.
                    pause = next.Where(n => n.DueIn > TimeSpan.Zero).Select(n => n.DueIn!.Value).Append(AtRest).Min();
                    await CommitSignal.PauseAsync(news, pause, time, stop);
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

        await Task.WhenAll(running);
    }

    private async Task RunOneAsync(WorkItem item, WorkHandler handler, SemaphoreSlim slot, CancellationToken abandon)
    {
        await Task.Yield();
        using var lost = CancellationTokenSource.CreateLinkedTokenSource(abandon);
        using var finished = CancellationTokenSource.CreateLinkedTokenSource(lost.Token);
        var isOver = false;
        var renewal = LeaseRenewal.KeepAsync(
            Lease, token => queue.RenewAsync(item, Lease, token), lost, time, finished.Token);
        try
        {
            var started = time.GetTimestamp();
            using var activity = QueueMeter.Activities.StartActivity(item.Kind);
            var (outcome, failures) = await AttemptAsync(item, handler, lost.Token);
            var took = time.GetElapsedTime(started);
            await finished.CancelAsync();
            foreach (
                var (one, how) in outcome is WorkOutcome.Each each
                    ? each.Outcomes
                    : [.. item.All.Select(i => (i, outcome))])
            {
                QueueMeter.WorkDone(one.Kind, how.GetType().Name, took);
                await ApplyAsync(one, handler, how, failures(one));
            }

            isOver = outcome is WorkOutcome.Done;
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

            // After work that is over, a look finds something only where this work kept other work from being leased.
            var keptOthers =
                _triedAlone.TryRemove(new(item.Kind, item.Id))
                | slot.Release() == 0
                | handler.Destinations is not null;
            if (keptOthers || !isOver)
            {
                queue.Commits.Raise();
            }
        }
    }

    /// <summary>Whether leased work may begin now. Of the work of one kind that failed before, one piece is tried at a
    /// time: when it ends the process, it takes none of the others with it, and they are not suspected any further.
    /// Work that goes to destinations is exempt, because it waits for other hosts for minutes.</summary>
    private async Task<bool> MayBeginAsync(IReadOnlyList<WorkItem> begun, WorkHandler handler)
    {
        var first = begun[0];
        if (handler.Destinations is not null
            || begun.All(i => i.Failures < Suspect)
            || _triedAlone.TryAdd(first.Kind, first.Id))
        {
            return true;
        }

        foreach (var one in begun)
        {
            _underWay.TryRemove(one.Id, out _);
            await queue.PutBackAsync(
                one, WorkState.Ready, WhileAnotherIsTried, reason: null, countsAsAttempt: false, CancellationToken.None,
                failures: one.Failures);
        }

        return false;
    }

    /// <summary>Runs the handler. Answers its outcome, and how many failures in a row each piece has now.</summary>
    private async Task<(WorkOutcome Outcome, Func<WorkItem, int> Failures)> AttemptAsync(
        WorkItem item, WorkHandler handler, CancellationToken cancellationToken)
    {
        if (item.All.Any(i => i.Failures >= handler.MostFailures))
        {
            // The processes that tried this work ended before they could say what became of it. It is not tried again.
            return (
                new WorkOutcome.Each([
                    .. item.All.Select(i =>
                        (
                            i,
                            i.Failures >= handler.MostFailures
                                ? new WorkOutcome.Dead(ProcessEnded)
                                : (WorkOutcome)new WorkOutcome.Snooze(TimeSpan.Zero, "batch parted"))),
                ]),
                i => i.Failures);
        }

        try
        {
            return (await handler.Handle(item, cancellationToken), _ => 0);
        }
        catch (LeaseLostException)
        {
            QueueLog.LeaseLost(logger, item.Kind, item.Subject);
            return (new WorkOutcome.Done(), _ => 0);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            return (new WorkOutcome.Snooze(TimeSpan.Zero, "stopped"), i => i.Failures);
        }
        catch (Exception e) when (IsOfSurroundings(e))
        {
            return (new WorkOutcome.Retry(e.GetType().Name) { Within = OursMended }, i => i.Failures);
        }
        catch (Exception e)
        {
            // This is a bug, or a row that this build cannot work on. It is tried again with growing delays and then
            // given up. The row names only the exception's type, because the message may quote content.
            QueueLog.HandlerFailed(logger, e, item.Kind, item.Subject);
            return (
                new WorkOutcome.Each([
                    .. item.All.Select(i =>
                        (
                            i,
                            i.Failures + 1 >= handler.MostFailures
                                ? new WorkOutcome.Dead(e.GetType().Name)
                                : (WorkOutcome)new WorkOutcome.Retry(e.GetType().Name))),
                ]),
                i => i.Failures + 1);
        }
    }

    /// <summary>Whether the database, the disk or a key file of ours failed, and not the work. A reader that meets the
    /// end of what it reads, or takes too long over a pattern, throws an exception of the same families; it says so of
    /// the content, and the content does not change.</summary>
    private static bool IsOfSurroundings(Exception exception) =>
        exception switch
        {
            EndOfStreamException or RegexMatchTimeoutException => false,
            // An IOException that names no error of the system was thrown by a reader, too.
            IOException { InnerException: null, HResult: unchecked((int)0x80131620) } => false,
            StorageUnavailableException or SecretFileException => true,
            _ => DatabaseFault.Is(exception),
        };

    private Task ApplyAsync(WorkItem item, WorkHandler handler, WorkOutcome outcome, int failures) =>
        outcome switch
        {
            WorkOutcome.Move m => queue.PutBackAsync(
                item, WorkState.Ready, TimeSpan.Zero, "moved", countsAsAttempt: false, CancellationToken.None,
                m.Destination, failures),
            WorkOutcome.Retry r => queue.PutBackAsync(
                item,
                WorkState.Ready,
                r.Within is { } within
                    ? (handler.Retry with { Longest = within }).After(item.Attempts)
                    : handler.Retry.After(failures > 0 ? failures : item.Attempts),
                r.Reason,
                countsAsAttempt: true,
                CancellationToken.None,
                failures: failures),
            WorkOutcome.Recur => queue.RecurAsync(item, CancellationToken.None),
            WorkOutcome.Snooze s => queue.PutBackAsync(
                item, WorkState.Ready, s.Delay, s.Reason, countsAsAttempt: false, CancellationToken.None,
                failures: failures),
            WorkOutcome.Hold h => queue.PutBackAsync(
                item, WorkState.Held, TimeSpan.Zero, h.Reason, countsAsAttempt: false, CancellationToken.None,
                failures: failures),
            WorkOutcome.Dead d => GiveUpAsync(item, handler, d.Reason, failures),
            _ => Task.CompletedTask,
        };

    private async Task GiveUpAsync(WorkItem item, WorkHandler handler, string reason, int failures)
    {
        try
        {
            await handler.GiveUp(item, reason, CancellationToken.None);
        }
        catch (LeaseLostException)
        {
            QueueLog.LeaseLost(logger, item.Kind, item.Subject);
        }
        catch (Exception e) when (!IsOfSurroundings(e))
        {
            // Not even giving up works. The work stays, and giving it up is tried again with growing delays.
            QueueLog.NotGivenUp(logger, e, item.Kind, item.Subject);
            await queue.PutBackAsync(
                item, WorkState.Ready, handler.Retry.After(item.Attempts), reason, countsAsAttempt: true,
                CancellationToken.None, failures: Math.Max(failures, handler.MostFailures));
        }
    }
}

/// <summary>One kind of work: what does it, how many at once on this node, and what ends it when it always
/// fails.</summary>
/// <param name="GiveUp">Ends the work in one transaction, in which a person gets to know of it. It gets the work and
/// why: the name of the exception's type, or <see cref="Worker.ProcessEnded"/>.</param>
public sealed record WorkHandler(
    int Concurrency, Func<WorkItem, CancellationToken, Task<WorkOutcome>> Handle,
    Func<WorkItem, string, CancellationToken, Task> GiveUp)
{
    /// <summary>Null: the work has no destinations.</summary>
    public DestinationLimits? Destinations { get; init; }

    public RetrySchedule Retry { get; init; } = RetrySchedule.OfWork;

    /// <summary>Not null: the kind is a timer. It has one row, whatever the number of nodes, and answers
    /// <see cref="WorkOutcome.Recur"/>.</summary>
    public TimeSpan? Every { get; init; }

    /// <summary>After how many attempts in a row that ended in an unexpected exception, or with the process, the work
    /// is given up.</summary>
    public int MostFailures { get; init; } = 10;
}
