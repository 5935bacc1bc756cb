using System.Net;
using Microsoft.Extensions.Logging;

namespace SecureMail.Mail.Smtp.Server;

/// <summary>Says how many connections were refused, once a minute at most, because a client that is refused may come
/// again at once and would fill the log.</summary>
internal sealed class RefusalLog(TimeProvider time, ILogger logger)
{
    private static readonly TimeSpan Every = TimeSpan.FromMinutes(1);

    private readonly Lock _lock = new();
    private long? _saidAt;
    private int _unsaid;

    public void Add(IPEndPoint remote, string reason)
    {
        Log.ConnectionRefused(logger, remote.ToString(), reason);
        int count;
        lock (_lock)
        {
            _unsaid++;
            if (_saidAt is { } at && time.GetElapsedTime(at) < Every)
            {
                return;
            }

            (count, _unsaid, _saidAt) = (_unsaid, 0, time.GetTimestamp());
        }

        Log.ConnectionsRefused(logger, count, remote.ToString(), reason);
    }
}
