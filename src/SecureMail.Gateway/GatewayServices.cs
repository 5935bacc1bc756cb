using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using SecureMail.Backup;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Jobs;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Recovery;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Retention;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway;

/// <summary>What a gateway is made of. The services do nothing by themselves; the host runs them.</summary>
public static class GatewayServices
{
    /// <summary>Adds the gateway's services over an open database, which stays the caller's.</summary>
    /// <remarks>The gateway's key files are read when a service first needs one.</remarks>
    public static IServiceCollection AddGateway(
        this IServiceCollection services, GatewaySettings settings, GatewayDatabase database)
    {
        services.AddLogging();
        services.TryAddSingleton(TimeProvider.System);
        services
            .AddSingleton(settings.Directory)
            .AddSingleton(settings.Database)
            .AddSingleton(settings.Keys)
            .AddSingleton(settings.Trust)
            .AddSingleton(settings.Clock)
            .AddSingleton(settings.Delivery)
            .AddSingleton(settings.Inbound)
            .AddSingleton(settings.Health)
            .AddSingleton(settings.Retention)
            .AddSingleton(settings.Backup)
            .AddSingleton(settings.Files)
            .AddSingleton(database)
            .AddSingleton(database.Source);
        return services.AddStorage().AddDomain().AddFlows();
    }

    private static IServiceCollection AddStorage(this IServiceCollection services) =>
        services
            .AddSingleton(s =>
                GatewayIdentity.Load(s.GetRequiredService<KeyOptions>(), s.GetRequiredService<DirectoryOptions>().Name))
            .AddSingleton(s => s.GetRequiredService<GatewayIdentity>().Storage)
            .AddSingleton<BlobStore>()
            .AddSingleton<CardCipher>()
            .AddSingleton<StorageKeyRotation>()
            .AddSingleton(s => new WorkQueue(s.GetRequiredService<GatewayDatabase>().Source)
            {
                MonotonicNow = () => s.GetRequiredService<ClockWatch>().DatabaseNow,
            })
            .AddSingleton(s => new DestinationQueues(
                s.GetRequiredService<GatewayDatabase>().Source, s.GetRequiredService<DeliveryOptions>().Probe))
            .AddSingleton(s => new PeerLedger(
                s.GetRequiredService<GatewayIdentity>().Cosigner, s.GetRequiredService<TimeProvider>(),
                s.GetRequiredService<ILogger<PeerLedger>>()))
            .AddSingleton(s => new Backups(
                s.GetRequiredService<GatewayDatabase>(), s.GetRequiredService<GatewayIdentity>().Tls,
                s.GetRequiredService<GatewayFiles>(), s.GetRequiredService<TimeProvider>(),
                s.GetRequiredService<ILogger<Backups>>()));

    private static IServiceCollection AddDomain(this IServiceCollection services) =>
        services
            .AddSingleton(s => new DirectoryStore(
                s.GetRequiredService<GatewayDatabase>().Source,
                GatewayTrust.LoadPublisher(s.GetRequiredService<DirectoryOptions>()),
                s.GetRequiredService<TimeProvider>()))
            .AddSingleton<SendingPolicy>()
            .AddSingleton<PolicyBook>()
            .AddSingleton<OperatorAccount>()
            .AddSingleton<OutgoingRegister>()
            .AddSingleton<NumberRegister>()
            .AddSingleton<IncomingRegister>()
            .AddSingleton<NoticeRegister>()
            .AddSingleton<LedgerRegister>()
            .AddSingleton<GatewayTrust>()
            .AddSingleton<CertificateChoice>()
            .AddSingleton<AgencyKeys>()
            .AddSingleton<ClockWatch>()
            .AddGatewayHealth()
            .AddSingleton<DeadWork>()
            .AddSingleton<RetentionSweep>()
            .AddSingleton<Erasure>()
            .AddSingleton<JobTable>()
            .AddSingleton<JobSteps>()
            .AddSingleton<JobRunner>()
            .AddSingleton(s => new JobRegister(
                s.GetRequiredService<JobTable>(), s.GetRequiredService<StorageKeyRotation>()))
            .AddSingleton(s => new WaitingWork(
                s.GetRequiredService<GatewayDatabase>(), s.GetRequiredService<JobTable>(),
                s.GetRequiredService<TimeProvider>()))
            .AddSingleton<PeerRequests>()
            .AddSingleton(s => new Restoration(
                s.GetRequiredService<GatewayDatabase>(), s.GetRequiredService<DirectoryStore>(),
                s.GetRequiredService<GatewayIdentity>(), s.GetRequiredService<DirectoryOptions>(),
                s.GetRequiredService<TimeProvider>(), s.GetRequiredService<ILogger<Restoration>>()));

    private static IServiceCollection AddFlows(this IServiceCollection services) =>
        services
            .AddSingleton<Accept>()
            .AddSingleton<Authorise>()
            .AddSingleton<Sign>()
            .AddSingleton<Enqueue>()
            .AddSingleton<SendRecorder>()
            .AddSingleton<Send>()
            .AddSingleton<Overdue>()
            .AddSingleton<GiveUp>()
            .AddSingleton<Deadlines>()
            .AddSingleton<OutboundFlow>()
            .AddSingleton<Receive>()
            .AddSingleton<TakeHere>(s => s.GetRequiredService<Receive>().TakeHereAsync)
            .AddSingleton<IncomingValidator>()
            .AddSingleton<PeerEvidence>()
            .AddSingleton<PeerAlarms>()
            .AddSingleton<Arrivals>()
            .AddSingleton<WaitingRule>()
            .AddSingleton<AcceptancePolicy>()
            .AddSingleton<Acknowledge>()
            .AddSingleton<IncomingRecorder>()
            .AddSingleton(s => new Registration(
                s.GetRequiredService<GatewayDatabase>(), s.GetRequiredService<BlobStore>(),
                s.GetRequiredService<ClockWatch>(), s.GetRequiredService<TimeProvider>()))
            .AddSingleton<ReceiptSender>()
            .AddSingleton<InboundFlow>();
}
