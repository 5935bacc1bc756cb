using Microsoft.Extensions.Hosting;
using SecureMail.Gateway.Health;

namespace SecureMail.Host.Services;

/// <summary>Looks at the gateway's health each second, and starts a private database again that went down. The look
/// also compares the clocks and brings the known snapshot of the directory up to date: a TLS handshake cannot wait for
/// the database, and another process may have imported a version.</summary>
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
