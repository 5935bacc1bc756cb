using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;

namespace SecureMail.Gateway.Inbound;

/// <summary>Whether the sender's ledger stands behind a message: the entry is in it, its checkpoint is joined to what
/// was seen before, and the entry commits to what was signed.</summary>
internal sealed class PeerEvidence(PeerLedger peers)
{
    /// <summary>Takes in the evidence that the peer's own ledger gave with a message, whatever the message is worth: a
    /// checkpoint of a quarantined message joins the peer's history like any other.</summary>
    public async Task<LedgerStanding> TakeInAsync(
        NpgsqlTransaction transaction, ValidatedMessage validated, LedgerEvidence evidence,
        CancellationToken cancellationToken)
    {
        // A directory that comes later may name this gateway, or another key of its ledger.
        var newerDirectory = new Awaited(AwaitedArrival.Directory, validated.Directory.Version);
        if (validated.Directory.FindGateway(validated.Received.Peer) is not { } gateway)
        {
            return new LedgerStanding(ReasonCode.LedgerEvidence, newerDirectory);
        }

        var key = VerifierKey.Parse(gateway.LedgerAt(validated.ProvenAt).Key);
        if (evidence.Verify(key) is not null)
        {
            return new LedgerStanding(ReasonCode.LedgerEvidence, newerDirectory);
        }

        try
        {
            var observed = await peers.ObserveAsync(
                transaction, key, evidence.Checkpoint.Note, evidence.Consistency, cancellationToken);
            var cosigner = VerifierKey.Parse(gateway.CosignerKey);
            foreach (var cosignature in evidence.Cosignatures)
            {
                await PeerLedger.AddCosignatureAsync(transaction, cosigner, cosignature, cancellationToken);
            }

            return observed.State switch
            {
                PeerState.Fork => new LedgerStanding(ReasonCode.LedgerFork, null),
                PeerState.BadSignature => new LedgerStanding(ReasonCode.LedgerEvidence, null),
                PeerState.Pending when !IsExcused(observed, validated.Received) => new LedgerStanding(
                    ReasonCode.LedgerEvidence, new Awaited(AwaitedArrival.Evidence, observed.Checkpoint!.Size)),
                _ => new LedgerStanding(null, null),
            };
        }
        catch (LedgerException)
        {
            return new LedgerStanding(ReasonCode.LedgerEvidence, null);
        }
    }

    /// <summary>Whether the ledger that the evidence is of is that of the sender's gateway. Where it is not, a later
    /// directory may say that the sender moved.</summary>
    public static LedgerStanding OfSender(LedgerStanding standing, ValidatedMessage validated, Agency sender) =>
        standing.Reason is not null || sender.GatewayAt(validated.ProvenAt) == validated.Received.Peer
            ? standing
            : new LedgerStanding(
                ReasonCode.LedgerEvidence, new Awaited(AwaitedArrival.Directory, validated.Directory.Version));

    /// <summary>Whether an entry commits to a digest under the salt that the signed content brings.</summary>
    /// <param name="subject">What the entry is about: the dispatch's id.</param>
    public static bool IsCommitted(
        LedgerEntry entry, string kind, Guid subject, ReadOnlySpan<byte> salt, ReadOnlySpan<byte> digest) =>
        entry.Kind == kind
        && entry.Object == subject.ToString()
        && entry.Commitments.TryGetValue("content", out var commitment)
        && commitment == Commitment.Of(salt, digest);

    /// <summary>
    /// Whether an honest peer could have brought no more than this. Deliveries overtake each other, so a checkpoint
    /// need not be joined to the highest verified by now; but it must be joined to what its session was asked for.
    /// Before anything was seen of the peer, its first deliveries come at once, and only one of them can be the first.
    /// What is let through in this way is asked about in the next session, which brings the proof or an alarm.
    /// </summary>
    private static bool IsExcused(PeerObservation observed, ReceivedMessage received) =>
        received.ProofAsked is { } asked && (asked == 0 || observed.JoinedFrom >= asked);
}

/// <summary>Whether the ledger of the gateway that brought a message stands behind it.</summary>
/// <param name="Reason">Why it does not, as a code; null where it does.</param>
/// <param name="Awaits">What could change that; null: nothing.</param>
internal sealed record LedgerStanding(string? Reason, Awaited? Awaits);
