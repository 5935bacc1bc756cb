using System.Reflection;
using Microsoft.Extensions.Logging;
using SecureMail.Host.Settings;

namespace SecureMail.Host;

/// <summary>What the process says of itself when it starts: version, data, database, listeners, backup, and each
/// setting that differs from its default. No value that may hold a secret is logged.</summary>
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
            configuration.Process.Http.ToString(),
            configuration.Smtp.Listen?.ToString() ?? "none",
            gateway.Backup.IsConfigured ? gateway.Backup.Folder! : "none");
        foreach (var setting in configuration.Changed)
        {
            HostLog.Configured(logger, setting.Name, setting.Value);
        }
    }
}
