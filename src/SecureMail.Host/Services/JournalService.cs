using Microsoft.Extensions.Hosting;
using SecureMail.Backup;

namespace SecureMail.Host.Services;

/// <summary>Keeps the backup's journal while the gateway serves, where one is configured.</summary>
internal sealed class JournalService(Backups backups, BackupOptions options) : BackgroundService
{
    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        options.IsConfigured ? backups.FollowAsync(options, stoppingToken) : Task.CompletedTask;
}
