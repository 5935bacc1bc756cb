using Microsoft.Extensions.Hosting;
using SecureMail.Gateway.Health;

namespace SecureMail.Host.Services;

/// <summary>Looks at the gateway's health each second, and starts a private database again that went down.</summary>
internal sealed class DatabaseSupervisor(Admission admission) : BackgroundService
{
    /// <summary>Looks once before anything listens, so that the first peer is answered by what is true.</summary>
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await admission.ProblemsAsync(cancellationToken);
        await base.StartAsync(cancellationToken);
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken) => admission.SuperviseAsync(stoppingToken);
}
