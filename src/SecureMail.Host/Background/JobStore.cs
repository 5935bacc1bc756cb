using Hangfire.AspNetCore;
using Hangfire.Logging;
using Hangfire.PostgreSql;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Storage;

namespace SecureMail.Host.Background;

/// <summary>Hangfire's tables in the gateway's database, over the gateway's own pool of connections.</summary>
internal sealed class JobStore(GatewayDatabase database) : IConnectionFactory
{
    /// <summary>The schema of Hangfire's tables. The migrator makes it as their owner.</summary>
    public const string Schema = "hangfire";

    // What each of these costs and saves: docs/decisions/0003-queue-and-hangfire.md.
    private static PostgreSqlStorageOptions Options =>
        new()
        {
            SchemaName = Schema,
            PrepareSchemaIfNecessary = false,
            // A node whose database is away does not begin: it tries again until the database is there.
            AllowDegradedModeWithoutStorage = false,
            UseSlidingInvisibilityTimeout = true,
            InvisibilityTimeout = TimeSpan.FromSeconds(10),
            DistributedLockTimeout = TimeSpan.FromSeconds(20),
            // A job is begun at once because its commit notifies; the poll finds the calls of a node that died.
            EnableLongPolling = true,
            QueuePollInterval = TimeSpan.FromSeconds(10),
            CountersAggregateInterval = TimeSpan.FromMinutes(30),
            JobExpirationCheckInterval = TimeSpan.FromHours(1),
        };

    public static PostgreSqlStorage Open(GatewayDatabase database)
    {
        JobTypes.Register();
        return new PostgreSqlStorage(new JobStore(database), Options);
    }

    /// <summary>Has Hangfire log where the process logs. Hangfire has one log for the whole process.</summary>
    public static void LogTo(ILoggerFactory loggers) =>
        LogProvider.SetCurrentLogProvider(new AspNetCoreLogProvider(loggers));

    public NpgsqlConnection GetOrCreateConnection() => database.Source.CreateConnection();
}
