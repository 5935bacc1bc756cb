using System.Net;

namespace SecureMail.Mail.Smtp.Server;

/// <summary>
/// Limits what is open at once on one server: connections by address, sessions by authenticated peer, messages by
/// sender. A request beyond a limit is refused at once and does not wait.
/// </summary>
internal sealed class ConnectionLimiter(SmtpServerLimits limits)
{
    public KeyedLimit<IPAddress> Addresses { get; } = new(limits.Connections, limits.ConnectionsPerAddress);

    public KeyedLimit<string> Peers { get; } = new(limits.Connections, limits.ConnectionsPerPeer);

    public KeyedLimit<string> Messages { get; } = new(limits.Messages, limits.MessagesPerPeer);
}

/// <summary>Counts what is open at once, in all and for each key, against two limits.</summary>
internal sealed class KeyedLimit<T>(int total, int perKey)
    where T : notnull
{
    private readonly Lock _lock = new();
    private readonly Dictionary<T, int> _counts = [];
    private int _total;

    public bool TryAcquire(T key)
    {
        lock (_lock)
        {
            var own = _counts.GetValueOrDefault(key);
            if (own >= perKey || _total >= total)
            {
                return false;
            }

            _counts[key] = own + 1;
            _total++;
            return true;
        }
    }

    public void Release(T key)
    {
        lock (_lock)
        {
            _total--;
            if (--_counts[key] == 0)
            {
                _counts.Remove(key);
            }
        }
    }
}
