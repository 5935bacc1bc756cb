using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging;

namespace SecureMail.Gateway.Health;

/// <summary>The health checks of a gateway, registered with the platform's service; <see cref="Admission"/> runs
/// them.</summary>
internal static class HealthChecks
{
    /// <summary>The tag of what asks the database, and of what measures a volume: either may hang by itself.</summary>
    public const string Database = "database",
        Volume = "volume";

    public static IServiceCollection AddGatewayHealth(this IServiceCollection services)
    {
        services.AddHealthChecks();
        // The service reports each failed check at each look, which is each second. Admission reports changes.
        services.AddLogging(l => l.AddFilter(typeof(HealthCheckService).Namespace, LogLevel.None));
        return services
            .AddSingleton<DatabaseTurn>()
            .AddCheck<ClockCheck>("clock", Database)
            .AddCheck<CommitCheck>("commit", Database)
            .AddCheck<BackupCheck>("backup", Database)
            .AddCheck<QueueCheck>("queue", Database)
            .AddCheck<DirectoryCheck>("directory", Database)
            .AddCheck<DiskCheck>("disk", Volume)
            .AddCheck<TemporaryFolderCheck>("temporary-folder", Volume)
            .AddSingleton<Admission>();
    }

    /// <summary>Healthy without an issue, unhealthy when one refuses new work, else degraded. The issues are the
    /// result's data, each under its name.</summary>
    public static HealthCheckResult Result(IReadOnlyList<HealthIssue> issues) =>
        new(
            issues.Count == 0 ? HealthStatus.Healthy
            : issues.Any(i => i.RefusesSubmissions || i.RefusesMail) ? HealthStatus.Unhealthy
            : HealthStatus.Degraded,
            data: issues.ToDictionary(i => i.Name, object (i) => i));

    // A check keeps what it knows from look to look, so there is one of each.
    private static IServiceCollection AddCheck<T>(this IServiceCollection services, string name, string tag)
        where T : class, IHealthCheck
    {
        services
            .AddOptions<HealthCheckServiceOptions>()
            .Configure<HealthOptions>((checks, limits) =>
                checks.Registrations.Add(
                    new HealthCheckRegistration(
                        name, s => s.GetRequiredService<T>(), failureStatus: null, [tag], limits.SlowDatabase)));
        return services.AddSingleton<T>();
    }
}
