using Dapper;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Gateway.Words;
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
    public async Task SendReceiptAsync(WorkItem item, CancellationToken cancellationToken)
    {
        var due = await LoadAsync(item.Subject, cancellationToken);
        var directory = await directories.CurrentAsync(cancellationToken);
        var now = time.GetUtcNow();
        if (due is null || directory.Find(due.Agency) is not { } agency || directory.Find(due.Sender) is not { } sender)
        {
            await item.DropAsync(database.Source, cancellationToken);
            return;
        }

        var receipt = await ReceiptAsync(due, now, cancellationToken);
        var signer = keys.SignerOf(agency);
        using var inner = new SecretSpool();
        var (from, to) = (agency.NameAt(now) ?? agency.LastName, sender.NameAt(now) ?? sender.LastName);
        var message = new OutgoingMessage
        {
            From = new Mailbox(from.Name, from.Address),
            To = [new Mailbox(to.Name, to.Address)],
            Subject = "Biên nhận văn bản điện tử / Receipt",
            Date = now,
            MessageId = $"<{due.Incoming}.receipt@{options.Name}>",
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

        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        await using var blob = blobs.Create(transaction);
        await using (var octets = inner.OpenRead())
        {
            await SmimeComposer.WriteSignedAsync(
                message, octets, prepared, signedData, blob.Content, cancellationToken);
        }

        var stored = await blob.FinishAsync(cancellationToken);
        var transmission = Guid.CreateVersion7(now);
        // A dispatch set aside and later taken in is answered again: the row is the same, its message the newer.
        var replaced = await connection.ExecuteScalarAsync<Guid?>(
            new CommandDefinition(
                $"""
                SELECT message_blob FROM gateway.transmission WHERE kind = '{TransmissionKind.Receipt}'
                  AND dispatch_id = @Dispatch AND agency_id = @Agency AND recipient_code = @Code FOR UPDATE
                """,
                new
                {
                    due.Dispatch,
                    due.Agency,
                    to.Code,
                },
                transaction,
                cancellationToken: cancellationToken));
        transmission = await connection.ExecuteScalarAsync<Guid>(
            new CommandDefinition(
                $"""
                INSERT INTO gateway.transmission (transmission_id, kind, dispatch_id, agency_id, recipient_id,
                  recipient_code, state, message_blob, entry_id, queued_at)
                VALUES (@transmission, '{TransmissionKind.Receipt}', @Dispatch, @Agency, @Sender, @Code,
                  '{TransmissionState.Queued}', @Blob, @Entry, now())
                ON CONFLICT (kind, dispatch_id, agency_id, recipient_code) DO UPDATE
                  SET state = '{TransmissionState.Queued}', message_blob = excluded.message_blob,
                    entry_id = excluded.entry_id, queued_at = excluded.queued_at, reason = NULL, closed_at = NULL,
                    message_gone_at = NULL, delayed_at = NULL
                RETURNING transmission_id
                """,
                new
                {
                    transmission,
                    due.Dispatch,
                    due.Agency,
                    due.Sender,
                    to.Code,
                    Blob = stored.Id,
                    due.Entry,
                },
                transaction,
                cancellationToken: cancellationToken));
        await connection.ExecuteAsync(
            new CommandDefinition(
                "DELETE FROM gateway.blob WHERE blob_id = @replaced", new { replaced }, transaction,
                cancellationToken: cancellationToken));
        await WorkQueue.EnqueueAsync(
            transaction, WorkKind.Send, transmission, destination: sender.Record.Gateway,
            cancellationToken: cancellationToken);
        await item.CompleteAsync(transaction, cancellationToken);
        // From this commit on the receipt is on its way; before it, a crash signs another one that says the same.
        await transaction.CommitAsync("receipt.answer", cancellationToken);
    }

    private async Task<Receipt> ReceiptAsync(Due due, DateTimeOffset now, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var evidence = await EvidenceBuilder.BuildAsync(connection, due.Entry, [], [], cancellationToken);
        return new Receipt
        {
            DispatchId = due.Dispatch,
            Sender = due.Sender,
            Recipient = due.Agency,
            Event = due.Place switch
            {
                Disposition.Inbox => ReceiptEvent.ContentConsignment,
                Disposition.Returned => ReceiptEvent.RelayRejection,
                _ => ReceiptEvent.ContentConsignmentFailure,
            },
            Digest = due.Digest,
            Verdict = due.Verdict,
            ArrivalNumber = due.Arrival,
            Time = now,
            Reason = due.Reason is null
                ? null
                : new ReceiptReason(
                    due.Reason, Catalogue.Reason(due.Reason, Catalogue.Vietnamese),
                    Catalogue.Reason(due.Reason, Catalogue.English)),
            Ledger = Convert.ToBase64String(evidence.ToBytes()),
        };
    }

    private static string Sentence(Receipt receipt) =>
        receipt.Event switch
        {
            ReceiptEvent.ContentConsignment =>
                $"Đã nhận văn bản, số đến {receipt.ArrivalNumber}.\r\nThe dispatch was received under arrival number "
                    + $"{receipt.ArrivalNumber}.\r\n",
            ReceiptEvent.RelayRejection => "Văn bản được trả lại.\r\nThe dispatch is returned.\r\n",
            _ => "Văn bản được tạm giữ, chờ xử lý.\r\nThe dispatch is in quarantine.\r\n",
        };

    private async Task<Due?> LoadAsync(Guid incoming, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return await connection.QuerySingleOrDefaultAsync<Due>(
            new CommandDefinition(
                $"""
                SELECT i.incoming_id AS Incoming, i.agency_id AS Agency, i.sender_id AS Sender,
                  i.dispatch_id AS Dispatch, i.place AS Place, i.verdict AS Verdict, i.reason AS Reason,
                  i.signed_digest AS Digest, i.arrival_number AS Arrival, i.entry_id AS Entry, r.peer AS Peer
                FROM gateway.incoming i JOIN gateway.received r USING (received_id)
                WHERE i.incoming_id = @incoming AND i.state = '{IncomingState.Recorded}'
                  AND i.kind = '{MessageKind.Dispatch}' AND i.sender_id IS NOT NULL AND i.dispatch_id IS NOT NULL
                """,
                new { incoming },
                cancellationToken: cancellationToken));
    }

    private sealed class Due
    {
        public Guid Incoming { get; init; }

        public Guid Agency { get; init; }

        public Guid Sender { get; init; }

        public Guid Dispatch { get; init; }

        public string Place { get; init; } = "";

        public string Verdict { get; init; } = "";

        public string? Reason { get; init; }

        public byte[] Digest { get; init; } = [];

        public int? Arrival { get; init; }

        public long Entry { get; init; }

        public string Peer { get; init; } = "";
    }
}
