using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Inbound;

/// <summary>
/// Sent | unknown → held | acknowledged | refused, and held → acknowledged | refused: a receipt that its addressee
/// signed, about the very bytes that we signed, with the proof that its ledger says the same.
/// </summary>
internal sealed class Acknowledge(BlobStore blobs, TimeProvider time)
{
    /// <summary>Writes what the receipt says to the transmission, in the caller's transaction; a receipt that came
    /// before, or that a later one overtook, changes nothing. Answers null, or why the receipt counts for
    /// nothing.</summary>
    public async Task<string?> AcknowledgeAsync(
        NpgsqlTransaction transaction, DecidedMessage decided, CancellationToken cancellationToken)
    {
        var receipt = decided.Receipt!;
        var sent = await TransmissionTable.FindAnsweredAsync(
            transaction, receipt.DispatchId, receipt.Sender, receipt.Recipient, cancellationToken);
        if (sent is null)
        {
            return ReasonCode.ReceiptForNothing;
        }

        if (sent.Digest is null || !receipt.Digest.AsSpan().SequenceEqual(sent.Digest))
        {
            return ReasonCode.ReceiptForOtherContent;
        }

        // The salt was destroyed with the content, so what the receipt's ledger commits to cannot be compared any more.
        if (sent.IsErased)
        {
            return ReasonCode.ReceiptForErased;
        }

        var manifest = Manifest.Parse(
            await blobs.ReadAllAsync(transaction, sent.Manifest, Manifest.MaxBytes, cancellationToken));
        if (!IsInLedger(decided, manifest))
        {
            return ReasonCode.LedgerEvidence;
        }

        var (seq, state, digest) = (receipt.Seq ?? 1, receipt.StateOrEvent, receipt.DigestOfContent());
        if (seq == sent.AnswerSeq)
        {
            return digest.AsSpan().SequenceEqual(sent.AnswerDigest) ? null : ReasonCode.ReceiptConflict;
        }

        // The higher number counts, and a receipt that comes late changes nothing. An answer without a number was
        // recorded by a build that knew one receipt only.
        var isClosed = sent.State is TransmissionState.Acknowledged or TransmissionState.Refused;
        if (seq < sent.AnswerSeq || (sent.AnswerSeq is null && isClosed && seq == 1))
        {
            return null;
        }

        // What was given up may have arrived all the same: the receipt is the better knowledge.
        await TransmissionTable.AnswerAsync(
            transaction,
            new TransmissionAnswer(
                sent.Id, StateOf(state), seq, state, digest, receipt.Event, receipt.ArrivalNumber,
                receipt.Event == ReceiptEvent.ContentConsignment ? null : receipt.Reason?.Code ?? receipt.Event),
            time.GetUtcNow(), cancellationToken);
        // Nothing is sent any more to a recipient that has answered.
        await WorkQueue.RemoveUnleasedAsync(transaction, WorkKind.Send, sent.Id, cancellationToken);
        await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = time.GetUtcNow(),
                Agency = receipt.Sender,
                Kind = EntryOf(state),
                Object = sent.Id.ToString(),
                Commitments = new Dictionary<string, string>
                {
                    ["receipt"] = Commitment.Of(manifest.Salt, decided.Validated.SignedDigest),
                },
            },
            cancellationToken);
        return null;
    }

    private static string StateOf(string answer) =>
        answer switch
        {
            ReceiptState.Arrived or ReceiptState.Registered => TransmissionState.Acknowledged,
            ReceiptState.Held => TransmissionState.Held,
            _ => TransmissionState.Refused,
        };

    private static string EntryOf(string answer) =>
        answer switch
        {
            ReceiptState.Arrived => EntryKind.DispatchAcknowledged,
            ReceiptState.Registered => EntryKind.DispatchRegistered,
            ReceiptState.Held => EntryKind.DispatchHeld,
            _ => EntryKind.DispatchRejected,
        };

    /// <summary>
    /// The proof inside the receipt is for the very entry that the mail's ledger field proves: that one's checkpoint
    /// was compared with what was seen of the ledger before, so the entry we keep as evidence stands on the line that
    /// we follow.
    /// </summary>
    private static bool IsInLedger(DecidedMessage decided, Manifest manifest)
    {
        var (receipt, signer) = (decided.Receipt!, decided.Sender!);
        var gateway = decided.Validated.Directory.GatewayOf(signer, decided.Validated.ProvenAt);
        try
        {
            var evidence = LedgerEvidence.Parse(Convert.FromBase64String(receipt.Ledger));
            return evidence.Verify(VerifierKey.Parse(gateway.LedgerAt(decided.Validated.ProvenAt).Key)) is null
                && decided.Validated.Evidence is { } field
                && field.Entry.ToBytes().AsSpan().SequenceEqual(evidence.Entry.ToBytes())
                && evidence.Entry.Agency == signer.Id
                && evidence.Entry.Commitments.TryGetValue("content", out var content)
                && content == Commitment.Of(manifest.Salt, receipt.Digest)
                && (evidence.Entry.Kind == EntryKind.MessageValidated
                    ? receipt.Seq is null or 1
                    : evidence.Entry.Kind == EntryKind.ReceiptStated
                        && evidence.Entry.Commitments.TryGetValue("state", out var stated)
                        && stated == Registration.CommitmentToState(
                            manifest.Salt, receipt.Seq ?? 1, receipt.StateOrEvent, receipt.ArrivalNumber));
        }
        catch (Exception e) when (e is LedgerException or FormatException)
        {
            return false;
        }
    }
}
