using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using SecureMail.Gateway.Keys;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Host.Services;

/// <summary>Sequences the ledger. A checkpoint frees the work that waited for it, in the same commit.</summary>
internal sealed class SequencerService(
    GatewayDatabase database, GatewayIdentity identity, WorkGate gate, TimeProvider time,
    ILogger<Sequencer> logger) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await gate.WaitAsync(stoppingToken);
        var sequencer = new Sequencer(
            database.Source, identity.Ledger, new SequencerOptions(), time, logger, WorkQueue.ReleaseAsync);
        await sequencer.RunAsync(stoppingToken);
    }
}
