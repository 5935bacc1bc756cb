using SecureMail.Ledger;

namespace SecureMail.LedgerStore;

public enum PeerState
{
    /// <summary>A proof joins the checkpoint to the first one seen of this peer, so its past is unchanged.</summary>
    Verified,

    /// <summary>The checkpoint is signed and stored, and no proof joins it yet. This is normal when deliveries overtake
    /// each other. A later proof joins it.</summary>
    Pending,

    /// <summary>The peer signed two histories. An alarm with both notes is stored.</summary>
    Fork,

    /// <summary>The note is not signed by the peer's key, or is of another log. An alarm is stored. Nothing else
    /// changed.</summary>
    BadSignature,
}

/// <summary>The result of observing one checkpoint of a peer.</summary>
/// <param name="State">The state of the checkpoint.</param>
/// <param name="Checkpoint">The checkpoint as read. Null only for BadSignature of an unreadable note.</param>
/// <param name="Cosignature">
/// With Verified: our cosignature over the highest verified checkpoint of the peer. That one may be newer than the
/// observed one, because a cosignature states the largest tree seen (C2SP tlog-cosignature).
/// </param>
/// <param name="AlarmRaised">Whether a new alarm row was written. The same evidence raises one alarm only.</param>
/// <param name="JoinedFrom">
/// The largest earlier verified size that this checkpoint is joined to: its own size if it was verified already, else
/// the size of a valid proof that came with it, 0 for the first checkpoint ever seen of the peer, null if no proof
/// joins it. An honest peer that was asked for a proof from size n brings a checkpoint joined from n or more, even when
/// deliveries overtake each other.
/// </param>
public sealed record PeerObservation(
    PeerState State, Checkpoint? Checkpoint, Cosignature? Cosignature, bool AlarmRaised, long? JoinedFrom);
