using Dapper;
using SecureMail.Gateway.Directory;
using SecureMail.Gateway.Queue;
using SecureMail.Gateway.Storage;
using SecureMail.Ledger;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// Composed → queued: the message (one blob for all), a row for each recipient, the ledger entry and the work to send, which awaits the checkpoint
/// that covers the entry, are one transaction.
/// </summary>
internal sealed class Enqueue(GatewayDatabase database, BlobStore blobs, DirectoryStore directories, TimeProvider time)
{
    public async Task EnqueueAsync(ComposedDispatch composed, WorkItem item, CancellationToken cancellationToken)
    {
        var dispatch = composed.Signed.Authorised.Accepted;
        var now = time.GetUtcNow();
        var directory = await directories.CurrentAsync(cancellationToken);
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var message = await blobs.WriteAsync(transaction, composed.Message, cancellationToken);
        var entry = await LedgerStore.AppendAsync(transaction, new LedgerEntry
        {
            Time = now,
            Agency = dispatch.AgencyId,
            Kind = "dispatch.signed",
            Object = dispatch.Id.ToString(),
            Commitments = new Dictionary<string, string>
            {
                ["content"] = Commitment.Of(dispatch.Manifest.Salt, composed.Signed.ContentDigest),
                ["message"] = Commitment.Of(dispatch.Manifest.Salt, message.Sha256),
            },
        }, chain: true, cancellationToken);
        await connection.ExecuteAsync(new CommandDefinition(
            "UPDATE gateway.outgoing SET state = 'queued', reason = NULL, message_blob = @Blob, signed_entry = @EntryId, signed_digest = @Digest, queued_at = @now WHERE dispatch_id = @Id AND state IN ('accepted', 'awaiting-signature')",
            new { Blob = message.Id, entry.EntryId, Digest = composed.Signed.ContentDigest, now = now.UtcDateTime, dispatch.Id }, transaction, cancellationToken: cancellationToken));
        var queued = await connection.QueryAsync<(Guid Id, Guid Recipient)>(new CommandDefinition(
            """
            UPDATE gateway.transmission SET state = 'queued', message_blob = @Blob, entry_id = @EntryId, queued_at = now()
            WHERE kind = 'dispatch' AND dispatch_id = @Id AND state = 'waiting' RETURNING transmission_id, recipient_id
            """,
            new { Blob = message.Id, entry.EntryId, dispatch.Id }, transaction, cancellationToken: cancellationToken));
        foreach (var (transmission, recipient) in queued)
        {
            // Agencies behind one gateway get one mail.
            await WorkQueue.EnqueueAsync(transaction, "send", transmission, entry.EntryId, directory.Find(recipient)?.Record.Gateway, batch: dispatch.Id, cancellationToken);
        }

        await item.CompleteAsync(transaction, cancellationToken);
        // From this commit on the dispatch is signed and queued; before it, a crash signs again, and nothing has left.
        await transaction.CommitAsync("outbound.enqueue", cancellationToken);
    }
}
