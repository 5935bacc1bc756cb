using Microsoft.Extensions.Logging;

namespace SecureMail.Host;

internal static partial class HostLog
{
    [LoggerMessage(1001, LogLevel.Information, "Gateway {Name} serves; console at {Urls}")]
    public static partial void Serving(ILogger logger, string name, string urls);

    [LoggerMessage(
        1002, LogLevel.Information,
        "SecureMail {Version}; data {Data}; database {Database}; console {Http}; mail listener {Smtp}; "
            + "backup {Backup}")]
    public static partial void Starting(
        ILogger logger, string version, string data, string database, string http, string smtp, string backup);

    [LoggerMessage(1003, LogLevel.Information, "Configured {Name} = {Value}")]
    public static partial void Configured(ILogger logger, string name, string value);

    [LoggerMessage(1004, LogLevel.Error, "A request for {Path} failed by a fault of this program")]
    public static partial void RequestFailed(ILogger logger, Exception fault, string path);
}
