using Microsoft.Extensions.Hosting;
using SecureMail.Storage;

namespace SecureMail.Host.Services;

/// <summary>Holds the lock on the data folder while the process serves, and knows the node's name.</summary>
internal sealed class ServingNode(DatabaseOptions options) : IHostedService
{
    private ServingLock? _lock;

    /// <summary>The name of the node that serves this data folder.</summary>
    /// <exception cref="InvalidOperationException">The process does not serve.</exception>
    public string Name => _lock?.Node ?? throw new InvalidOperationException("This process does not serve.");

    /// <exception cref="StorageUnavailableException">Another process serves the folder.</exception>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        _lock = ServingLock.Take(options.DataFolder);
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken)
    {
        _lock?.Dispose();
        _lock = null;
        return Task.CompletedTask;
    }
}
