using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using SecureMail.Gateway;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage.Queue;

namespace SecureMail.Host.Services;

/// <summary>Works off the queue: which handler does which kind of work, and how many at once.</summary>
internal sealed class WorkerService(
    WorkQueue queue, OutboundFlow outbound, InboundFlow inbound, DeadWork dead, DeliveryOptions delivery, ServingNode node,
    WorkGate gate, TimeProvider time, ILogger<Worker> logger) : BackgroundService
{
    private const int SendSlots = 16;

    // The bytes of a message do not change, so a message that fails always fails the same way. The delays of five tries
    // make half a minute, which bridges what may be different the next time: memory that was short, a file that was
    // being replaced. What is known to pass (a database that is away, a token, a clock) does not count.
    private const int TriesOfValidation = 5;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await gate.WaitAsync(stoppingToken);
        using var worker = new Worker(queue, Handlers(), node.Name, time, logger);
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
        };
}
