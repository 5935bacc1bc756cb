using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// Composed → queued: the message (one blob for all recipients), its RecipientInfos prefixes, a row for each recipient,
/// the ledger entry and the work to send are one transaction. The work waits for the checkpoint that covers the entry.
/// </summary>
internal sealed class Enqueue(GatewayDatabase database, BlobStore blobs, TimeProvider time, ILogger<Enqueue> logger)
{
    public async Task EnqueueAsync(ComposedDispatch composed, WorkItem item, CancellationToken cancellationToken)
    {
        var dispatch = composed.Signed.Authorised.Accepted;
        var cipher = composed.Signed.Authorised.Cipher;
        var now = time.GetUtcNow();
        // From this commit on the dispatch is signed and queued; before it, a crash signs again, and nothing has left.
        await database.Source.InTransactionAsync(
            "outbound.enqueue",
            async transaction =>
            {
                var message = await StoreAsync(transaction, composed, cancellationToken);
                var entry = await AppendEntryAsync(transaction, composed, message, now, cancellationToken);
                await NoteDowngradeAsync(transaction, dispatch, cipher, now, cancellationToken);
                await OutgoingTable.QueueAsync(
                    transaction, dispatch.Id, message.Id, entry, composed.Signed.ContentDigest, cipher.Choice.Name,
                    cipher.LimitedBy, now, cancellationToken);
                var gateways = composed.Signed.Authorised.Addressees.ToDictionary(
                    a => a.Agency.Id, a => a.Agency.GatewayAt(composed.Signed.Message.Date));
                var queued = await TransmissionTable.QueueAsync(
                    transaction, dispatch.Id, message.Id, entry, gateways, composed.Prefixes.Count > 0,
                    cancellationToken);
                // Agencies behind one gateway get one mail. The sequencer frees this work in the transaction that
                // signs the checkpoint over the entry (WorkQueue.ReleaseAsync).
                await WorkQueue.EnqueueAsync(
                    transaction, WorkKind.Send,
                    [.. queued.Select(q => new NewWork(q.Transmission, gateways[q.Recipient], dispatch.Id))], entry,
                    cancellationToken);
                await item.CompleteAsync(transaction, cancellationToken);
            },
            cancellationToken);
        if (cipher.LimitedBy.Count > 0)
        {
            OutboundLog.Downgraded(logger, dispatch.Id, cipher.Choice.Name, cipher.LimitedBy.Count);
        }
    }

    private static async Task<long> AppendEntryAsync(
        NpgsqlTransaction transaction, ComposedDispatch composed, StoredBlob message, DateTimeOffset now,
        CancellationToken cancellationToken)
    {
        var dispatch = composed.Signed.Authorised.Accepted;
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
                    ["cipher"] = CommitmentTo(composed.Signed.Authorised.Cipher.Choice.Name, dispatch),
                },
            },
            cancellationToken);
        return entry.EntryId;
    }

    /// <summary>Notes in the ledger that the cipher is not the best one, with a commitment to the agencies that limit
    /// it.</summary>
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
        await writer.Content.WriteAsync(composed.WholePrefix, cancellationToken);
        await composed.WriteBodyAsync(writer.Content, cancellationToken);
        var message = await writer.FinishAsync(cancellationToken);
        await TransmissionTable.AddPrefixesAsync(
            transaction, message.Id, composed.WholePrefix.LongLength, composed.Prefixes, cancellationToken);
        return message;
    }
}
