using Microsoft.Extensions.Logging;

namespace SecureMail.Host;

internal static partial class HostLog
{
    [LoggerMessage(1001, LogLevel.Information, "Gateway {Name} serves; console at {Urls}")]
    public static partial void Serving(ILogger logger, string name, string urls);
}
