using Microsoft.Extensions.Logging;

namespace SecureMail.Gateway.Jobs;

internal static partial class JobLog
{
    [LoggerMessage(1851, LogLevel.Information, "Job {Kind} {Id} begins, run {Run}")]
    public static partial void Begun(ILogger logger, string kind, Guid id, int run);

    [LoggerMessage(1852, LogLevel.Information, "Job {Kind} {Id}: {State}")]
    public static partial void Settled(ILogger logger, string kind, Guid id, string state);

    [LoggerMessage(1853, LogLevel.Error, "Job {Kind} {Id} failed")]
    public static partial void Failed(ILogger logger, Exception error, string kind, Guid id);

    [LoggerMessage(1854, LogLevel.Warning, "Lost the lease on job {Kind} {Id}; another node does it")]
    public static partial void LeaseLost(ILogger logger, string kind, Guid id);

    [LoggerMessage(1855, LogLevel.Warning, "The database is away; job {Kind} {Id} is asked for again: {Error}")]
    public static partial void DatabaseAway(ILogger logger, string kind, Guid id, string error);

    [LoggerMessage(1856, LogLevel.Information, "{Count} jobs that nobody did are asked for again")]
    public static partial void AskedAgain(ILogger logger, int count);
}
