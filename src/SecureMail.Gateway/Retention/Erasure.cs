using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Gateway.Words;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.Gateway.Retention;

/// <param name="Blobs">How many blobs lost their keys.</param>
/// <param name="Shared">How many stay because another agency's row still needs them.</param>
/// <param name="EntryId">The ledger entry that says so.</param>
public sealed record ErasureAnswer(int Blobs, int Shared, long EntryId);

/// <summary>
/// Destroys the content of one dispatch by order of a person: the keys of its blobs, their encrypted rows and digests,
/// its card, and the salts of its commitments.
/// </summary>
/// <remarks>
/// The ledger is not touched. Its entries and proofs verify as before, but the commitments cannot be tied to any
/// content. The register keeps the number, the parties and the states; <c>gateway.seen</c> and the signed digest still
/// tell a duplicate. What PostgreSQL has not yet overwritten (dead rows until VACUUM, the write-ahead log, backups)
/// holds encrypted bytes and a wrapped key. They are unreadable without the storage key, and for good once the storage
/// keys were rotated and the old key destroyed (docs/growth.md).
/// </remarks>
public sealed class Erasure(GatewayDatabase database, TimeProvider time, ILogger<Erasure> logger)
{
    /// <summary>Erases a dispatch that we sent.</summary>
    /// <param name="reason">For the record, in clear; 1 to 1000 characters. It must not repeat the content.</param>
    /// <param name="orderedBy">Who asked for it, in clear.</param>
    /// <param name="by">Who does it.</param>
    /// <exception cref="ErasureRefusedException">There is no such dispatch, it was erased before, or work on it is not
    /// done.</exception>
    public Task<ErasureAnswer> EraseOutgoingAsync(
        Guid dispatch, string reason, string orderedBy, Authority by, CancellationToken cancellationToken) =>
        EraseAsync(
            RegisterDirection.Outgoing,
            dispatch,
            reason,
            orderedBy,
            by,
            $"""
            SELECT o.agency_id, o.erased_at IS NOT NULL, EXISTS (
              SELECT FROM gateway.work w
              WHERE w.subject = o.dispatch_id OR w.subject IN (
                SELECT transmission_id FROM gateway.transmission t
                WHERE t.dispatch_id = o.dispatch_id AND t.kind = '{TransmissionKind.Dispatch}'))
            FROM gateway.outgoing o WHERE o.dispatch_id = @subject FOR UPDATE
            """,
            """
            WITH gone AS (
              UPDATE gateway.outgoing
              SET erased_at = now(), message_gone_at = coalesce(message_gone_at, now()),
                documents_gone_at = coalesce(documents_gone_at, now())
              WHERE dispatch_id = @subject
              RETURNING dispatch_id, manifest_blob, message_blob)
            SELECT manifest_blob FROM gone
            UNION ALL SELECT message_blob FROM gone WHERE message_blob IS NOT NULL
            UNION ALL SELECT d.blob_id FROM gone JOIN gateway.outgoing_document d USING (dispatch_id)
            """,
            cancellationToken);

