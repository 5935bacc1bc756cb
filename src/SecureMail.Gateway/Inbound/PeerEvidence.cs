using Npgsql;
using SecureMail.Exchange;
using SecureMail.Ledger;
using SecureMail.LedgerStore;

namespace SecureMail.Gateway.Inbound;

/// <summary>Whether the sender's ledger stands behind a message: the entry is in it, its checkpoint is joined to what
/// was seen before, and the entry commits to what was signed.</summary>
internal sealed class PeerEvidence(PeerLedger peers)
{
    /// <summary>Takes the evidence in. Answers null where the ledger stands behind the message; else the reason as a
    /// code.</summary>
    public async Task<string?> ObserveAsync(
        NpgsqlTransaction transaction, ValidatedMessage validated, Agency sender, CancellationToken cancellationToken)
    {
        var gateway = validated.Directory.GatewayOf(sender, validated.ProvenAt);
        if (validated.Evidence is not { } evidence || gateway.Name != validated.Received.Peer)
        {
            return ReasonCode.LedgerEvidence;
        }

        var key = VerifierKey.Parse(gateway.LedgerAt(validated.ProvenAt).Key);
        if (evidence.Verify(key) is not null)
        {
            return ReasonCode.LedgerEvidence;
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
                PeerState.Fork => ReasonCode.LedgerFork,
                PeerState.BadSignature => ReasonCode.LedgerEvidence,
                PeerState.Pending when !IsExcused(observed, validated.Received) => ReasonCode.LedgerEvidence,
                _ => null,
            };
        }
        catch (LedgerException)
        {
            return ReasonCode.LedgerEvidence;
        }
    }

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
