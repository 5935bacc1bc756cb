using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Telemetry;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using SecureMail.Trust;

namespace SecureMail.Gateway.Inbound;

/// <summary>
/// Decided → recorded: the finding, the disposition, the opened documents (encrypted), the ledger entry and the receipt
/// that falls due are one transaction; its commit is the delivery. A dispatch lies in the inbox exactly when the ledger
/// says so. Its arrival number comes later, from a person (<see cref="Registration"/>).
/// </summary>
internal sealed class IncomingRecorder(
    BlobStore blobs, CardCipher cards, Acknowledge acknowledge, TimeProvider time)
{
    /// <summary>Writes everything; the caller commits. Answers the disposition, and whether the sender's reader can do
    /// less than before.</summary>
    public async Task<(string Disposition, bool IsWeakened)> RecordAsync(
        NpgsqlTransaction transaction, DecidedMessage decided, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var incoming = decided.Validated.Received;
        var (disposition, reason) = await SettleAsync(transaction, decided, cancellationToken);
        var verdict = FindingJson.Name(decided.Validated.Verdict);
        var entry = await AddFindingAsync(transaction, decided, disposition, now, cancellationToken);
        await RaiseConflictsAsync(transaction, decided, reason, entry, now, cancellationToken);
        var (manifest, card) = await WriteManifestAsync(transaction, decided, cancellationToken);
        var awaits = disposition == Disposition.Quarantine && reason == decided.Reason ? decided.Awaits : null;
        await IncomingTable.RecordAsync(
            transaction,
            RecordOf(decided, disposition, reason, verdict, manifest, card, entry, now) with
            {
                Awaits = awaits?.Arrival,
                AwaitsMark = awaits?.Mark,
                IsReceiptDue = IsReceiptDue(decided),
            },
            cancellationToken);
        if (decided is { Kind: MessageKind.Dispatch, IsDuplicate: false })
        {
            await KeepAsync(transaction, decided, disposition, entry, cancellationToken);
        }
        else if (decided.FirstIncoming is { } first)
        {
            await AnswerAgainAsync(transaction, first, cancellationToken);
        }

        return (disposition, await NoteCapabilitiesAsync(transaction, decided, disposition, now, cancellationToken));
    }

    /// <summary>
    /// Writes what a second validation of a quarantined message found; the caller commits. By itself it moves the
    /// message only to the inbox, or to what a receipt is about. Any other outcome leaves the message in quarantine,
    /// and nothing is written where it is what was found before.
    /// </summary>
    /// <returns>Where the message lies now, and whether the sender's reader can do less than before.</returns>
    public async Task<(string Disposition, bool IsWeakened)> RecordAgainAsync(
        NpgsqlTransaction transaction, DecidedMessage decided, RecordedRow row, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var incoming = decided.Validated.Received;
        var (disposition, reason) = await SettleAsync(transaction, decided, cancellationToken);
        var verdict = FindingJson.Name(decided.Validated.Verdict);
        if (disposition is not (Disposition.Inbox or Disposition.Matched))
        {
            if (verdict != row.Verdict || reason != row.Reason)
            {
                var kept = await AddFindingAsync(
                    transaction, decided, Disposition.Quarantine, now, cancellationToken);
                await RaiseConflictsAsync(transaction, decided, reason, kept, now, cancellationToken);
            }

            var awaits = reason == decided.Reason ? decided.Awaits : null;
            await IncomingTable.KeepQuarantinedAsync(
                transaction, incoming.Id, verdict, reason, awaits?.Arrival, awaits?.Mark, cancellationToken);
            return (Disposition.Quarantine, false);
        }

        var entry = await AddFindingAsync(transaction, decided, disposition, now, cancellationToken);
        var (manifest, card) = await WriteManifestAsync(transaction, decided, cancellationToken);
        long? stated = null;
        if (disposition == Disposition.Inbox)
        {
            stated = await StateReceiptAsync(
                transaction, incoming, decided.Manifest!.Salt, decided.Validated.SignedDigest,
                row.ReceiptSeq + 1, arrivalNumber: null, now, cancellationToken);
            await DeliverAsync(transaction, decided, cancellationToken);
        }

        await IncomingTable.ReleaseAsync(
            transaction,
            RecordOf(decided, disposition, reason, verdict, manifest, card, entry, now) with { ReceiptEntry = stated },
            cancellationToken);
        return (disposition, await NoteCapabilitiesAsync(transaction, decided, disposition, now, cancellationToken));
    }

    /// <summary>Writes that the signer of a message in the inbox was revoked before the message came: a finding, an
    /// alarm and the next receipt; the caller commits. The message stays in the inbox, because a person decides about
    /// it.</summary>
    public async Task RecordRevokedAsync(
        NpgsqlTransaction transaction, ValidatedMessage validated, RecordedRow row,
        CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var incoming = validated.Received;
        var verdict = FindingJson.Name(validated.Verdict);
        var salt = Manifest.Parse(
            await blobs.ReadAllAsync(transaction, row.Manifest!.Value, Manifest.MaxBytes, cancellationToken)).Salt;
        var entry = await AddFindingAsync(
            transaction, validated, salt, EntryKind.MessageValidated, Disposition.Inbox, now, cancellationToken);
        await AlarmTable.AddAsync(
            transaction, AlarmKind.RevokedBeforeReception, incoming.Peer, $"message {incoming.Id}", entry, now,
            cancellationToken);
        var stated = await StateReceiptAsync(
            transaction, incoming, salt, row.Digest, row.ReceiptSeq + 1, row.ArrivalNumber, now, cancellationToken);
        await IncomingTable.NoteRevokedAsync(transaction, incoming.Id, verdict, stated, cancellationToken);
    }

    /// <summary>The entry that the next receipt proves, and the work to send it.</summary>
    private static async Task<long> StateReceiptAsync(
        NpgsqlTransaction transaction, ReceivedMessage incoming, byte[] salt, byte[] digest, int seq,
        int? arrivalNumber, DateTimeOffset now, CancellationToken cancellationToken)
    {
        var state = arrivalNumber is null ? ReceiptState.Arrived : ReceiptState.Registered;
        var entry = await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = now,
                Agency = incoming.AgencyId,
                Kind = EntryKind.ReceiptStated,
                Object = incoming.Id.ToString(),
                Commitments = new Dictionary<string, string>
                {
                    ["content"] = Commitment.Of(salt, digest),
                    ["state"] = Registration.CommitmentToState(salt, seq, state, arrivalNumber),
                },
            },
            cancellationToken);
        await WorkQueue.EnqueueAsync(
            transaction, WorkKind.SendReceipt, incoming.Id, entry.EntryId, cancellationToken: cancellationToken);
        return entry.EntryId;
    }

    /// <summary>What a receipt of a sender's dispatch changes there, and where the message goes.</summary>
    private async Task<(string Disposition, string? Reason)> SettleAsync(
        NpgsqlTransaction transaction, DecidedMessage decided, CancellationToken cancellationToken)
    {
        if (decided is not { Kind: MessageKind.Receipt, Disposition: Disposition.Inbox })
        {
            return (decided.Disposition, decided.Reason);
        }

        var reason = await acknowledge.AcknowledgeAsync(transaction, decided, cancellationToken);
        return (reason is null ? Disposition.Matched : Disposition.Quarantine, reason);
    }

    private static async Task<bool> NoteCapabilitiesAsync(
        NpgsqlTransaction transaction, DecidedMessage decided, string disposition, DateTimeOffset now,
        CancellationToken cancellationToken) =>
        // A quarantined message says nothing of its sender: its own gateway may not have sent it, because that
        // gateway's ledger may not stand behind it.
        disposition != Disposition.Quarantine
        && decided is { Sender: { } sender, Validated: { Announced: { } announced, Signer: { } signer } }
        && await AgencyCapabilities.NoteAsync(transaction, sender, announced, signer, now, cancellationToken);

    /// <summary>The finding and its entry in the ledger.</summary>
    private static Task<long> AddFindingAsync(
        NpgsqlTransaction transaction, DecidedMessage decided, string disposition, DateTimeOffset now,
        CancellationToken cancellationToken) =>
        // The salt of the sender's manifest where there is one, so that both ledgers commit to the dispatch alike; else
        // the reception's own.
        AddFindingAsync(
            transaction, decided.Validated, decided.Manifest?.Salt ?? decided.Validated.Received.Salt,
            decided.Kind == MessageKind.Receipt && disposition == Disposition.Matched
                ? EntryKind.ReceiptMatched
                : EntryKind.MessageValidated,
            disposition, now, cancellationToken);

    private static async Task<long> AddFindingAsync(
        NpgsqlTransaction transaction, ValidatedMessage validated, byte[] salt, string kind, string disposition,
        DateTimeOffset now, CancellationToken cancellationToken)
    {
        var findings = FindingJson.Write(validated.Findings, validated.HeaderFindings);
        var commitments = CommitmentsOf(salt, disposition, findings);
        commitments["basis"] = Commitment.Of(salt, SHA256.HashData(Encoding.UTF8.GetBytes(validated.Basis)));
        if (validated.SignedDigest is { Length: 32 } digest)
        {
            commitments["content"] = Commitment.Of(salt, digest);
        }

        var entry = await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = now,
                Agency = validated.Received.AgencyId,
                Kind = kind,
                Object = validated.Received.Id.ToString(),
                Commitments = commitments,
            },
            cancellationToken);
        await IncomingTable.AddFindingAsync(
            transaction, validated.Received.Id, FindingJson.Name(validated.Verdict), findings, validated.Basis,
            entry.EntryId, now, cancellationToken);
        return entry.EntryId;
    }

    private static async Task RaiseConflictsAsync(
        NpgsqlTransaction transaction, DecidedMessage decided, string? reason, long entry, DateTimeOffset now,
        CancellationToken cancellationToken)
    {
        if (reason is ReasonCode.ReceiptConflict or ReasonCode.ContentConflict)
        {
            await AlarmTable.AddAsync(
                transaction,
                reason == ReasonCode.ReceiptConflict ? AlarmKind.ReceiptConflict : AlarmKind.ContentConflict,
                decided.Sender!.LastName.Code,
                $"dispatch {decided.Receipt?.DispatchId ?? decided.Manifest!.DispatchId}, "
                    + $"message {decided.Validated.Received.Id}",
                entry, now, cancellationToken);
        }
    }

    private static IncomingRecord RecordOf(
        DecidedMessage decided, string disposition, string? reason, string verdict, Guid? manifest,
        EncryptedCard? card, long entry, DateTimeOffset now) =>
        new()
        {
            Incoming = decided.Validated.Received.Id,
            Kind = decided.Kind,
            Disposition = disposition,
            Verdict = verdict,
            Reason = reason,
            Sender = decided.Sender?.Id,
            Dispatch = decided.Manifest?.DispatchId ?? decided.Receipt?.DispatchId,
            SignedDigest = decided.Validated.SignedDigest is { Length: 32 } digest ? digest : null,
            Manifest = manifest,
            Card = card?.Ciphertext,
            CardKey = card?.Key,
            Entry = entry,
            RecordedAt = now.UtcDateTime,
            Signer =
                disposition == Disposition.Inbox && decided.Validated.Signer is { } signer
                    ? SHA256.HashData(signer.RawData)
                    : null,
        };

    /// <summary>Quarantines a message that cannot be validated, with its alarm; the caller commits. The message stays
    /// as it was received.</summary>
    /// <param name="cause">The name of an exception's type: nothing of the message.</param>
    public async Task RecordFailedAsync(
        NpgsqlTransaction transaction, ReceivedMessage received, string cause, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var verdict = FindingJson.Name(Verdict.Unreadable);
        const string Findings = "[]";
        var entry = await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = now,
                Agency = received.AgencyId,
                Kind = EntryKind.MessageValidated,
                Object = received.Id.ToString(),
                // A row may be damaged in this, too, and its message must not be tried for ever because of that.
                Commitments =
                    received.Salt.Length == Commitment.SaltSize
                        ? CommitmentsOf(received.Salt, Disposition.Quarantine, Findings)
                        : [],
            },
            cancellationToken);
        await IncomingTable.AddFindingAsync(
            transaction, received.Id, verdict, Findings, basis: null, entry.EntryId, now, cancellationToken);
        await IncomingTable.RecordAsync(
            transaction,
            new IncomingRecord
            {
                Incoming = received.Id,
                Kind = MessageKind.Other,
                Disposition = Disposition.Quarantine,
                Verdict = verdict,
                Reason = ReasonCode.ValidationFailed,
                Entry = entry.EntryId,
                RecordedAt = now.UtcDateTime,
            },
            cancellationToken);
        await AlarmTable.AddAsync(
            transaction, AlarmKind.ValidationFailed, received.Peer, $"message {received.Id}: {cause}", entry.EntryId,
            now, cancellationToken);
    }

    private async Task<(Guid? Manifest, EncryptedCard? Card)> WriteManifestAsync(
        NpgsqlTransaction transaction, DecidedMessage decided, CancellationToken cancellationToken)
    {
        if (decided is not { Manifest: { } manifest, IsDuplicate: false })
        {
            return (null, null);
        }

        var blob = await blobs.WriteAsync(transaction, new MemoryStream(manifest.ToBytes()), cancellationToken);
        return (blob.Id, DispatchCard.Of(manifest).Encrypt(cards, decided.Validated.Received.Id));
    }

    private static Dictionary<string, string> CommitmentsOf(byte[] salt, string disposition, string findings) =>
        new()
        {
            ["findings"] = Commitment.Of(salt, SHA256.HashData(Encoding.UTF8.GetBytes(findings))),
            ["place"] = Commitment.Of(salt, SHA256.HashData(Encoding.UTF8.GetBytes(disposition))),
        };

    private async Task KeepAsync(
        NpgsqlTransaction transaction, DecidedMessage decided, string disposition, long entry,
        CancellationToken cancellationToken)
    {
        if (disposition == Disposition.Inbox)
        {
            await DeliverAsync(transaction, decided, cancellationToken);
        }

        if (IsReceiptDue(decided))
        {
            // It leaves after the checkpoint that covers the entry.
            await WorkQueue.EnqueueAsync(
                transaction, WorkKind.SendReceipt, decided.Validated.Received.Id, entry,
                cancellationToken: cancellationToken);
        }
    }

    /// <summary>What goes with a dispatch into the inbox: that it was seen, its documents and its signer.</summary>
    private async Task DeliverAsync(
        NpgsqlTransaction transaction, DecidedMessage decided, CancellationToken cancellationToken)
    {
        var incoming = decided.Validated.Received;
        await IncomingTable.AddSeenAsync(
            transaction, incoming.AgencyId, decided.Sender!.Id, decided.Manifest!.DispatchId,
            decided.Validated.SignedDigest, incoming.Id, cancellationToken);
        foreach (var (part, n) in decided.Documents.Select((p, i) => (p, i + 1)))
        {
            await using var content = part.OpenDecoded();
            var blob = await blobs.WriteAsync(transaction, content, cancellationToken);
            await IncomingTable.AddDocumentAsync(transaction, incoming.Id, n, blob.Id, cancellationToken);
        }

        if (decided.Validated.Signer is { } signer)
        {
            await IncomingTable.AddSignerAsync(
                transaction, SHA256.HashData(signer.RawData), signer.RawData, cancellationToken);
        }
    }

    /// <summary>A receipt goes only where it cannot contradict one given before, and not to a gateway whose ledger does
    /// not stand behind the message.</summary>
    private static bool IsReceiptDue(DecidedMessage decided) =>
        decided is
        {
            Kind: MessageKind.Dispatch,
            IsDuplicate: false,
            Reason: null or ReasonCode.NotAddressedToUs or ReasonCode.SecrecyRefused or ReasonCode.DocumentsDiffer
        };

    private static async Task AnswerAgainAsync(
        NpgsqlTransaction transaction, Guid first, CancellationToken cancellationToken)
    {
        if (await TransmissionTable.FindReceiptOfAsync(transaction, first, cancellationToken) is { } sent)
        {
            // The message of a receipt is kept for a time only. After that the receipt is signed again.
            await WorkQueue.EnqueueAsync(
                transaction, sent.IsMessageGone ? WorkKind.SendReceipt : WorkKind.Send,
                sent.IsMessageGone ? first : sent.Transmission, cancellationToken: cancellationToken);
        }
    }
}
