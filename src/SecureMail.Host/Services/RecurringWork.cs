using Microsoft.Extensions.Hosting;
using Npgsql;
using Quartz;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Retention;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.Host.Services;

/// <summary>
/// What recurs: the notices of what is overdue, late or given up, what retention destroys, and the alarm over peers'
/// checkpoints that nothing joins. Quartz runs it, clustered on the gateway's own database: of several nodes one does
/// it, and another takes over when that one is gone.
/// </summary>
internal sealed class RecurringWork(
    GatewayDatabase database, PeerLedger peers, Overdue overdue, GiveUp giveUp, RetentionSweep sweep, ClockWatch clock,
    DeliveryOptions delivery, WorkGate gate, TimeProvider time) : BackgroundService
{
    private static readonly TimeSpan PendingForTooLong = TimeSpan.FromHours(24);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await gate.WaitAsync(stoppingToken);
        // Quartz does not get the stopping token: it reports a cancelled start as a damaged schema.
        var scheduler = await QuartzSchedulerBuilder
            .Create(quartz =>
            {
                // The nodes tell each other's life and death, and when a job is due, by one clock that does not step.
                quartz.UseTimeProvider(new StepTolerantTimeProvider(clock, time));
                quartz.UsePersistentStore(store =>
                {
                    store.UsePostgres(database.ConnectionString);
                    store.UseClustering(_ => { });
                    store.UseSystemTextJsonSerializer();
                    store.ConfigureStore(o => o.TablePrefix = "quartz.qrtz_");
                });
                quartz.AddJobType(_ => new OverdueJob(overdue, giveUp, clock));
                quartz.AddJobType(_ => new PeersJob(database, peers, clock));
                quartz.AddJobType(_ => new RetentionJob(sweep, clock, stoppingToken));
                quartz.ScheduleJob<OverdueJob>(
                    t => t.WithIdentity("overdue").WithSimpleSchedule(delivery.OverdueEvery),
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
        await Task.Delay(Timeout.InfiniteTimeSpan, time, stoppingToken)
            .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        // A long sweep stops at its batch, and the next node or start goes on with it.
        await scheduler.Shutdown(waitForJobsToComplete: true, CancellationToken.None);
    }

    [DisallowConcurrentExecution]
    private sealed class OverdueJob(Overdue overdue, GiveUp giveUp, ClockWatch clock) : IJob
    {
        public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default)
        {
            // A leap of this very second must not make anything late.
            await clock.LookAsync(cancellationToken);
            await overdue.MarkAsync(cancellationToken);
            await giveUp.AddDelayNoticesAsync(cancellationToken);
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

            // A crash before this commit raises the alarms at the next run.
            await database.Source.InTransactionAsync(
                "recurring.peers",
                transaction => peers.AlarmOverdueAsync(transaction, PendingForTooLong, cancellationToken),
                cancellationToken);
        }
    }
}
