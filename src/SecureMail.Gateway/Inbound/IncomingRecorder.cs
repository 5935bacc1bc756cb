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
        var (incoming, disposition, reason) = (decided.Validated.Received, decided.Disposition, decided.Reason);
        if (decided is { Kind: MessageKind.Receipt, Disposition: Disposition.Inbox })
        {
            reason = await acknowledge.AcknowledgeAsync(transaction, decided, cancellationToken);
            disposition = reason is null ? Disposition.Matched : Disposition.Quarantine;
        }

        var verdict = FindingJson.Name(decided.Validated.Verdict);
        var findings = FindingJson.Write(decided.Validated.Findings, decided.Validated.HeaderFindings);
        await IncomingTable.AddFindingAsync(transaction, incoming.Id, verdict, findings, now, cancellationToken);
        var entry = await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = now,
                Agency = incoming.AgencyId,
                Kind =
                    decided.Kind == MessageKind.Receipt && disposition == Disposition.Matched
                        ? EntryKind.ReceiptMatched
                        : EntryKind.MessageValidated,
                Object = incoming.Id.ToString(),
                Commitments = CommitmentsOf(decided, disposition, findings),
            },
            cancellationToken);
        if (reason == ReasonCode.ReceiptConflict)
        {
            await AlarmTable.AddAsync(
                transaction, AlarmKind.ReceiptConflict, decided.Sender!.LastName.Code,
                $"dispatch {decided.Receipt!.DispatchId}, message {incoming.Id}", entry.EntryId, now,
                cancellationToken);
        }

        var (manifest, card) = await WriteManifestAsync(transaction, decided, cancellationToken);
        await IncomingTable.RecordAsync(
            transaction,
            new IncomingRecord
            {
                Incoming = incoming.Id,
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
                Entry = entry.EntryId,
                RecordedAt = now.UtcDateTime,
                IsReceiptDue = IsReceiptDue(decided),
            },
            cancellationToken);
        if (decided is { Kind: MessageKind.Dispatch, IsDuplicate: false })
        {
            await KeepAsync(transaction, decided, disposition, entry.EntryId, now, cancellationToken);
        }
        else if (decided.FirstIncoming is { } first)
        {
            await AnswerAgainAsync(transaction, first, cancellationToken);
        }

        // A quarantined message says nothing of its sender: its own gateway may not have sent it, because that
        // gateway's ledger may not stand behind it.
        var isWeakened =
            disposition != Disposition.Quarantine
            && decided is { Sender: { } sender, Validated: { Announced: { } announced, Signer: { } signer } }
            && await AgencyCapabilities.NoteAsync(transaction, sender, announced, signer, now, cancellationToken);
        return (disposition, isWeakened);
    }

    /// <summary>Quarantines a message that cannot be validated, with its alarm; the caller commits. The message stays
    /// as it was received.</summary>
    /// <param name="cause">The name of an exception's type: nothing of the message.</param>
    public async Task RecordFailedAsync(
        NpgsqlTransaction transaction, ReceivedMessage received, string cause, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var verdict = FindingJson.Name(Verdict.Unreadable);
        const string Findings = "[]";
        await IncomingTable.AddFindingAsync(transaction, received.Id, verdict, Findings, now, cancellationToken);
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

    private static Dictionary<string, string> CommitmentsOf(DecidedMessage decided, string disposition, string findings)
    {
        // The salt of the sender's manifest where there is one, so that both ledgers commit to the dispatch alike; else
        // the reception's own.
        var salt = decided.Manifest?.Salt ?? decided.Validated.Received.Salt;
        var commitments = CommitmentsOf(salt, disposition, findings);
        if (decided.Validated.SignedDigest is { Length: 32 } digest)
        {
            commitments["content"] = Commitment.Of(salt, digest);
        }

        return commitments;
    }

    private static Dictionary<string, string> CommitmentsOf(byte[] salt, string disposition, string findings) =>
        new()
        {
            ["findings"] = Commitment.Of(salt, SHA256.HashData(Encoding.UTF8.GetBytes(findings))),
            ["place"] = Commitment.Of(salt, SHA256.HashData(Encoding.UTF8.GetBytes(disposition))),
        };

    private async Task KeepAsync(
        NpgsqlTransaction transaction, DecidedMessage decided, string disposition, long entry, DateTimeOffset now,
        CancellationToken cancellationToken)
    {
        var (incoming, manifest, sender) = (decided.Validated.Received, decided.Manifest!, decided.Sender!);
        if (decided.Reason == ReasonCode.ContentConflict)
        {
            await AlarmTable.AddAsync(
                transaction, AlarmKind.ContentConflict, sender.LastName.Code,
                $"dispatch {manifest.DispatchId}, message {incoming.Id}", entry, now, cancellationToken);
        }
        else if (disposition == Disposition.Inbox)
        {
            await IncomingTable.AddSeenAsync(
                transaction, incoming.AgencyId, sender.Id, manifest.DispatchId, decided.Validated.SignedDigest,
                incoming.Id, cancellationToken);
            foreach (var (part, n) in decided.Documents.Select((p, i) => (p, i + 1)))
            {
                await using var content = part.OpenDecoded();
                var blob = await blobs.WriteAsync(transaction, content, cancellationToken);
                await IncomingTable.AddDocumentAsync(transaction, incoming.Id, n, blob.Id, cancellationToken);
            }
        }

        if (IsReceiptDue(decided))
        {
            // It leaves after the checkpoint that covers the entry.
            await WorkQueue.EnqueueAsync(
                transaction, WorkKind.SendReceipt, incoming.Id, entry, cancellationToken: cancellationToken);
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
