using System.Net;
using System.Net.Sockets;

namespace SecureMail.Mail.Smtp.Server;

/// <summary>
/// Limits what is open at once on one server: connections of strangers in all and by address, sessions by authenticated
/// peer, messages by sender. Nothing waits for a place.
/// </summary>
/// <remarks>
/// Every connection begins as a stranger's. It takes a place of the strangers until <see
/// cref="SmtpServerOptions.AuthenticatePeer"/> identifies its peer; then it takes a place of the peers, which no
/// stranger can take. When the strangers' places are full, the oldest connection without TLS gives way to the new one,
/// because a peer needs a moment for its handshake and a stranger may stay for as long as it is let. A connection from
/// an address where a peer authenticated before gives way last, so that strangers who come again and again do not cut
/// off the handshakes of peers.
/// </remarks>
internal sealed class ConnectionLimiter(SmtpServerLimits limits)
{
    /// <summary>Peers are those of one directory; the addresses kept are bounded all the same.</summary>
    private const int MostPeerAddresses = 10_000;

    private readonly Lock _lock = new();
    private readonly LinkedList<ConnectionPlace> _canGiveWay = []; // the oldest first
    private readonly HashSet<IPAddress> _peerAddresses = [];
    private readonly KeyedLimit<IPAddress> _strangers = new(limits.StrangerPlaces, limits.ConnectionsPerAddress);
    private readonly KeyedLimit<string> _peers = new(
        limits.Connections - limits.StrangerPlaces, limits.ConnectionsPerPeer);

    public KeyedLimit<string> Messages { get; } = new(limits.Messages, limits.MessagesPerPeer);

    /// <summary>A place for a new connection. Null: its address has too many, or no connection can give way.</summary>
    public ConnectionPlace? TryEnter(IPAddress address)
    {
        var key = Network(address);
        lock (_lock)
        {
            if (_strangers.CountOf(key) >= limits.ConnectionsPerAddress)
            {
                return null;
            }

            if (!_strangers.TryAcquire(key))
            {
                var oldest = _canGiveWay.FirstOrDefault(p => !_peerAddresses.Contains(p.Address))
                    ?? _canGiveWay.First?.Value;
                if (oldest is null)
                {
                    return null;
                }

                LeaveStrangers(oldest);
                oldest.GiveWay();
                _strangers.TryAcquire(key);
            }

            var place = new ConnectionPlace(this, key);
            _canGiveWay.AddLast(place.Node);
            return place;
        }
    }

    internal bool TryAuthenticate(ConnectionPlace place, string peer)
    {
        lock (_lock)
        {
            if (place.GaveWay.IsCancellationRequested || !_peers.TryAcquire(peer))
            {
                return false;
            }

            LeaveStrangers(place);
            place.Peer = peer;
            if (_peerAddresses.Count < MostPeerAddresses)
            {
                _peerAddresses.Add(place.Address);
            }

            return true;
        }
    }

    internal void KeepWithTls(ConnectionPlace place)
    {
        lock (_lock)
        {
            if (place.Node.List is not null)
            {
                _canGiveWay.Remove(place.Node);
            }
        }
    }

    internal void Leave(ConnectionPlace place)
    {
        lock (_lock)
        {
            if (place.Peer is { } peer)
            {
                _peers.Release(peer);
                place.Peer = null;
            }
            else
            {
                LeaveStrangers(place);
            }
        }
    }

    private void LeaveStrangers(ConnectionPlace place)
    {
        if (place.Node.List is not null)
        {
            _canGiveWay.Remove(place.Node);
        }

        if (place.IsStranger)
        {
            place.IsStranger = false;
            _strangers.Release(place.Address);
        }
    }

    /// <summary>One subscriber commonly has an IPv6 network of 64 bits (RFC 4291 §2.5.4), so the network counts as one
    /// address.</summary>
    private static IPAddress Network(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6)
        {
            return address.MapToIPv4();
        }

        if (address.AddressFamily != AddressFamily.InterNetworkV6)
        {
            return address;
        }

        var bytes = address.GetAddressBytes();
        bytes.AsSpan(8).Clear();
        return new IPAddress(bytes);
    }
}

/// <summary>The place of one connection; disposing gives it back.</summary>
internal sealed class ConnectionPlace : IDisposable
{
    private readonly ConnectionLimiter _limiter;
    private readonly CancellationTokenSource _gaveWay = new();

    public ConnectionPlace(ConnectionLimiter limiter, IPAddress address)
    {
        _limiter = limiter;
        Address = address;
        Node = new LinkedListNode<ConnectionPlace>(this);
    }

    /// <summary>Cancelled when the connection must end at once, because its place went to another.</summary>
    public CancellationToken GaveWay => _gaveWay.Token;

    internal IPAddress Address { get; }

    internal LinkedListNode<ConnectionPlace> Node { get; }

    internal bool IsStranger { get; set; } = true;

    internal string? Peer { get; set; }

    /// <summary>Moves to a place of the peers. False: this peer has too many, or the peers' places are full; the
    /// connection stays a stranger's.</summary>
    public bool TryAuthenticate(string peer) => _limiter.TryAuthenticate(this, peer);

    /// <summary>The connection has TLS and no peer was asked for: it stays a stranger's and gives way no
    /// more.</summary>
    public void KeepWithTls() => _limiter.KeepWithTls(this);

    public void Dispose() => _limiter.Leave(this);

    // The callbacks run elsewhere, because the caller holds the limiter's lock.
    internal void GiveWay() => _ = _gaveWay.CancelAsync();
}

/// <summary>Counts what is open at once, in all and for each key, against two limits.</summary>
internal sealed class KeyedLimit<T>(int total, int perKey)
    where T : notnull
{
    private readonly Lock _lock = new();
    private readonly Dictionary<T, int> _counts = [];
    private int _total;

    public int CountOf(T key)
    {
        lock (_lock)
        {
            return _counts.GetValueOrDefault(key);
        }
    }

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
