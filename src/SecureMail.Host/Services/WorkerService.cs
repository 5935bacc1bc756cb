using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using SecureMail.Gateway;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Jobs;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage.Queue;

namespace SecureMail.Host.Services;

/// <summary>Works off the queue: which handler does which kind of work, how many at once, and how often the timers fall
/// due.</summary>
internal sealed class WorkerService(
    WorkQueue queue, OutboundFlow outbound, InboundFlow inbound, Deadlines deadlines, PeerAlarms peers,
    Arrivals arrivals, JobRunner jobs, DeadWork dead, DeliveryOptions delivery, ServingNode node, WorkGate gate,
    TimeProvider time,
    ILogger<Worker> logger) : BackgroundService
{
    private Worker? _worker;

    private const int SendSlots = 16;

    // The bytes of a message do not change, so a message that fails always fails the same way. The delays of five tries
    // make half a minute, which bridges what may be different the next time: memory that was short, a file that was
    // being replaced. What is known to pass (a database that is away, a token, a clock) does not count.
    private const int TriesOfValidation = 5;

    /// <summary>Signs one accepted dispatch now, if its work is due and nobody does it.</summary>
    public Task SignAsync(Guid dispatch, CancellationToken cancellationToken) =>
        _worker?.DoAsync(WorkKind.SignAndEncrypt, dispatch, cancellationToken) ?? Task.CompletedTask;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await gate.WaitAsync(stoppingToken);
        using var worker = new Worker(queue, Handlers(), node.Name, time, logger);
        _worker = worker;
        await worker.RunAsync(stoppingToken);
    }

    private Dictionary<string, WorkHandler> Handlers() =>
        new()
        {
            [WorkKind.SignAndEncrypt] = new(4, outbound.SignAndEncryptAsync, dead.GiveUpAsync),
            [WorkKind.Send] = new(SendSlots, outbound.SendAsync, dead.GiveUpAsync)
            {
                Destinations = new DestinationLimits(delivery.PerDestination, SendSlots / 2),
                Retry = delivery.Retry,
            },
            [WorkKind.Validate] = new(4, inbound.ValidateAsync, inbound.GiveUpValidationAsync)
            {
                MostFailures = TriesOfValidation,
            },
            [WorkKind.SendReceipt] = new(4, inbound.SendReceiptAsync, dead.GiveUpAsync),
            [WorkKind.Overdue] = new(1, deadlines.CheckAsync, dead.GiveUpAsync) { Every = delivery.OverdueEvery },
            [WorkKind.PeerAlarms] = new(1, peers.RaiseAsync, dead.GiveUpAsync) { Every = PeerAlarms.Every },
            // Fewer at once than of new mail, which they must not delay.
            [WorkKind.ValidateAgain] = new(2, inbound.ValidateAgainAsync, dead.GiveUpAsync)
            {
                MostFailures = TriesOfValidation,
            },
            [WorkKind.Arrivals] = new(1, arrivals.LookAsync, dead.GiveUpAsync) { Every = Arrivals.Every },
            [WorkKind.LostJobs] = new(1, jobs.RecoverAsync, dead.GiveUpAsync) { Every = JobRunner.RecoverEvery },
        };
}
