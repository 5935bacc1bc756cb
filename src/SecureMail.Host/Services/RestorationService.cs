using Microsoft.Extensions.Hosting;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Recovery;

namespace SecureMail.Host.Services;

/// <summary>Opens the gate to work once a restored gateway is proven; afterwards it asks the peers for lost
/// mail.</summary>
internal sealed class RestorationService(Restoration restoration, ClockWatch clock, ServingNode node, WorkGate gate)
    : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await restoration.ProveAsync(stoppingToken);
        await clock.StartAsync(node.Name, stoppingToken);
        gate.Open();
        await restoration.AskForMailAsync(stoppingToken);
    }
}
