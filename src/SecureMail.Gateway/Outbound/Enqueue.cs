using Dapper;
using Npgsql;
using SecureMail.Gateway.Queue;
using SecureMail.Gateway.Storage;
using SecureMail.Ledger;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// Composed → queued: the message (one blob for all), its heads, a row for each recipient, the ledger entry and the work to send, which awaits the checkpoint
/// that covers the entry, are one transaction.
/// </summary>
internal sealed class Enqueue(GatewayDatabase database, BlobStore blobs, TimeProvider time)
{
    public async Task EnqueueAsync(ComposedDispatch composed, WorkItem item, CancellationToken cancellationToken)
    {
        var dispatch = composed.Signed.Authorised.Accepted;
        var now = time.GetUtcNow();
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var message = await StoreAsync(transaction, composed, cancellationToken);
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
        var gateways = composed.Signed.Authorised.Addressees.ToDictionary(a => a.Agency.Id, a => a.Agency.Record.Gateway);
        var queued = (await connection.QueryAsync<(Guid Id, Guid Recipient)>(new CommandDefinition(
            """
            UPDATE gateway.transmission t SET state = 'queued', message_blob = @Blob, head_gateway = CASE WHEN @hasHeads THEN a.gateway END, entry_id = @EntryId, queued_at = now()
            FROM unnest(@agencies, @behind) a(agency, gateway)
            WHERE t.kind = 'dispatch' AND t.dispatch_id = @Id AND t.recipient_id = a.agency AND t.state = 'waiting' RETURNING t.transmission_id, t.recipient_id
            """,
            new { Blob = message.Id, hasHeads = composed.Heads.Count > 0, entry.EntryId, agencies = gateways.Keys.ToArray(), behind = gateways.Values.ToArray(), dispatch.Id }, transaction, cancellationToken: cancellationToken))).ToList();
        // Agencies behind one gateway get one mail.
        await WorkQueue.EnqueueAsync(transaction, "send", [.. queued.Select(q => new NewWork(q.Id, gateways[q.Recipient], dispatch.Id))], entry.EntryId, cancellationToken);
        await item.CompleteAsync(transaction, cancellationToken);
        // From this commit on the dispatch is signed and queued; before it, a crash signs again, and nothing has left.
        await transaction.CommitAsync("outbound.enqueue", cancellationToken);
    }

    private async Task<StoredBlob> StoreAsync(NpgsqlTransaction transaction, ComposedDispatch composed, CancellationToken cancellationToken)
    {
        await using var writer = blobs.Create(transaction);
        await writer.WriteAsync(composed.WholeHead, cancellationToken);
        await composed.WriteBodyAsync(writer, cancellationToken);
        var message = await writer.FinishAsync(cancellationToken);
        await transaction.Connection!.ExecuteAsync(new CommandDefinition(
            "INSERT INTO gateway.message_head (message_blob, gateway, cut, head) SELECT @Id, gateway, @cut, head FROM unnest(@gateways, @heads) h(gateway, head)",
            new { message.Id, cut = composed.WholeHead.LongLength, gateways = composed.Heads.Keys.ToArray(), heads = composed.Heads.Values.ToArray() }, transaction, cancellationToken: cancellationToken));
        return message;
    }
}
