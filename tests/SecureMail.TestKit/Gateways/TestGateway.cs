using System.Net;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using SecureMail.Backup;
using SecureMail.Gateway;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Jobs;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Recovery;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Retention;
using SecureMail.Host.Schema;
using SecureMail.Host.Services;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using SecureMail.Web;

namespace SecureMail.TestKit;

/// <summary>A gateway in the process of the test: the product's services on the product's host, without the
/// pages.</summary>
public sealed class TestGateway : IAsyncDisposable
{
    private readonly IHost _host;

    private TestGateway(GatewayDatabase database, IHost host) => (Database, _host) = (database, host);

    public GatewayDatabase Database { get; }

    public string Name => Get<DirectoryOptions>().Name;

    public GatewayIdentity Identity => Get<GatewayIdentity>();

    public DirectoryStore Directory => Get<DirectoryStore>();

    public WorkQueue Queue => Get<WorkQueue>();

    public WaitingWork Waiting => Get<WaitingWork>();

    public DestinationQueues Destinations => Get<DestinationQueues>();

    public OutgoingRegister Outgoing => Get<OutgoingRegister>();

    public NumberRegister Numbers => Get<NumberRegister>();

    public IncomingRegister Incoming => Get<IncomingRegister>();

    public Registration Registration => Get<Registration>();

    public NoticeRegister Notices => Get<NoticeRegister>();

    public LedgerRegister Ledger => Get<LedgerRegister>();

    public PolicyBook Policy => Get<PolicyBook>();

    public Erasure Erasure => Get<Erasure>();

    public StorageKeyRotation Rotation => Get<StorageKeyRotation>();

    public Backups Backups => Get<Backups>();

    public Restoration Restoration => Get<Restoration>();

    public JobRegister Jobs => Get<JobRegister>();

    /// <summary>Where it listens for mail, once it runs.</summary>
    public IPEndPoint? SmtpEndpoint => Get<SmtpListener>().Endpoint;

    /// <summary>Opens the gateway's keys and database; it listens to nothing yet.</summary>
    public static async Task<TestGateway> OpenAsync(
        GatewaySetup setup, TimeProvider time, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var database = await GatewayDatabase.OpenAsync(setup.Database, HostSchema.Migrator, cancellationToken);
        try
        {
            var builder = Microsoft.Extensions.Hosting.Host.CreateEmptyApplicationBuilder(null);
            builder.Services.AddSingleton(time);
            builder.Services.AddGateway(setup.Settings, database).AddGatewayHost(setup.Listener);
            builder.Services.AddSingleton(loggers);
            var gateway = new TestGateway(database, builder.Build());
            _ = gateway.Identity;
            return gateway;
        }
        catch
        {
            await database.DisposeAsync();
            throw;
        }
    }

    /// <summary>Serves until cancelled, then ends what runs and answers.</summary>
    /// <exception cref="StorageUnavailableException">Another process serves the data folder.</exception>
    public async Task RunAsync(CancellationToken stop)
    {
        try
        {
            await _host.StartAsync(stop);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // Told to stop while it started.
        }

        await _host.WaitForShutdownAsync(stop);
        foreach (var service in _host.Services.GetServices<IHostedService>().OfType<BackgroundService>())
        {
            if (service.ExecuteTask is { IsFaulted: true } failed)
            {
                await failed;
            }
        }
    }

    /// <summary>Takes mail until disposed, and does nothing with what was taken: no worker, no sequencer and no look at
    /// the node's health runs.</summary>
    public Task ListenAsync(CancellationToken cancellationToken) => Get<SmtpListener>().StartAsync(cancellationToken);

    public Task<SubmissionAnswer> SubmitAsync(Submission submission, CancellationToken cancellationToken) =>
        Get<OutboundFlow>().SubmitAsync(submission, cancellationToken);

    public Task<Stream> OpenMessageAsync(Guid blob, CancellationToken cancellationToken) =>
        Get<BlobStore>().OpenAsync(blob, cancellationToken);

    public Task<GatewayHealth> HealthAsync(CancellationToken cancellationToken) =>
        Get<GatewayStatus>().AskAsync(cancellationToken);

    public async ValueTask DisposeAsync()
    {
        if (_host is IAsyncDisposable host)
        {
            await host.DisposeAsync();
        }

        await Database.DisposeAsync();
    }

    private T Get<T>()
        where T : notnull => _host.Services.GetRequiredService<T>();
}
