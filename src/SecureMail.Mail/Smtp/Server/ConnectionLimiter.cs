using System.Net;

namespace SecureMail.Mail.Smtp.Server;

/// <summary>The places of one server: connections by address, sessions by named peer, messages by whoever sends them.
/// Nobody waits for one: there is a place, or a refusal at once.</summary>
internal sealed class ConnectionLimiter(SmtpServerLimits limits)
{
    public Places<IPAddress> Addresses { get; } = new(limits.Connections, limits.ConnectionsPerAddress);

    public Places<string> Peers { get; } = new(limits.Connections, limits.ConnectionsPerPeer);

    public Places<string> Messages { get; } = new(limits.Messages, limits.MessagesPerPeer);
}

/// <summary>So many places, and of these so many for each.</summary>
internal sealed class Places<T>(int all, int each)
    where T : notnull
{
    private readonly Lock _lock = new();
    private readonly Dictionary<T, int> _taken = [];
    private int _total;

    public bool TryTake(T by)
    {
        lock (_lock)
        {
            var own = _taken.GetValueOrDefault(by);
            if (own >= each || _total >= all)
            {
                return false;
            }

            _taken[by] = own + 1;
            _total++;
            return true;
        }
    }

    public void GiveBack(T by)
    {
        lock (_lock)
        {
            _total--;
            if (--_taken[by] == 0)
            {
                _taken.Remove(by);
            }
        }
    }
}
