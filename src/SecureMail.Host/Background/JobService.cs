using Hangfire;
using Hangfire.Client;
using Hangfire.Common;
using Hangfire.PostgreSql;
using Hangfire.Server;
using Hangfire.States;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Jobs;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Host.Services;
using SecureMail.Storage;

namespace SecureMail.Host.Background;

/// <summary>
/// Runs Hangfire on this node: two threads that do jobs, and the schedule of what recurs. The nodes share its tables,
/// so of several nodes one does a job, and another takes over when that one is gone.
/// </summary>
internal sealed class JobService(
    PostgreSqlStorage storage, JobRunner runner, WorkerService worker, ServingNode node, ClockWatch clock,
    WorkGate gate, TimeProvider time, ILogger<JobService> logger) : BackgroundService
{
    private const int Workers = 2;
    private const string Hourly = "0 * * * *";

    private static readonly string[] Queues = ["default"];
    private static readonly TimeSpan LookAtSchedule = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan TryAgain = TimeSpan.FromSeconds(1);

    // Without Hangfire's own filters: no retries (the row in gateway.job decides), no culture, no counters a job.
    private static readonly JobFilterCollection NoFilters = [];

    private static readonly JobFilterCollection OnlyJobs = new() { new JobTypes.OnlyJobs() };

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await gate.WaitAsync(stoppingToken);
        while (!await TryPrepareAsync(stoppingToken))
        {
            await Task.Delay(TryAgain, time, stoppingToken);
        }

        var jobs = new Jobs(runner, worker, node, stoppingToken);
        var states = new BackgroundJobStateChanger(NoFilters);
        using var server = new BackgroundProcessingServer(
            storage,
            [
                new Worker(Queues, new BackgroundJobPerformer(OnlyJobs, new Activator(jobs)), states)
                    .UseBackgroundPool(Workers),
                new RecurringJobScheduler(
                    new BackgroundJobFactory(NoFilters), LookAtSchedule, new DefaultTimeZoneResolver(),
                    () => (clock.SteadyNow ?? time.GetUtcNow()).UtcDateTime)
                    .UseBackgroundPool(1),
            ],
            new Dictionary<string, object> { ["Queues"] = Queues, ["WorkerCount"] = Workers },
            new BackgroundProcessingServerOptions
            {
                HeartbeatInterval = TimeSpan.FromSeconds(30),
                ServerTimeout = TimeSpan.FromMinutes(5),
                ServerCheckInterval = TimeSpan.FromMinutes(5),
                ServerName = node.Name,
            });
        await Task.Delay(Timeout.InfiniteTimeSpan, time, stoppingToken)
            .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        // Each job hears of the stop, gives its lease back and ends.
        server.SendStop();
        await server.WaitForShutdownAsync(CancellationToken.None);
    }

    /// <summary>Takes up what an earlier process of this node left, and writes the schedule.</summary>
    private async Task<bool> TryPrepareAsync(CancellationToken cancellationToken)
    {
        try
        {
            await runner.StartAsync(node.Name, cancellationToken);
            new RecurringJobManager(storage, new BackgroundJobFactory(NoFilters)).AddOrUpdate(
                JobKind.Retention, Job.FromExpression<Jobs>(j => j.Retention(JobTable.Retention)), Hourly,
                new RecurringJobOptions());
            return true;
        }
        catch (Exception e) when (DatabaseFault.Is(e) || e is PostgreSqlDistributedLockException)
        {
            JobServiceLog.NotPrepared(logger, e.Message);
            return false;
        }
    }

    private sealed class Activator(Jobs jobs) : JobActivator
    {
        public override object ActivateJob(Type jobType) => jobs;
    }
}

internal static partial class JobServiceLog
{
    [LoggerMessage(1011, LogLevel.Warning, "Background jobs cannot start yet: {Error}")]
    public static partial void NotPrepared(ILogger logger, string error);
}
