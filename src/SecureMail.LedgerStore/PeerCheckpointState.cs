namespace SecureMail.LedgerStore;

/// <summary>The states of a peer's checkpoint in <c>ledger.peer_checkpoint</c>. Set by <see
/// cref="PeerLedger"/>.</summary>
public static class PeerCheckpointState
{
    /// <summary>A proof joins the checkpoint to the first one seen of this peer.</summary>
    public const string Verified = "verified";

    /// <summary>The checkpoint is signed and kept; no proof joins it yet.</summary>
    public const string Pending = "pending";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Verified, Pending];
}
