using Microsoft.Extensions.Hosting;
using SecureMail.Gateway.Clock;

namespace SecureMail.Host.Services;

/// <summary>Compares the clocks each second.</summary>
internal sealed class ClockService(ClockWatch clock, WorkGate gate) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await gate.WaitAsync(stoppingToken);
        await clock.RunAsync(stoppingToken);
    }
}
