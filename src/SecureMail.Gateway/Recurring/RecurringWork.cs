using Microsoft.Extensions.Logging;
using Npgsql;
using Quartz;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Retention;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.Gateway.Recurring;

/// <summary>
/// What recurs: the notices of what is overdue, late or given up, what retention destroys, and the alarm over peers'
/// checkpoints that nothing joins. Quartz runs it, clustered on the gateway's own database: of several nodes one does
/// it, and another takes over when that one is gone.
/// </summary>
internal sealed class RecurringWork : IAsyncDisposable
{
    private static readonly TimeSpan PendingForTooLong = TimeSpan.FromHours(24);

    private readonly IScheduler _scheduler;
    private readonly CancellationTokenSource _stop;

    private RecurringWork(IScheduler scheduler, CancellationTokenSource stop) =>
        (_scheduler, _stop) = (scheduler, stop);

    public static async Task<RecurringWork> StartAsync(
        GatewayDatabase database, PeerLedger peers, ClockWatch clock, GatewayOptions options, TimeProvider time,
        ILogger logger, CancellationToken cancellationToken)
    {
        // Not the caller's token: Quartz reports a cancelled start as a damaged schema.
        cancellationToken.ThrowIfCancellationRequested();
        var overdue = new Overdue(database, options, time, logger);
        var stop = new CancellationTokenSource();
        var sweep = new RetentionSweep(database, options.Retention, time, logger);
        var giveUp = new GiveUp(database, options, time, logger);
        var scheduler = await QuartzSchedulerBuilder
            .Create(quartz =>
            {
                // The nodes tell each other's life and death, and when a job is due, by one clock, and that one does
                // not step.
                quartz.UseTimeProvider(new SteadyTime(clock, time));
                quartz.UsePersistentStore(store =>
                {
                    store.UsePostgres(database.ConnectionString);
                    store.UseClustering(_ => { });
                    store.UseSystemTextJsonSerializer();
                    store.ConfigureStore(o => o.TablePrefix = "quartz.qrtz_");
                });
                quartz.AddJobType(_ => new OverdueJob(overdue, giveUp, clock));
                quartz.AddJobType(_ => new PeersJob(database, peers, clock));
                quartz.AddJobType(_ => new RetentionJob(sweep, clock, stop.Token));
                quartz.ScheduleJob<OverdueJob>(
                    t => t.WithIdentity("overdue").WithSimpleSchedule(options.OverdueEvery),
                    j => j.WithIdentity("overdue"));
                quartz.ScheduleJob<PeersJob>(
                    t => t.WithIdentity("peers").WithSimpleSchedule(TimeSpan.FromMinutes(10)),
                    j => j.WithIdentity("peers"));
                quartz.ScheduleJob<RetentionJob>(
                    t => t.WithIdentity("retention").WithSimpleSchedule(TimeSpan.FromHours(1)),
                    j => j.WithIdentity("retention"));
            })
            .BuildScheduler(CancellationToken.None);
        await scheduler.Start(CancellationToken.None);
        return new RecurringWork(scheduler, stop);
    }

    public async ValueTask DisposeAsync()
    {
        // A long sweep stops at its batch, and the next node or start goes on with it.
        await _stop.CancelAsync();
        await _scheduler.Shutdown(waitForJobsToComplete: true);
        _stop.Dispose();
    }

    [DisallowConcurrentExecution]
    private sealed class OverdueJob(Overdue overdue, GiveUp giveUp, ClockWatch clock) : IJob
    {
        public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default)
        {
            // A leap of this very second must not make anything late.
            await clock.LookAsync(cancellationToken);
            await overdue.MarkAsync(cancellationToken);
            await giveUp.TellDelayedAsync(cancellationToken);
            await giveUp.GiveUpAsync(cancellationToken);
        }
    }

    [DisallowConcurrentExecution]
    private sealed class RetentionJob(RetentionSweep sweep, ClockWatch clock, CancellationToken stop) : IJob
    {
        public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default)
        {
            using var either = CancellationTokenSource.CreateLinkedTokenSource(stop, cancellationToken);
            try
            {
                await clock.LookAsync(either.Token);
                if (!clock.IsDoubted)
                {
                    // What is destroyed does not come back: not while a clock is doubted.
                    await sweep.RunAsync(either.Token);
                }
            }
            catch (OperationCanceledException) when (either.IsCancellationRequested)
            {
                // Told to stop: what was swept is committed, the rest goes next time.
            }
        }
    }

    [DisallowConcurrentExecution]
    private sealed class PeersJob(GatewayDatabase database, PeerLedger peers, ClockWatch clock) : IJob
    {
        public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default)
        {
            if (clock.IsDoubted)
            {
                return;
            }

            await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
            await using NpgsqlTransaction transaction = await connection.BeginTransactionAsync(cancellationToken);
            await peers.AlarmOverdueAsync(transaction, PendingForTooLong, cancellationToken);
            await transaction.CommitAsync("recurring.peers", cancellationToken);
        }
    }
}
