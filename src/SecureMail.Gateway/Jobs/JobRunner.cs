using System.Text.Json;
using Microsoft.Extensions.Logging;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Jobs;

/// <summary>
/// Does jobs, each once. Hangfire says when to begin one; it may say so twice, on two nodes, or after the job was done.
/// The lease of the row in <c>gateway.job</c> decides, and what nobody does is asked for again by a timer.
/// </summary>
internal sealed class JobRunner(JobTable table, JobSteps steps, TimeProvider time, ILogger<JobRunner> logger)
{
    /// <summary>How often the timer falls due that asks again for lost jobs.</summary>
    public static TimeSpan RecoverEvery { get; } = TimeSpan.FromMinutes(1);

    // A job that ends its process, or finds no node that has what it needs, is not begun for ever.
    private const int MostRuns = 20;

    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(1);

    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);

    /// <summary>The timer <see cref="WorkKind.LostJobs"/>.</summary>
    public async Task<WorkOutcome> RecoverAsync(WorkItem item, CancellationToken cancellationToken)
    {
        await RecoverAsync(formerOwner: null, cancellationToken);
        return new WorkOutcome.Recur();
    }

    /// <summary>Takes up what earlier processes of this node left, before this one does any job.</summary>
    /// <param name="node">The node's name. The caller holds its <see cref="ServingLock"/>.</param>
    public async Task StartAsync(string node, CancellationToken cancellationToken)
    {
        await steps.DeleteLeftAsync(async id =>
            await table.FindAsync(id, cancellationToken) is { State: JobState.Done, Result: { } result }
            && result.TryGetProperty("node", out var by)
            && by.GetString() == node);
        await RecoverAsync(node + ":", cancellationToken);
    }

    /// <summary>Does a job to its end, unless it is at its end or another node does it.</summary>
    /// <param name="kind">One of <see cref="JobKind"/>. A job of another kind is left alone.</param>
    /// <param name="stop">The node stops: the job is given back.</param>
    public async Task RunAsync(string kind, Guid id, string node, CancellationToken stop)
    {
        try
        {
            // Every run has a name of its own, so that one that lost the lease cannot end another one of this process.
            var owner = $"{node}:{Guid.NewGuid().ToString("N")[..8]}";
            if (await BeginAsync(kind, id, owner, stop) is { } job)
            {
                await RunAsync(new JobRun(job, owner), stop);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // Nothing was begun. Another node, or the next start, does it.
        }
        catch (Exception e) when (DatabaseFault.Is(e))
        {
            // The row stays as it is. When its lease is over, the timer asks for the job again.
            JobLog.DatabaseAway(logger, kind, id, e.Message);
        }
    }

    /// <summary>Takes the lease. A lease that another node does not renew is waited for, because Hangfire may have
    /// given that node up a moment sooner.</summary>
    private async Task<JobRow?> BeginAsync(string kind, Guid id, string owner, CancellationToken stop)
    {
        var held = await table.FindAsync(id, stop);
        while (true)
        {
            if (await table.BeginAsync(kind, id, owner, stop) is { } job)
            {
                return job;
            }

            var now = await table.FindAsync(id, stop);
            if (now is not { State: JobState.Running }
                || now.Kind != kind
                || now.LeaseUntil != held?.LeaseUntil)
            {
                return null;
            }

            await Task.Delay(LookAgain, time, stop);
        }
    }

    private async Task RunAsync(JobRun job, CancellationToken stop)
    {
        JobLog.Begun(logger, job.Kind, job.Id, job.Runs);
        using var lost = CancellationTokenSource.CreateLinkedTokenSource(stop);
        using var finished = new CancellationTokenSource();
        var renewal = LeaseRenewal.KeepAsync(
            JobTable.Lease, token => table.RenewAsync(job, token), lost, time, finished.Token);
        string state;
        string? result = null, reason = null;
        var isAskedAgain = false;
        try
        {
            // The processes before this one may all have ended because of this job.
            if (job.Runs > MostRuns)
            {
                (state, reason) = (JobState.Failed, JobReason.ProcessEnded);
            }
            else
            {
                result = JsonSerializer.Serialize(await steps.RunAsync(job, lost.Token), Json);
                state = JobState.Done;
            }
        }
        catch (OperationCanceledException) when (lost.IsCancellationRequested)
        {
            if (!stop.IsCancellationRequested)
            {
                JobLog.LeaseLost(logger, job.Kind, job.Id);
                return;
            }

            (state, isAskedAgain) = (JobState.Requested, true);
        }
        catch (Exception e)
        {
            var isPassing = e is JobNotHereException || DatabaseFault.Is(e);
            JobLog.Failed(logger, e, job.Kind, job.Id);
            (state, reason) =
                isPassing && job.Runs < MostRuns ? (JobState.Requested, null)
                : (JobState.Failed, e is JobNotHereException ? JobReason.NotHere : e.GetType().Name);
        }
        finally
        {
            await finished.CancelAsync();
            await renewal;
        }

        if (!await table.SettleAsync(job, state, result, reason, isAskedAgain, CancellationToken.None))
        {
            steps.Undo(job);
            JobLog.LeaseLost(logger, job.Kind, job.Id);
            return;
        }

        JobLog.Settled(logger, job.Kind, job.Id, state);
    }

    private async Task RecoverAsync(string? formerOwner, CancellationToken cancellationToken)
    {
        if (await table.RecoverAsync(formerOwner, cancellationToken) is > 0 and var lost)
        {
            JobLog.AskedAgain(logger, lost);
        }
    }
}
