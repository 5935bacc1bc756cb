using SecureMail.Ledger;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// The sizes of our ledger that left for each peer lately. A message brings proofs from these sizes beside those that
/// the peer asked for. So each message of a burst joins the ones before it, in whatever order they are validated,
/// although all sessions of the burst begin before the peer has seen the first message.
/// </summary>
/// <remarks>A bounded hint in this node's memory. What it forgets, the peer asks for in its next session.</remarks>
internal sealed class RecentCheckpointSizes
{
    private const int Kept = LedgerEvidence.MaxProofs;

    private readonly Dictionary<string, SortedSet<long>> _shown = new(StringComparer.Ordinal);
    private readonly Lock _lock = new();

    /// <summary>The sizes that the peer asked for, then those shown above the highest size that the peer says it
    /// verified, the newest first.</summary>
    public IReadOnlyList<long> ProofsFor(string peer, IReadOnlyList<long> asked)
    {
        lock (_lock)
        {
            return _shown.TryGetValue(peer, out var shown)
                ? [.. asked, .. shown.Reverse().TakeWhile(size => asked.Count == 0 || size > asked[0]).Except(asked)]
                : asked;
        }
    }

    public void Add(string peer, long size)
    {
        lock (_lock)
        {
            if (!_shown.TryGetValue(peer, out var shown))
            {
                _shown[peer] = shown = [];
            }

            if (shown.Add(size) && shown.Count > Kept)
            {
                shown.Remove(shown.Min);
            }
        }
    }
}
