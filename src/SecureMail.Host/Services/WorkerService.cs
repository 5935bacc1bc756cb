using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using SecureMail.Gateway;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage.Queue;

namespace SecureMail.Host.Services;

/// <summary>Works off the queue: which handler does which kind of work, and how many at once.</summary>
internal sealed class WorkerService(
    WorkQueue queue, OutboundFlow outbound, InboundFlow inbound, DeliveryOptions delivery, ServingNode node,
    WorkGate gate, TimeProvider time, ILogger<Worker> logger) : BackgroundService
{
    private const int SendSlots = 16;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await gate.WaitAsync(stoppingToken);
        using var worker = new Worker(queue, Handlers(), node.Name, time, logger);
        await worker.RunAsync(stoppingToken);
    }

    private Dictionary<string, WorkHandler> Handlers() =>
        new()
        {
            [WorkKind.SignAndEncrypt] = new(4, outbound.SignAndEncryptAsync),
            [WorkKind.Send] = new(SendSlots, outbound.SendAsync)
            {
                Destinations = new DestinationLimits(delivery.PerDestination, SendSlots / 2),
                Retry = delivery.Retry,
            },
            [WorkKind.Validate] = new(4, inbound.ValidateAsync),
            [WorkKind.SendReceipt] = new(4, inbound.SendReceiptAsync),
        };
}
