using System.Globalization;
using System.Security.Cryptography;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Gateway.Words;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Inbound;

/// <summary>
/// Receipt due → queued: what became of a dispatch, signed by its addressee's key as a report (RFC 6522, RFC 8098),
/// with the ledger entry that says so and the proof that a checkpoint covers it. It runs only once one does. Receipts
/// are signed, not encrypted: they name no content.
/// </summary>
internal sealed class ReceiptSender(
    GatewayDatabase database, BlobStore blobs, DirectoryStore directories, AgencyKeys keys, DirectoryOptions options,
    TimeProvider time)
{
    /// <exception cref="KeyUnavailableException">The token or key is not there; the receipt waits for it.</exception>
    /// <returns>False where a person took the dispatch in meanwhile. Then the receipt that says so goes in place of
    /// this one, once a checkpoint covers its entry.</returns>
    public async Task<bool> SendReceiptAsync(WorkItem item, CancellationToken cancellationToken)
    {
        try
        {
            await SignAndQueueAsync(item, cancellationToken);
            return true;
        }
        catch (Exception e) when (e is OvertakenException or LedgerException { Fault: LedgerFault.NotCovered })
        {
            return false;
        }
    }

    private async Task SignAndQueueAsync(WorkItem item, CancellationToken cancellationToken)
    {
        var (due, evidence) = await LoadAsync(item.Subject, cancellationToken);
        var directory = await directories.CurrentAsync(cancellationToken);
        var now = time.GetUtcNow();
        if (
            due is null
            || evidence is null
            || directory.Find(due.Agency) is not { } agency
            || directory.Find(due.Sender) is not { } sender)
        {
            await item.DropAsync(database.Source, cancellationToken);
            return;
        }

        var receipt = ReceiptOf(due, evidence, now);
        var signer = keys.SignerOf(agency, CertificateUse.Receipt);
        using var inner = new SecretSpool();
        var (from, to) = (agency.NameAt(now) ?? agency.LastName, sender.NameAt(now) ?? sender.LastName);
        var message = new OutgoingMessage
        {
            From = new Mailbox(from.Name, from.Address),
            To = [new Mailbox(to.Name, to.Address)],
            Subject = Catalogue.InBoth(static language => Catalogue.Text("ReceiptText.subject", language)),
            Date = now,
            MessageId = FormattableString.Invariant($"<{due.Incoming}.receipt-{due.Seq}@{options.Name}>"),
            InReplyTo = $"<{due.Dispatch}@{due.Peer}>",
            // RFC 3834 §5: nothing answers a receipt.
            AutoSubmitted = "auto-replied",
            Body = () =>
                MailReport.DispositionNotification(
                    Sentence(receipt), $"{options.Name}; SecureMail", new Mailbox(null, from.Address),
                    $"<{due.Dispatch}@{due.Peer}>",
                    receipt.Event == ReceiptEvent.ContentConsignment ? "processed" : "processed/error",
                    MimeEntity.Leaf(MimeContentType.Of(Receipt.MediaType), () => new MemoryStream(receipt.ToBytes()))),
        };
        await using var writing = inner.OpenWrite();
        var prepared = await SmimeComposer.PrepareAsync(
            message, willBeEncrypted: false, signer.Request(now), writing, cancellationToken);
        var signedData = signer.Sign(prepared);

        // From this commit on the receipt is on its way; before it, a crash signs another one that says the same.
        await database.Source.InTransactionAsync(
            "receipt.answer",
            async transaction =>
            {
                await using var blob = blobs.Create(transaction);
                await using (var bytes = inner.OpenRead())
                {
                    await SmimeComposer.WriteSignedAsync(
                        message, bytes, prepared, signedData, blob.Content, cancellationToken);
                }

                var stored = await blob.FinishAsync(cancellationToken);
                var transmission = await TransmissionTable.QueueReceiptAsync(
                    transaction, due, SHA256.HashData(receipt.ToBytes()), to.Code, stored.Id, now, cancellationToken)
                    ?? throw new OvertakenException();
                await WorkQueue.EnqueueAsync(
                    transaction, WorkKind.Send, transmission, destination: sender.GatewayAt(now),
                    cancellationToken: cancellationToken);
                await item.CompleteAsync(transaction, cancellationToken);
            },
            cancellationToken);
    }

    private static Receipt ReceiptOf(DueReceipt due, LedgerEvidence evidence, DateTimeOffset now)
    {
        var state = due.Disposition switch
        {
            Disposition.Inbox => due.ArrivalNumber is null ? ReceiptState.Arrived : ReceiptState.Registered,
            Disposition.Returned => ReceiptState.Returned,
            _ => ReceiptState.Held,
        };
        return new Receipt
        {
            DispatchId = due.Dispatch,
            Sender = due.Sender,
            Recipient = due.Agency,
            Seq = due.Seq,
            Prior = due.Prior,
            State = state,
            Event = ReceiptState.EventOf(state)!,
            Digest = due.Digest,
            Verdict = due.Verdict,
            ArrivalNumber = due.ArrivalNumber,
            Time = now,
            Reason = due.Reason is null
                ? null
                : new ReceiptReason(
                    due.Reason, Catalogue.Reason(due.Reason, Catalogue.Vietnamese),
                    Catalogue.Reason(due.Reason, Catalogue.English)),
            Ledger = Convert.ToBase64String(evidence.ToBytes()),
        };
    }

    /// <summary>The part that a person reads (RFC 6522 §3): Vietnamese, then English.</summary>
    private static string Sentence(Receipt receipt)
    {
        var key = "ReceiptText." + receipt.State;
        return string.Concat(
            new[] { Catalogue.Vietnamese, Catalogue.English }.Select(language =>
                string.Format(
                    CultureInfo.InvariantCulture, Catalogue.Text(key, language), receipt.ArrivalNumber) + "\r\n"));
    }

    /// <summary>Another receipt of the same dispatch fell due while this one was signed.</summary>
    private sealed class OvertakenException : Exception;

    /// <summary>The dispatch for which the receipt falls due, with the proof that a checkpoint covers its
    /// entry.</summary>
    private async Task<(DueReceipt? Due, LedgerEvidence? Evidence)> LoadAsync(
        Guid incoming, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var due = await IncomingTable.FindDueReceiptAsync(connection, incoming, cancellationToken);
        return due is null
            ? (null, null)
            : (due, await EvidenceBuilder.BuildAsync(connection, due.Entry, [], [], cancellationToken));
    }
}