    /// <summary>Erases a message that came in. A mail that came for several of our agencies is destroyed with the last
    /// of their messages.</summary>
    /// <exception cref="ErasureRefusedException">There is no such message, it was erased before, or work on it is not
    /// done.</exception>
    public Task<ErasureAnswer> EraseIncomingAsync(
        Guid incoming, string reason, string orderedBy, Authority by, CancellationToken cancellationToken) =>
        EraseAsync(
            RegisterDirection.Incoming,
            incoming,
            reason,
            orderedBy,
            by,
            $"""
            SELECT i.agency_id, i.erased_at IS NOT NULL, i.state <> '{IncomingState.Recorded}'
              OR EXISTS (SELECT FROM gateway.work w WHERE w.subject = i.incoming_id)
            FROM gateway.incoming i WHERE i.incoming_id = @subject FOR UPDATE
            """,
            """
            WITH gone AS (
              UPDATE gateway.incoming SET erased_at = now(), mail_gone_at = coalesce(mail_gone_at, now())
              WHERE incoming_id = @subject
              RETURNING incoming_id, received_id, manifest_blob),
            others AS (
              SELECT EXISTS (
                SELECT FROM gateway.incoming x JOIN gone USING (received_id)
                WHERE x.incoming_id <> gone.incoming_id AND x.erased_at IS NULL) AS left_over),
            salt AS (
              UPDATE gateway.received r SET salt = NULL FROM gone, others
              WHERE r.received_id = gone.received_id AND NOT others.left_over)
            SELECT manifest_blob FROM gone WHERE manifest_blob IS NOT NULL
            UNION ALL SELECT d.blob_id FROM gone JOIN gateway.incoming_document d USING (incoming_id)
            UNION ALL SELECT CASE WHEN NOT others.left_over THEN r.blob_id END
            FROM gone JOIN gateway.received r USING (received_id), others
            """,
            cancellationToken);

    private async Task<ErasureAnswer> EraseAsync(
        string direction, Guid subject, string reason, string orderedBy, Authority by, string find, string mark,
        CancellationToken cancellationToken)
    {
        if (reason.Trim().Length is 0 or > 1000)
        {
            throw new ErasureRefusedException("ERASURE_REASON");
        }

        // With this commit the content is gone and the ledger says so; before it nothing was touched.
        var answer = await database.Source.InTransactionAsync(
            "erasure.erase",
            async transaction =>
            {
                await AdvisoryLock.Destruction.TakeAsync(transaction, cancellationToken);
                var agency = await transaction.FindAsync<(Guid Agency, bool IsErased, bool IsBusy)?>(
                    find, new { subject }, cancellationToken) switch
                {
                    null => throw new ErasureRefusedException("ERASURE_UNKNOWN", subject),
                    { IsErased: true } => throw new ErasureRefusedException("ERASURE_DONE"),
                    { IsBusy: true } => throw new ErasureRefusedException("ERASURE_BUSY"),
                    { } row => row.Agency,
                };
                var blobs = await transaction.ListAsync<Guid?>(mark, new { subject }, cancellationToken);
                await BlobStore.DestroyAsync(
                    transaction, [.. blobs.OfType<Guid>()], forgetDigest: true, cancellationToken);
                var entry = await RecordAsync(
                    transaction, direction, subject, agency, reason, orderedBy, by, cancellationToken);
                return new ErasureAnswer(blobs.Count(b => b is not null), blobs.Count(b => b is null), entry);
            },
            cancellationToken);
        RetentionLog.Erased(logger, direction, subject, orderedBy, answer.Blobs, answer.Shared);
        return answer;
    }

    private async Task<long> RecordAsync(
        NpgsqlTransaction transaction, string direction, Guid subject, Guid agency, string reason, string orderedBy,
        Authority by, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var entry = await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = now,
                Agency = agency,
                Kind = EntryKind.DispatchErased,
                Object = subject.ToString(),
                Actor = by.Actor,
                Grant = by.Grant,
                // Not salted: the reason stands in clear in gateway.erasure.
                Commitments = new Dictionary<string, string>
                {
                    ["reason"] = "sha256:" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(reason))),
                },
            },
            cancellationToken);
        await transaction.ExecuteAsync(
            """
            INSERT INTO gateway.erasure (erased_at, subject, direction, reason, ordered_by, entry_id)
            VALUES (@now, @subject, @direction, @reason, @orderedBy, @EntryId)
            """,
            new { now = now.UtcDateTime, subject, direction, reason, orderedBy, entry.EntryId }, cancellationToken);
        return entry.EntryId;
    }
}

/// <summary>The content was not erased, and nothing was changed.</summary>
public sealed class ErasureRefusedException(string code, params object[] arguments)
    : ReasonedException(code, arguments);
