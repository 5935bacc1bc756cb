using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using SecureMail.Host.Background;
using SecureMail.Storage;

namespace SecureMail.Host.Services;

/// <summary>What a serving gateway runs, in the order in which it starts; it stops in the reverse order.</summary>
internal static class GatewayHost
{
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(60);

    /// <summary>Adds the hosted services of a node. The services of the gateway itself are added beside them.</summary>
    /// <param name="smtp">Where mail is taken.</param>
    public static IServiceCollection AddGatewayHost(this IServiceCollection services, SmtpListenerOptions smtp)
    {
        services.Configure<HostOptions>(o => o.ShutdownTimeout = Grace);
        services.AddSingleton(smtp).AddSingleton<WorkGate>().AddSingleton<GatewayStatus>();
        services.AddRunning<ServingNode>();
        services.AddRunning<LocalSocket>();
        // The journal outlives everything that writes. Otherwise the last commits would be answered and be in no
        // backup.
        services.AddRunning<JournalService>();
        services.AddRunning<DatabaseSupervisor>();
        services.AddRunning<SmtpListener>();
        services.AddRunning<RestorationService>();
        services.AddRunning<SequencerService>();
        services.AddRunning<WorkerService>();
        services.AddSingleton(s => JobStore.Open(s.GetRequiredService<GatewayDatabase>()));
        services.AddRunning<JobService>();
        return services;
    }

    private static void AddRunning<T>(this IServiceCollection services)
        where T : class, IHostedService => services.AddSingleton<T>().AddHostedService(s => s.GetRequiredService<T>());
}
