using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Dapper;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Inbound;

/// <summary>
/// Screened → recorded: the finding, the place, the arrival number, the opened documents (sealed), the ledger entry and
/// the receipt that falls due are one transaction; its commit is the delivery. A dispatch lies in the inbox exactly
/// when the ledger says so.
/// </summary>
internal sealed class IncomingRecorder(BlobStore blobs, Acknowledge acknowledge, ClockWatch clock, TimeProvider time)
{
    /// <summary>Writes everything; the caller commits. Answers where the message lies now, and whether its sender's
    /// reader can do less than before.</summary>
    public async Task<(string Place, bool Weakened)> RecordAsync(
        NpgsqlTransaction transaction, DecidedMessage decided, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var incoming = decided.Validated.Received;
        var place = decided.Disposition;
        var reason = decided.Reason;
        if (decided is { Kind: MessageKind.Receipt, Disposition: Disposition.Inbox })
        {
            reason = await acknowledge.AcknowledgeAsync(transaction, decided, cancellationToken);
            place = reason is null ? Disposition.Matched : Disposition.Quarantine;
        }

        var findings = JsonSerializer.Serialize(decided.Validated.Findings, FindingJson.Options);
        await transaction.Connection!.ExecuteAsync(
            new CommandDefinition(
                "INSERT INTO gateway.finding (incoming_id, judged_at, verdict, findings) VALUES (@Id, @now, @Verdict, "
                    + "@findings::jsonb)",
                new
                {
                    incoming.Id,
                    now = now.UtcDateTime,
                    Verdict = FindingJson.Name(decided.Validated.Verdict),
                    findings,
                },
                transaction,
                cancellationToken: cancellationToken));

        var entry = await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = now,
                Agency = incoming.AgencyId,
                Kind =
                    decided.Kind == MessageKind.Receipt && place == Disposition.Matched
                        ? EntryKind.ReceiptMatched
                        : EntryKind.MessageJudged,
                Object = incoming.Id.ToString(),
                Commitments = CommitmentsOf(decided, place, findings),
            },
            cancellationToken);

        if (place == Disposition.Inbox)
        {
            await clock.RequireYearAsync(now, cancellationToken);
        }

        int? arrival =
            place == Disposition.Inbox
                ? await Register.NextAsync(
                    transaction, incoming.AgencyId, RegisterDirection.Incoming, Register.YearOf(now), cancellationToken)
                : null;
        var manifest = decided is { Manifest: { } m, IsDuplicate: false }
            ? await blobs.WriteAsync(transaction, new MemoryStream(m.ToBytes()), cancellationToken)
            : null;
        await transaction.Connection!.ExecuteAsync(
            new CommandDefinition(
                $"""
                UPDATE gateway.incoming SET state = '{IncomingState.Recorded}', kind = @Kind, place = @place,
                  verdict = @Verdict, reason = @reason, sender_id = @Sender, dispatch_id = @Dispatch,
                  signed_digest = @Digest, arrival_year = @Year, arrival_number = @arrival, manifest_blob = @Manifest,
                    entry_id = @EntryId, recorded_at = @now
                WHERE incoming_id = @Id AND state = '{IncomingState.Received}'
                """,
                new
                {
                    incoming.Id,
                    decided.Kind,
                    place,
                    Verdict = FindingJson.Name(decided.Validated.Verdict),
                    reason,
                    Sender = decided.Sender?.Id,
                    Dispatch = decided.Manifest?.DispatchId ?? decided.Receipt?.DispatchId,
                    Digest = decided.Validated.SignedDigest is { Length: 32 } digest ? digest : null,
                    Year = arrival is null ? (int?)null : Register.YearOf(now),
                    arrival,
                    Manifest = manifest?.Id,
                    entry.EntryId,
                    now = now.UtcDateTime,
                },
                transaction,
                cancellationToken: cancellationToken));

        if (decided is { Kind: MessageKind.Dispatch, IsDuplicate: false })
        {
            await KeepAsync(transaction, decided, place, entry.EntryId, now, cancellationToken);
        }
        else if (decided.FirstIncoming is { } first)
        {
            await AnswerAgainAsync(transaction, first, cancellationToken);
        }

        // What is kept aside says nothing of its sender: not that it came from it by its own gateway, whose ledger may
        // not stand behind it.
        var weakened =
            place != Disposition.Quarantine
            && decided is { Sender: { } sender, Validated: { Announced: { } announced, Signer: { } signer } }
            && await AgencyCapabilities.NoteAsync(transaction, sender, announced, signer, now, cancellationToken);
        return (place, weakened);
    }

    private static Dictionary<string, string> CommitmentsOf(DecidedMessage decided, string place, string findings)
    {
        // The salt of the sender's manifest where there is one, so that both ledgers commit to the dispatch alike; else
        // the reception's own.
        var salt = decided.Manifest?.Salt ?? decided.Validated.Received.Salt;
        var commitments = new Dictionary<string, string>
        {
            ["findings"] = Commitment.Of(salt, SHA256.HashData(Encoding.UTF8.GetBytes(findings))),
            ["place"] = Commitment.Of(salt, SHA256.HashData(Encoding.UTF8.GetBytes(place))),
        };
        if (decided.Validated.SignedDigest is { Length: 32 } digest)
        {
            commitments["content"] = Commitment.Of(salt, digest);
        }

        return commitments;
    }

    private async Task KeepAsync(
        NpgsqlTransaction transaction, DecidedMessage decided, string place, long entry, DateTimeOffset now,
        CancellationToken cancellationToken)
    {
        var incoming = decided.Validated.Received;
        if (decided.Reason == ReasonCode.ContentConflict)
        {
            await transaction.Connection!.ExecuteAsync(
                new CommandDefinition(
                    $"""
                    INSERT INTO gateway.alarm (raised_at, kind, subject, detail, entry_id)
                      VALUES (@now, '{AlarmKind.ContentConflict}', @Subject, @Detail, @entry)
                    """,
                    new
                    {
                        now = now.UtcDateTime,
                        Subject = decided.Sender!.LastName.Code,
                        Detail = $"dispatch {decided.Manifest!.DispatchId}, message {incoming.Id}",
                        entry,
                    },
                    transaction,
                    cancellationToken: cancellationToken));
        }
        else if (place is Disposition.Inbox)
        {
            await transaction.Connection!.ExecuteAsync(
                new CommandDefinition(
                    "INSERT INTO gateway.seen (recipient_id, sender_id, dispatch_id, digest, incoming_id) VALUES "
                        + "(@Recipient, @Sender, @DispatchId, @Digest, @Id)",
                    new
                    {
                        Recipient = incoming.AgencyId,
                        Sender = decided.Sender!.Id,
                        decided.Manifest!.DispatchId,
                        Digest = decided.Validated.SignedDigest,
                        incoming.Id,
                    },
                    transaction,
                    cancellationToken: cancellationToken));
            var n = 0;
            foreach (var part in decided.Documents)
            {
                await using var content = part.OpenDecoded();
                var blob = await blobs.WriteAsync(transaction, content, cancellationToken);
                await transaction.Connection!.ExecuteAsync(
                    new CommandDefinition(
                        "INSERT INTO gateway.incoming_document (incoming_id, n, blob_id) VALUES (@Id, @n, @Blob)",
                        new
                        {
                            incoming.Id,
                            n = ++n,
                            Blob = blob.Id,
                        },
                        transaction,
                        cancellationToken: cancellationToken));
            }
        }

        // An answer goes only where it cannot contradict one given before, nor to a gateway whose ledger does not stand
        // behind the message; the checkpoint that covers the entry comes first.
        if (decided.Reason
            is not (null or ReasonCode.NotAddressedToUs or ReasonCode.SecrecyRefused or ReasonCode.DocumentsDiffer))
        {
            return;
        }

        await WorkQueue.EnqueueAsync(
            transaction, WorkKind.SendReceipt, incoming.Id, entry, cancellationToken: cancellationToken);
    }

    private static async Task AnswerAgainAsync(
        NpgsqlTransaction transaction, Guid first, CancellationToken cancellationToken)
    {
        var sent = await transaction.Connection!.QuerySingleOrDefaultAsync<(Guid Id, bool Gone)?>(
            new CommandDefinition(
                $"""
                SELECT t.transmission_id, t.message_gone_at IS NOT NULL FROM gateway.incoming i
                  JOIN gateway.transmission t ON t.kind = '{TransmissionKind.Receipt}'
                  AND t.dispatch_id = i.dispatch_id AND t.agency_id = i.agency_id
                WHERE i.incoming_id = @first AND t.recipient_id = i.sender_id
                  AND t.state IN ('{TransmissionState.Sent}', '{TransmissionState.Unknown}')
                """,
                new { first },
                transaction,
                cancellationToken: cancellationToken));
        if (sent is { } transmission)
        {
            // What was signed then is kept for a time only; after it the same is said and signed again.
            await WorkQueue.EnqueueAsync(
                transaction, transmission.Gone ? WorkKind.SendReceipt : WorkKind.Send,
                transmission.Gone ? first : transmission.Id, cancellationToken: cancellationToken);
        }
    }
}
