using Microsoft.Extensions.Logging;
using Npgsql;
using Quartz;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Storage;
using SecureMail.Ledger;

namespace SecureMail.Gateway.Recurring;

/// <summary>
/// What recurs: the overdue notices, and the alarm over peers' checkpoints that nothing joins. Quartz runs it, clustered on the gateway's own
/// database: of several nodes one does it, and another takes over when that one is gone.
/// </summary>
internal sealed class RecurringWork : IAsyncDisposable
{
    private static readonly TimeSpan PendingForTooLong = TimeSpan.FromHours(24);

    private readonly IScheduler _scheduler;

    private RecurringWork(IScheduler scheduler) => _scheduler = scheduler;

    public static async Task<RecurringWork> StartAsync(
        GatewayDatabase database, PeerLedger peers, GatewayOptions options, TimeProvider time, ILogger logger, CancellationToken cancellationToken)
    {
        // Not the caller's token: Quartz reports a cancelled start as a damaged schema.
        cancellationToken.ThrowIfCancellationRequested();
        var overdue = new Overdue(database, options, time, logger);
        var scheduler = await QuartzSchedulerBuilder.Create(quartz =>
        {
            quartz.UsePersistentStore(store =>
            {
                store.UsePostgres(database.ConnectionString);
                store.UseClustering(_ => { });
                store.UseSystemTextJsonSerializer();
                store.ConfigureStore(o => o.TablePrefix = "quartz.qrtz_");
            });
            quartz.AddJobType(_ => new OverdueJob(overdue));
            quartz.AddJobType(_ => new PeersJob(database, peers));
            quartz.ScheduleJob<OverdueJob>(t => t.WithIdentity("overdue").WithSimpleSchedule(TimeSpan.FromMinutes(1)), j => j.WithIdentity("overdue"));
            quartz.ScheduleJob<PeersJob>(t => t.WithIdentity("peers").WithSimpleSchedule(TimeSpan.FromMinutes(10)), j => j.WithIdentity("peers"));
        }).BuildScheduler(CancellationToken.None);
        await scheduler.Start(CancellationToken.None);
        return new RecurringWork(scheduler);
    }

    public async ValueTask DisposeAsync() => await _scheduler.Shutdown(waitForJobsToComplete: true);

    [DisallowConcurrentExecution]
    private sealed class OverdueJob(Overdue overdue) : IJob
    {
        public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) => await overdue.MarkAsync(cancellationToken);
    }

    [DisallowConcurrentExecution]
    private sealed class PeersJob(GatewayDatabase database, PeerLedger peers) : IJob
    {
        public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default)
        {
            await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
            await using NpgsqlTransaction transaction = await connection.BeginTransactionAsync(cancellationToken);
            await peers.AlarmOverdueAsync(transaction, PendingForTooLong, cancellationToken);
            await transaction.CommitAsync("recurring.peers", cancellationToken);
        }
    }
}
