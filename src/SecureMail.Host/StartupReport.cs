using System.Reflection;
using Microsoft.Extensions.Logging;
using SecureMail.Mail;

namespace SecureMail.Host;

/// <summary>What the process says of itself when it starts: version, data, database, listeners. No value that may hold
/// a secret is logged.</summary>
internal static class StartupReport
{
    public static void Log(ILogger logger, HostConfiguration configuration)
    {
        var gateway = configuration.Gateway;
        HostLog.Starting(
            logger,
            typeof(StartupReport)
                .Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()
                ?.InformationalVersion
                ?? "",
            gateway.Database.DataFolder,
            gateway.Database.Connection is null ? "private cluster" : "configured server",
            configuration.Smtp.Listen?.ToString() ?? "none",
            gateway.Backup.IsConfigured ? gateway.Backup.Folder! : "none");
    }
}
