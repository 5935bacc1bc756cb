using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;

namespace SecureMail.Gateway.Registers;

/// <summary>
/// The SQL of <c>gateway.outgoing</c> and <c>gateway.outgoing_document</c>: the states of a dispatch before its message
/// leaves. Every change runs in the caller's transaction and leaves the ledger entry to the caller.
/// <see cref="OutgoingRegister"/> reads the tables for people; Retention destroys their contents.
/// </summary>
internal static class OutgoingTable
{
    /// <summary>Adds an accepted dispatch with its documents.</summary>
    public static async Task InsertAsync(
        NpgsqlTransaction transaction, Manifest manifest, NumberSeries series, EncryptedCard card, Guid manifestBlob,
        IReadOnlyList<Guid> documents, long entry, DateTimeOffset now, CancellationToken cancellationToken)
    {
        await transaction.ExecuteAsync(
            $"""
            INSERT INTO gateway.outgoing (dispatch_id, agency_id, state, number_body, number_type, number_period,
              number_value, number_text, manifest_blob, card, card_key, accepted_entry, accepted_at)
            VALUES (@DispatchId, @Sender, '{OutgoingState.Accepted}', @Body, @Type, @Period, @Value, @Number,
              @manifestBlob, @Card, @CardKey, @entry, @now)
            """,
            new
            {
                manifest.DispatchId,
                Sender = manifest.Sender.Id,
                series.Body,
                series.Type,
                series.Period,
                NumberAndNotation.TryParse(manifest.Fields.Number)!.Value,
                manifest.Fields.Number,
                manifestBlob,
                Card = card.Ciphertext,
                CardKey = card.Key,
                entry,
                now = now.UtcDateTime,
            }, cancellationToken);
        await transaction.ExecuteAsync(
            """
            INSERT INTO gateway.outgoing_document (dispatch_id, n, blob_id)
            SELECT @DispatchId, n, blob FROM unnest(@documents) WITH ORDINALITY d(blob, n)
            """,
            new { manifest.DispatchId, documents = documents.ToArray() }, cancellationToken);
    }

    /// <summary>Whose dispatch has this id, and its number. Null: nobody's.</summary>
    public static Task<(Guid Agency, string Number)?> FindAsync(
        NpgsqlTransaction transaction, Guid dispatch, CancellationToken cancellationToken) =>
        transaction.FindAsync<(Guid Agency, string Number)?>(
            "SELECT agency_id, number_text FROM gateway.outgoing WHERE dispatch_id = @dispatch",
            new { dispatch }, cancellationToken);

    /// <summary>A dispatch that is accepted and not yet signed, with its documents in order. Null where it was queued
    /// or refused.</summary>
    public static async Task<(Guid Agency, Guid Manifest, IReadOnlyList<Guid> Documents)?> FindUnsignedAsync(
        NpgsqlConnection connection, Guid dispatch, CancellationToken cancellationToken)
    {
        var row = await connection.FindAsync<(Guid Agency, Guid Manifest)?>(
            $"""
            SELECT agency_id, manifest_blob FROM gateway.outgoing
            WHERE dispatch_id = @dispatch AND state IN ('{OutgoingState.Accepted}', '{OutgoingState.AwaitingSignature}')
            """,
            new { dispatch }, cancellationToken);
        return row is { } found
            ? (
                found.Agency,
                found.Manifest,
                await connection.ListAsync<Guid>(
                    "SELECT blob_id FROM gateway.outgoing_document WHERE dispatch_id = @dispatch ORDER BY n",
                    new { dispatch }, cancellationToken))
            : null;
    }

    /// <summary>Accepted → awaiting signature, with the reason that the clerk reads.</summary>
    public static Task AwaitSignatureAsync(
        NpgsqlTransaction transaction, Guid dispatch, string reason, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            $"""
            UPDATE gateway.outgoing SET state = '{OutgoingState.AwaitingSignature}', reason = @reason
            WHERE dispatch_id = @dispatch AND state IN ('{OutgoingState.Accepted}', '{OutgoingState.AwaitingSignature}')
            """,
            new { reason, dispatch }, cancellationToken);

    /// <summary>Accepted or awaiting signature → refused.</summary>
    public static Task RefuseAsync(
        NpgsqlTransaction transaction, Guid dispatch, string reason, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            $"""
            UPDATE gateway.outgoing SET state = '{OutgoingState.Refused}', reason = @reason
            WHERE dispatch_id = @dispatch
            """,
            new { reason, dispatch }, cancellationToken);

    /// <summary>Accepted or awaiting signature → queued.</summary>
    /// <param name="digest">SHA-256 of the bytes that were signed.</param>
    /// <param name="limitedBy">The agencies because of which the cipher is not the best there is.</param>
    public static Task QueueAsync(
        NpgsqlTransaction transaction, Guid dispatch, Guid message, long entry, byte[] digest, string cipher,
        IEnumerable<Guid> limitedBy, DateTimeOffset now, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            $"""
            UPDATE gateway.outgoing
            SET state = '{OutgoingState.Queued}', reason = NULL, message_blob = @message, signed_entry = @entry,
              signed_digest = @digest, queued_at = @now, cipher = @cipher, cipher_limited_by = @limitedBy
            WHERE dispatch_id = @dispatch AND state IN ('{OutgoingState.Accepted}', '{OutgoingState.AwaitingSignature}')
            """,
            new
            {
                message,
                entry,
                digest,
                now = now.UtcDateTime,
                dispatch,
                cipher,
                limitedBy = limitedBy.ToArray(),
            }, cancellationToken);
}
