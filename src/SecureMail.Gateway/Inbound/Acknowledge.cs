using Dapper;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Inbound;

/// <summary>
/// Sent | unknown → acknowledged | refused: a receipt that its addressee signed, about the very octets that we signed,
/// with the proof that its ledger says the same.
/// </summary>
internal sealed class Acknowledge(BlobStore blobs, DirectoryStore directories, TimeProvider time)
{
    /// <summary>Closes the transmission in the caller's transaction; a receipt that came before changes nothing.
    /// Answers null, or why the receipt counts for nothing.</summary>
    public async Task<string?> AcknowledgeAsync(
        NpgsqlTransaction transaction, DecidedMessage decided, CancellationToken cancellationToken)
    {
        var (receipt, signer) = (decided.Receipt!, decided.Sender!);
        var connection = transaction.Connection!;
        var row = await connection.QuerySingleOrDefaultAsync<(
            Guid Id, string State, byte[]? Digest, Guid Manifest, bool Erased)?>(
            new CommandDefinition(
                $"""
                SELECT t.transmission_id, t.state, CASE WHEN t.message_blob IS NOT NULL THEN o.signed_digest END,
                  o.manifest_blob, o.erased_at IS NOT NULL FROM gateway.transmission t
                    JOIN gateway.outgoing o USING (dispatch_id)
                WHERE t.kind = '{TransmissionKind.Dispatch}' AND t.dispatch_id = @DispatchId
                  AND t.agency_id = @Sender AND t.recipient_id = @Recipient FOR UPDATE OF t
                """,
                receipt,
                transaction,
                cancellationToken: cancellationToken));
        if (row is not { } sent)
        {
            return ReasonCode.ReceiptForNothing;
        }

        if (sent.Digest is null || !receipt.Digest.AsSpan().SequenceEqual(sent.Digest))
        {
            return ReasonCode.ReceiptForOtherContent;
        }

        // The salt died with the content: what the receipt's ledger commits to cannot be told any more.
        if (sent.Erased)
        {
            return ReasonCode.ReceiptForErased;
        }

        var manifest = Manifest.Parse(
            await blobs.ReadAllAsync(sent.Manifest, Manifest.MaxBytes, cancellationToken));
        if (!await IsInLedgerAsync(decided, manifest, cancellationToken))
        {
            return ReasonCode.LedgerEvidence;
        }

        var state =
            receipt.Event == ReceiptEvent.ContentConsignment
                ? TransmissionState.Acknowledged
                : TransmissionState.Refused;
        // What was given up may have arrived all the same: the receipt is the better knowledge.
        if (sent.State is TransmissionState.Acknowledged or TransmissionState.Refused)
        {
            return null;
        }

        await connection.ExecuteAsync(
            new CommandDefinition(
                "UPDATE gateway.transmission SET state = @state, receipt_event = @Event, reason = @Reason, closed_at = "
                    + "@now WHERE transmission_id = @Id",
                new
                {
                    state,
                    receipt.Event,
                    Reason = state == TransmissionState.Refused ? receipt.Reason?.Code ?? receipt.Event : null,
                    now = time.GetUtcNow().UtcDateTime,
                    sent.Id,
                },
                transaction,
                cancellationToken: cancellationToken));
        // Nothing is sent any more to somebody who has answered.
        await connection.ExecuteAsync(
            new CommandDefinition(
                $"""
                DELETE FROM gateway.work WHERE kind = '{WorkKind.Send}' AND subject = @Id
                  AND state <> '{WorkState.Leased}'
                """,
                new { sent.Id },
                transaction,
                cancellationToken: cancellationToken));
        await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = time.GetUtcNow(),
                Agency = receipt.Sender,
                Kind =
                    state == TransmissionState.Acknowledged
                        ? EntryKind.DispatchAcknowledged
                        : EntryKind.DispatchRejected,
                Object = sent.Id.ToString(),
                Commitments = new Dictionary<string, string>
                {
                    ["receipt"] = Commitment.Of(manifest.Salt, decided.Validated.SignedDigest),
                },
            },
            cancellationToken);
        return null;
    }

    /// <summary>
    /// The proof inside the receipt is for the very entry that the mail's ledger field proves: that one's checkpoint
    /// was compared with what was seen of the ledger before, so the entry we keep as evidence stands on the line that
    /// we follow.
    /// </summary>
    private async Task<bool> IsInLedgerAsync(
        DecidedMessage decided, Manifest manifest, CancellationToken cancellationToken)
    {
        var (receipt, signer) = (decided.Receipt!, decided.Sender!);
        var directory = await directories.CurrentAsync(cancellationToken);
        if (directory.FindGateway(signer.Record.Gateway) is not { } gateway)
        {
            return false;
        }

        try
        {
            var evidence = LedgerEvidence.Parse(Convert.FromBase64String(receipt.Ledger));
            return evidence.Verify(VerifierKey.Parse(gateway.LedgerKey)) is null
                && decided.Validated.Evidence is { } field
                && field.Entry.ToBytes().AsSpan().SequenceEqual(evidence.Entry.ToBytes())
                && evidence.Entry.Agency == signer.Id
                && evidence.Entry.Kind == EntryKind.MessageJudged
                && evidence.Entry.Commitments.TryGetValue("content", out var content)
                && content == Commitment.Of(manifest.Salt, receipt.Digest);
        }
        catch (Exception e) when (e is LedgerException or FormatException)
        {
            return false;
        }
    }
}
