using Microsoft.Extensions.Hosting;
using Npgsql;
using SecureMail.Gateway.Directories;

namespace SecureMail.Host.Services;

/// <summary>
/// Keeps the known snapshot of the directory current. A TLS handshake cannot wait for the database, and another process
/// may have imported a version.
/// </summary>
internal sealed class DirectoryRefresh(DirectoryStore directories, TimeProvider time) : BackgroundService
{
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await directories.CurrentAsync(stoppingToken);
            }
            catch (Exception e)
                when (e
                        is DirectoryException
                            or NpgsqlException
                            or IOException
                            or TimeoutException
                            or OperationCanceledException)
            {
                // There is none yet, or the database is away: health says so.
            }

            await Task.Delay(Every, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
