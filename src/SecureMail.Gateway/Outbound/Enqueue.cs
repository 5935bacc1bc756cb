using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// Composed → queued: the message (one blob for all), its heads, a row for each recipient, the ledger entry and the
/// work to send, which awaits the checkpoint that covers the entry, are one transaction.
/// </summary>
internal sealed class Enqueue(GatewayDatabase database, BlobStore blobs, TimeProvider time, ILogger<Enqueue> logger)
{
    public async Task EnqueueAsync(ComposedDispatch composed, WorkItem item, CancellationToken cancellationToken)
    {
        var dispatch = composed.Signed.Authorised.Accepted;
        var cipher = composed.Signed.Authorised.Cipher;
        var now = time.GetUtcNow();
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var message = await StoreAsync(transaction, composed, cancellationToken);
        var entry = await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = now,
                Agency = dispatch.AgencyId,
                Kind = EntryKind.DispatchSigned,
                Object = dispatch.Id.ToString(),
                Commitments = new Dictionary<string, string>
                {
                    ["content"] = Commitment.Of(dispatch.Manifest.Salt, composed.Signed.ContentDigest),
                    ["message"] = Commitment.Of(dispatch.Manifest.Salt, message.Sha256),
                    ["cipher"] = CommitmentTo(cipher.Choice.Name, dispatch),
                },
            },
            cancellationToken);
        await NoteDowngradeAsync(transaction, dispatch, cipher, now, cancellationToken);
        await connection.ExecuteAsync(
            new CommandDefinition(
                $"""
                UPDATE gateway.outgoing SET state = '{OutgoingState.Queued}', reason = NULL, message_blob = @Blob,
                  signed_entry = @EntryId, signed_digest = @Digest, queued_at = @now, cipher = @Cipher,
                  cipher_limited_by = @LimitedBy
                WHERE dispatch_id = @Id AND state IN ('{OutgoingState.Accepted}', '{OutgoingState.AwaitingSignature}')
                """,
                new
                {
                    Blob = message.Id,
                    entry.EntryId,
                    Digest = composed.Signed.ContentDigest,
                    now = now.UtcDateTime,
                    dispatch.Id,
                    Cipher = cipher.Choice.Name,
                    LimitedBy = cipher.LimitedBy.ToArray(),
                },
                transaction,
                cancellationToken: cancellationToken));
        var gateways = composed.Signed.Authorised.Addressees.ToDictionary(
            a => a.Agency.Id, a => a.Agency.Record.Gateway);
        var queued = (
            await connection.QueryAsync<(Guid Id, Guid Recipient)>(
                new CommandDefinition(
                    $"""
                    UPDATE gateway.transmission t SET state = '{TransmissionState.Queued}', message_blob = @Blob,
                      head_gateway = CASE WHEN @hasHeads THEN a.gateway END, entry_id = @EntryId, queued_at = now()
                    FROM unnest(@agencies, @behind) a(agency, gateway)
                    WHERE t.kind = '{TransmissionKind.Dispatch}' AND t.dispatch_id = @Id
                      AND t.recipient_id = a.agency AND t.state = '{TransmissionState.Waiting}'
                      RETURNING t.transmission_id, t.recipient_id
                    """,
                    new
                    {
                        Blob = message.Id,
                        hasHeads = composed.Heads.Count > 0,
                        entry.EntryId,
                        agencies = gateways.Keys.ToArray(),
                        behind = gateways.Values.ToArray(),
                        dispatch.Id,
                    },
                    transaction,
                    cancellationToken: cancellationToken))
        ).ToList();
        // Agencies behind one gateway get one mail.
        await WorkQueue.EnqueueAsync(
            transaction, WorkKind.Send, [.. queued.Select(q => new NewWork(q.Id, gateways[q.Recipient], dispatch.Id))],
            entry.EntryId, cancellationToken);
        await item.CompleteAsync(transaction, cancellationToken);
        // From this commit on the dispatch is signed and queued; before it, a crash signs again, and nothing has left.
        await transaction.CommitAsync("outbound.enqueue", cancellationToken);
        if (cipher.LimitedBy.Count > 0)
        {
            OutboundLog.Downgraded(logger, dispatch.Id, cipher.Choice.Name, cipher.LimitedBy.Count);
        }
    }

    /// <summary>The ledger says that the cipher is not the best there is, and commits to because of whom.</summary>
    private static async Task NoteDowngradeAsync(
        NpgsqlTransaction transaction, AcceptedDispatch dispatch, DispatchCipher cipher, DateTimeOffset now,
        CancellationToken cancellationToken)
    {
        if (cipher.LimitedBy.Count > 0)
        {
            await StoredLedger.AppendAsync(
                transaction,
                new LedgerEntry
                {
                    Time = now,
                    Agency = dispatch.AgencyId,
                    Kind = EntryKind.DispatchDowngraded,
                    Object = dispatch.Id.ToString(),
                    Commitments = new Dictionary<string, string>
                    {
                        ["cipher"] = CommitmentTo(cipher.Choice.Name, dispatch),
                        ["readers"] = CommitmentTo(string.Join(' ', cipher.LimitedBy), dispatch),
                    },
                },
                cancellationToken);
        }
    }

    private static string CommitmentTo(string text, AcceptedDispatch dispatch) =>
        Commitment.Of(dispatch.Manifest.Salt, SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    private async Task<StoredBlob> StoreAsync(
        NpgsqlTransaction transaction, ComposedDispatch composed, CancellationToken cancellationToken)
    {
        await using var writer = blobs.Create(transaction);
        await writer.Content.WriteAsync(composed.WholeHead, cancellationToken);
        await composed.WriteBodyAsync(writer.Content, cancellationToken);
        var message = await writer.FinishAsync(cancellationToken);
        await transaction.Connection!.ExecuteAsync(
            new CommandDefinition(
                "INSERT INTO gateway.message_head (message_blob, gateway, cut, head) SELECT @Id, gateway, @cut, head "
                    + "FROM unnest(@gateways, @heads) h(gateway, head)",
                new
                {
                    message.Id,
                    cut = composed.WholeHead.LongLength,
                    gateways = composed.Heads.Keys.ToArray(),
                    heads = composed.Heads.Values.ToArray(),
                },
                transaction,
                cancellationToken: cancellationToken));
        return message;
    }
}
