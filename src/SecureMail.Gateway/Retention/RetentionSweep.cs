using System.Globalization;
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

namespace SecureMail.Gateway.Retention;

/// <summary>
/// Destroys contents whose term is over, kind by kind, and keeps the tables in shape: it makes partitions ahead, drops
/// empty ones and thins checkpoints.
/// </summary>
/// <remarks>
/// A batch is one transaction: at most <see cref="Batch"/> rows are marked, the keys of their blobs destroyed, the
/// encrypted rows deleted, and one ledger entry <c>retention.swept</c> commits to the counts in <c>gateway.sweep</c>. A
/// crash between two batches leaves nothing half done, and the next run goes on. After each batch the sweep rests as
/// long as the batch took, because mail goes first. Every rule asks for closed rows without work, so what is still to
/// be sent, validated or answered is never taken. A blob that two rows share is destroyed with the last. Terms run by
/// the database's clock without its steps, so that no wrong clock destroys anything early. The statements stand here
/// and not with their tables, because the rules are read together.
/// </remarks>
internal sealed class RetentionSweep(
    GatewayDatabase database, RetentionOptions options, TimeProvider time, ILogger<RetentionSweep> logger)
{
    internal const int Batch = 200;


    private const string NoOpenTransmission = $"""
        NOT EXISTS (
          SELECT FROM gateway.transmission t
          WHERE t.kind = '{TransmissionKind.Dispatch}' AND t.dispatch_id = o.dispatch_id
            AND (
              t.state NOT IN (
                '{TransmissionState.Acknowledged}', '{TransmissionState.Refused}', '{TransmissionState.Failed}')
              OR t.closed_at > gateway.cutoff(@age)
              OR EXISTS (
                SELECT FROM gateway.work w WHERE w.kind = '{WorkKind.Send}' AND w.subject = t.transmission_id)))
        """;

    private const string Composed = $"""
        WITH due AS (
          SELECT o.dispatch_id FROM gateway.outgoing o
          WHERE o.state = '{OutgoingState.Queued}' AND o.message_gone_at IS NULL
            AND o.queued_at < gateway.cutoff(@age) AND {NoOpenTransmission}
          ORDER BY o.queued_at LIMIT @Batch)
        UPDATE gateway.outgoing o SET message_gone_at = now()
        FROM due WHERE o.dispatch_id = due.dispatch_id
        RETURNING o.dispatch_id, o.message_blob
        """;

    private const string ReceiptsSent = $"""
        WITH due AS (
          SELECT t.transmission_id FROM gateway.transmission t
          WHERE t.kind = '{TransmissionKind.Receipt}' AND t.message_gone_at IS NULL
            AND t.queued_at < gateway.cutoff(@age)
            AND t.state IN ('{TransmissionState.Sent}', '{TransmissionState.Failed}')
            AND NOT EXISTS (
              SELECT FROM gateway.work w WHERE w.kind = '{WorkKind.Send}' AND w.subject = t.transmission_id)
          ORDER BY t.queued_at LIMIT @Batch)
        UPDATE gateway.transmission t SET message_gone_at = now()
        FROM due WHERE t.transmission_id = due.transmission_id
        RETURNING t.transmission_id, t.message_blob
        """;

    private const string DocumentsSent = $"""
        WITH due AS (
          SELECT o.dispatch_id FROM gateway.outgoing o
          WHERE o.state IN ('{OutgoingState.Queued}', '{OutgoingState.Refused}') AND o.documents_gone_at IS NULL
            AND o.accepted_at < gateway.cutoff(@age) AND {NoOpenTransmission}
            AND NOT EXISTS (
              SELECT FROM gateway.work w WHERE w.kind = '{WorkKind.SignAndEncrypt}' AND w.subject = o.dispatch_id)
          ORDER BY o.accepted_at LIMIT @Batch),
        gone AS (
          UPDATE gateway.outgoing o SET documents_gone_at = now(), message_gone_at = now()
          FROM due WHERE o.dispatch_id = due.dispatch_id
          RETURNING o.dispatch_id, o.message_blob)
        SELECT dispatch_id, message_blob FROM gone
        UNION ALL SELECT dispatch_id, d.blob_id FROM gone JOIN gateway.outgoing_document d USING (dispatch_id)
        """;

    // These are two statements, because only after the rows were marked is it seen whether any row still needs the
    // mail.
    private const string MarkReceived = $"""
        WITH due AS (
          SELECT i.incoming_id FROM gateway.incoming i
          WHERE i.state = '{IncomingState.Recorded}' AND i.mail_gone_at IS NULL AND i.place = ANY(@places)
            AND i.recorded_at < gateway.cutoff(@age)
            AND NOT EXISTS (
              SELECT FROM gateway.work w
              WHERE w.kind IN (
                '{WorkKind.Validate}', '{WorkKind.ValidateAgain}', '{WorkKind.SendReceipt}') AND w.subject = i.incoming_id)
          ORDER BY i.recorded_at LIMIT @Batch)
        UPDATE gateway.incoming i SET mail_gone_at = now()
        FROM due WHERE i.incoming_id = due.incoming_id
        RETURNING i.incoming_id
        """;

    private const string BlobsOfReceived = """
        SELECT DISTINCT r.blob_id FROM gateway.incoming i JOIN gateway.received r USING (received_id)
        WHERE i.incoming_id = ANY(@ids)
          AND NOT EXISTS (
            SELECT FROM gateway.incoming x WHERE x.received_id = r.received_id AND x.mail_gone_at IS NULL)
        UNION ALL SELECT d.blob_id FROM gateway.incoming_document d WHERE d.incoming_id = ANY(@ids)
        """;

    // Dead work is deleted only where nothing is left to do. A message that is not validated and a receipt that is not
    // sent are still owed.
    private const string DeadWork = $"""
        WITH gone AS (
          DELETE FROM gateway.work w
          WHERE w.state = '{WorkState.Dead}' AND w.created_at < gateway.cutoff(@age)
            AND CASE w.kind
              WHEN '{WorkKind.SignAndEncrypt}' THEN EXISTS (
                SELECT FROM gateway.outgoing o
                WHERE o.dispatch_id = w.subject AND o.state IN ('{OutgoingState.Queued}', '{OutgoingState.Refused}'))
              WHEN '{WorkKind.Send}' THEN EXISTS (
                SELECT FROM gateway.transmission t
                WHERE t.transmission_id = w.subject AND t.state IN (
                  '{TransmissionState.Acknowledged}', '{TransmissionState.Refused}', '{TransmissionState.Failed}'))
              WHEN '{WorkKind.Validate}' THEN EXISTS (
                SELECT FROM gateway.incoming i
                WHERE i.incoming_id = w.subject AND i.state = '{IncomingState.Recorded}')
              ELSE false END
          RETURNING 1)
        SELECT count(*) FROM gone
        """;

    private const string OldAlarms = """
        WITH gone AS (DELETE FROM gateway.alarm WHERE raised_at < gateway.cutoff(@age) RETURNING 1)
        SELECT count(*) FROM gone
        """;

    /// <summary>Does what is due now. Answers for each kind from how many rows contents were taken.</summary>
    public async Task<IReadOnlyDictionary<string, long>> RunAsync(CancellationToken cancellationToken)
    {
        await HousekeepAsync(cancellationToken);
        Dictionary<string, long> taken = [];
        foreach (var (kind, days, take) in Rules())
        {
            taken[kind] = days is { } limit
                ? await SweepAsync(kind, TimeSpan.FromDays(limit), take, cancellationToken)
                : 0;
        }

        return taken;
    }

    private IEnumerable<(string Kind, int? Days, Take Take)> Rules() =>
        [
            ("composed", options.Composed, Simple(Composed)),
            ("receipts-sent", options.Composed, Simple(ReceiptsSent)),
            ("duplicates", options.Duplicates, Received(Disposition.Duplicate)),
            ("quarantine", options.Quarantine, Received(Disposition.Quarantine, Disposition.Returned)),
            ("receipts", options.Receipts, Received(Disposition.Matched)),
            ("documents-in", options.Documents, Received(Disposition.Inbox)),
            ("documents-out", options.Documents, Simple(DocumentsSent)),
            ("work", options.DeadWork, Rows(DeadWork)),
            ("alarms", options.Alarms, Rows(OldAlarms)),
            (
                "checkpoints", options.Checkpoints,
                Rows("SELECT checkpoints + cosignatures + peer_checkpoints FROM ledger.thin(@age)")),
        ];

    /// <summary>Runs batch after batch until a batch is not full.</summary>
    private async Task<long> SweepAsync(string kind, TimeSpan age, Take take, CancellationToken cancellationToken)
    {
        long total = 0;
        while (true)
        {
            var started = time.GetTimestamp();
            var rows = await BatchAsync(kind, age, take, cancellationToken);
            total += rows;
            if (rows < Batch)
            {
                return total;
            }

            await Task.Delay(time.GetElapsedTime(started), time, cancellationToken);
        }
    }

    private async Task<long> BatchAsync(string kind, TimeSpan age, Take take, CancellationToken cancellationToken)
    {
        // With this commit the keys are gone and the ledger says so; before it nothing was touched.
        var (rows, destroyed, bytes) = await database.Source.InTransactionAsync(
            "retention.sweep",
            async transaction =>
            {
                await AdvisoryLock.Destruction.TakeAsync(transaction, cancellationToken);
                var (rows, blobs) = await take(transaction, age, cancellationToken);
                if (rows == 0)
                {
                    return (0L, 0L, 0L);
                }

                var (destroyed, bytes) = await BlobStore.DestroyAsync(
                    transaction, blobs, forgetDigest: false, cancellationToken);
                await RecordAsync(transaction, kind, rows, destroyed, bytes, cancellationToken);
                return (rows, destroyed, bytes);
            },
            cancellationToken);
        if (rows > 0)
        {
            RetentionLog.Swept(logger, kind, rows, destroyed, bytes);
        }

        return rows;
    }

    private async Task RecordAsync(
        NpgsqlTransaction transaction, string kind, long rows, long destroyed, long bytes,
        CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var counts = string.Create(CultureInfo.InvariantCulture, $"{kind}|{rows}|{destroyed}|{bytes}");
        var entry = await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = now,
                Agency = DirectoryStore.GatewayItself,
                Kind = EntryKind.RetentionSwept,
                Object = "retention",
                // Not salted: the counts stand in clear in gateway.sweep, and anybody shall be able to compare.
                Commitments = new Dictionary<string, string>
                {
                    ["counts"] = "sha256:" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(counts))),
                },
            },
            cancellationToken);
        await transaction.ExecuteAsync(
            """
            INSERT INTO gateway.sweep (swept_at, kind, rows, blobs, octets, entry_id)
            VALUES (@now, @kind, @rows, @destroyed, @bytes, @EntryId)
            """,
            new { now = now.UtcDateTime, kind, rows, destroyed, bytes, entry.EntryId }, cancellationToken);
    }

    /// <summary>Makes and drops partitions. A table that somebody holds locked for long is left for the next run; the
    /// default partition takes rows meanwhile.</summary>
    private async Task HousekeepAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        foreach (
            var shape in new[]
            {
                "ledger.make_partitions()",
                "gateway.make_partitions()",
                "gateway.drop_empty_partitions()",
            })
        {
            try
            {
                // Each runs by itself, so that no lock on a table is held for longer than one of them takes.
                var changed = await connection.CommitAsync("retention.partitions", c =>
                    c.ScalarAsync<int>("SELECT " + shape, null, cancellationToken));
                if (changed > 0)
                {
                    RetentionLog.Partitions(logger, shape, changed);
                }
            }
            catch (PostgresException e)
                when (e.SqlState is PostgresErrorCodes.LockNotAvailable or PostgresErrorCodes.DeadlockDetected)
            {
                RetentionLog.PartitionsLater(logger, shape);
            }
        }
    }

    private static Take Simple(string sql) =>
        async (transaction, age, cancellationToken) =>
        {
            var taken = await transaction.ListAsync<(Guid Row, Guid? Blob)>(
                sql, new { age, Batch }, cancellationToken);
            return (taken.DistinctBy(t => t.Row).Count(), [.. taken.Select(t => t.Blob).OfType<Guid>()]);
        };

    private static Take Received(params string[] places) =>
        async (transaction, age, cancellationToken) =>
        {
            var ids = (
                await transaction.ListAsync<Guid>(MarkReceived, new { places, age, Batch }, cancellationToken)
            ).ToArray();
            var blobs = await transaction.ListAsync<Guid>(BlobsOfReceived, new { ids }, cancellationToken);
            return (ids.Length, [.. blobs]);
        };

    /// <summary>Rows without blobs.</summary>
    private static Take Rows(string sql) =>
        async (transaction, age, cancellationToken) =>
            (await transaction.ScalarAsync<long>(sql, new { age }, cancellationToken), []);

    private delegate Task<(long Rows, IReadOnlyList<Guid> Blobs)> Take(
        NpgsqlTransaction transaction, TimeSpan age, CancellationToken cancellationToken);
}
