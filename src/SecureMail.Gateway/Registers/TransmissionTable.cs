using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Registers;

/// <summary>
/// The SQL of <c>gateway.transmission</c> (one row for each dispatch or receipt and recipient; its states are drawn in
/// 0001_gateway.sql), of <c>gateway.message_head</c> and of <c>gateway.notice</c>. Every method runs in the caller's
/// transaction and leaves the ledger entry to the caller. The registers read the tables; Retention destroys their
/// contents.
/// </summary>
/// <remarks>Whoever changes a transmission and its work locks the transmission first.</remarks>
internal static class TransmissionTable
{
    /// <summary>How many rows one run of a recurring change takes.</summary>
    private const int Batch = 500;

    /// <summary>Adds a row for each recipient of a dispatch: waiting, or failed where a reason is given.</summary>
    public static Task InsertAsync(
        NpgsqlTransaction transaction, Guid dispatch, Guid sender, IReadOnlyList<NewTransmission> recipients,
        DateTimeOffset now, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            $"""
            INSERT INTO gateway.transmission
              (transmission_id, kind, dispatch_id, agency_id, recipient_id, recipient_code, state, reason, closed_at)
            SELECT id, '{TransmissionKind.Dispatch}', @dispatch, @sender, recipient, code,
              CASE WHEN reason IS NULL THEN '{TransmissionState.Waiting}' ELSE '{TransmissionState.Failed}' END,
              reason, CASE WHEN reason IS NOT NULL THEN @now END
            FROM unnest(@ids, @agencies, @codes, @reasons) r(id, recipient, code, reason)
            """,
            new
            {
                dispatch,
                sender,
                now = now.UtcDateTime,
                ids = recipients.Select(_ => Guid.CreateVersion7(now)).ToArray(),
                agencies = recipients.Select(r => r.Recipient).ToArray(),
                codes = recipients.Select(r => r.Code).ToArray(),
                reasons = recipients.Select(r => r.Reason).ToArray(),
            }, cancellationToken);

    /// <summary>What became of each recipient of a dispatch, in the order in which they were named.</summary>
    public static Task<IReadOnlyList<(string Code, Guid? Recipient, string State, string? Reason)>> ListAsync(
        NpgsqlTransaction transaction, Guid dispatch, CancellationToken cancellationToken) =>
        transaction.ListAsync<(string Code, Guid? Recipient, string State, string? Reason)>(
            $"""
            SELECT recipient_code, recipient_id, state, reason FROM gateway.transmission
            WHERE kind = '{TransmissionKind.Dispatch}' AND dispatch_id = @dispatch
            ORDER BY transmission_id
            """,
            new { dispatch }, cancellationToken);

    /// <summary>Waiting → failed, for one recipient. Answers the transmission, or null where it does not
    /// wait.</summary>
    public static Task<Guid?> FailWaitingAsync(
        NpgsqlTransaction transaction, Guid dispatch, Guid recipient, string reason, DateTimeOffset now,
        CancellationToken cancellationToken) =>
        transaction.FindAsync<Guid?>(
            $"""
            UPDATE gateway.transmission SET state = '{TransmissionState.Failed}', reason = @reason, closed_at = @now
            WHERE kind = '{TransmissionKind.Dispatch}' AND dispatch_id = @dispatch AND recipient_id = @recipient
              AND state = '{TransmissionState.Waiting}'
            RETURNING transmission_id
            """,
            new { reason, now = now.UtcDateTime, dispatch, recipient }, cancellationToken);

    /// <summary>Waiting → failed, for all recipients of a dispatch.</summary>
    public static Task FailAllWaitingAsync(
        NpgsqlTransaction transaction, Guid dispatch, string reason, DateTimeOffset now,
        CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            $"""
            UPDATE gateway.transmission SET state = '{TransmissionState.Failed}', reason = @reason, closed_at = @now
            WHERE kind = '{TransmissionKind.Dispatch}' AND dispatch_id = @dispatch
              AND state = '{TransmissionState.Waiting}'
            """,
            new { reason, now = now.UtcDateTime, dispatch }, cancellationToken);

    /// <summary>Waiting → queued, for the recipients that a message was composed for.</summary>
    /// <param name="gateways">For each recipient agency the gateway that serves it.</param>
    /// <param name="hasPrefixes">Whether the message has a RecipientInfos prefix of its own for each gateway.</param>
    public static Task<IReadOnlyList<(Guid Transmission, Guid Recipient)>> QueueAsync(
        NpgsqlTransaction transaction, Guid dispatch, Guid message, long entry,
        IReadOnlyDictionary<Guid, string> gateways, bool hasPrefixes, CancellationToken cancellationToken) =>
        transaction.ListAsync<(Guid Transmission, Guid Recipient)>(
            $"""
            UPDATE gateway.transmission t
            SET state = '{TransmissionState.Queued}', message_blob = @message, entry_id = @entry, queued_at = now(),
              head_gateway = CASE WHEN @hasPrefixes THEN a.gateway END
            FROM unnest(@agencies, @behind) a(agency, gateway)
            WHERE t.kind = '{TransmissionKind.Dispatch}' AND t.dispatch_id = @dispatch
              AND t.recipient_id = a.agency AND t.state = '{TransmissionState.Waiting}'
            RETURNING t.transmission_id, t.recipient_id
            """,
            new
            {
                message,
                hasPrefixes,
                entry,
                agencies = gateways.Keys.ToArray(),
                behind = gateways.Values.ToArray(),
                dispatch,
            }, cancellationToken);

    /// <summary>Keeps the RecipientInfos prefixes of a message.</summary>
    /// <param name="bodyOffset">Where in the message the part begins that stands behind every prefix, in
    /// bytes.</param>
    public static Task AddPrefixesAsync(
        NpgsqlTransaction transaction, Guid message, long bodyOffset, IReadOnlyDictionary<string, byte[]> prefixes,
        CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            """
            INSERT INTO gateway.message_head (message_blob, gateway, cut, head)
            SELECT @message, gateway, @bodyOffset, prefix FROM unnest(@gateways, @prefixes) p(gateway, prefix)
            """,
            new { message, bodyOffset, gateways = prefixes.Keys.ToArray(), prefixes = prefixes.Values.ToArray() },
            cancellationToken);

    /// <summary>The RecipientInfos prefix of a message for one gateway, and where the body begins.</summary>
    public static Task<(byte[] Prefix, long BodyOffset)?> FindPrefixAsync(
        NpgsqlConnection connection, Guid message, string gateway, CancellationToken cancellationToken) =>
        connection.FindAsync<(byte[] Prefix, long BodyOffset)?>(
            "SELECT head, cut FROM gateway.message_head WHERE message_blob = @message AND gateway = @gateway",
            new { message, gateway }, cancellationToken);

    /// <summary>Those of the transmissions that may be sent now. The database's clock says how old they are, so that a
    /// node with a wrong clock gives nothing up.</summary>
    public static async Task<IReadOnlyDictionary<Guid, QueuedTransmission>> LoadQueuedAsync(
        NpgsqlConnection connection, Guid[] ids, TimeSpan giveUpAfter, CancellationToken cancellationToken)
    {
        var rows = await connection.ListAsync<(
            Guid Id, string Kind, Guid Dispatch, Guid Agency, Guid Recipient, Guid Blob, string? PrefixOf, long Entry,
            bool TooOld)>(
            $"""
            SELECT transmission_id, kind, dispatch_id, agency_id, recipient_id, message_blob, head_gateway, entry_id,
              state <> '{TransmissionState.Sent}' AND coalesce(resend_at, queued_at) < gateway.cutoff(@giveUpAfter)
            FROM gateway.transmission
            WHERE transmission_id = ANY(@ids) AND message_blob IS NOT NULL
              AND (resend_at IS NOT NULL OR state IN
                ('{TransmissionState.Queued}', '{TransmissionState.Unknown}', '{TransmissionState.Sent}'))
            """,
            new { ids, giveUpAfter }, cancellationToken);
        return rows.ToDictionary(
            r => r.Id,
            r => new QueuedTransmission(
                r.Id, r.Kind, r.Dispatch, r.Agency, r.Recipient, r.Blob, r.PrefixOf, r.Entry, r.TooOld));
    }

    /// <summary>Queued, sent or unknown → what an attempt brought. Answers false where a receipt came first: what is
    /// acknowledged stays acknowledged.</summary>
    /// <param name="state"><see cref="TransmissionState.Sent"/>, <see cref="TransmissionState.Unknown"/> or
    /// <see cref="TransmissionState.Failed"/>.</param>
    public static async Task<bool> RecordAttemptAsync(
        NpgsqlTransaction transaction, Guid transmission, string state, string? reason, DateTimeOffset now,
        CancellationToken cancellationToken) =>
        await transaction.ExecuteAsync(
            $"""
            UPDATE gateway.transmission
            SET state = @state, reason = @reason,
              first_sent_at = CASE WHEN @state IN ('{TransmissionState.Sent}', '{TransmissionState.Unknown}')
                THEN coalesce(first_sent_at, now()) ELSE first_sent_at END,
              closed_at = CASE WHEN @state = '{TransmissionState.Failed}' THEN @now END
            WHERE transmission_id = @transmission AND state IN
              ('{TransmissionState.Queued}', '{TransmissionState.Sent}', '{TransmissionState.Unknown}')
            """,
            new { state, reason, now = now.UtcDateTime, transmission }, cancellationToken) == 1;

    /// <summary>Marks what left for these agencies since a time, to be sent again. What the agencies still have they
    /// know as a duplicate. Answers each with the batch that shares its message.</summary>
    public static Task<IReadOnlyList<(Guid Transmission, Guid? Batch)>> MarkResendAsync(
        NpgsqlTransaction transaction, Guid[] agencies, DateTimeOffset since, int limit,
        CancellationToken cancellationToken) =>
        transaction.ListAsync<(Guid Transmission, Guid? Batch)>(
            $"""
            UPDATE gateway.transmission SET resend_at = now()
            WHERE transmission_id IN (
              SELECT transmission_id FROM gateway.transmission
              WHERE recipient_id = ANY(@agencies) AND first_sent_at >= @since
                AND state IN ('{TransmissionState.Sent}', '{TransmissionState.Unknown}',
                  '{TransmissionState.Held}', '{TransmissionState.Acknowledged}', '{TransmissionState.Refused}')
                AND message_blob IN (SELECT blob_id FROM gateway.blob WHERE erased_at IS NULL)
              ORDER BY first_sent_at LIMIT @limit)
            RETURNING transmission_id, CASE WHEN kind = '{TransmissionKind.Dispatch}' THEN dispatch_id END
            """,
            new { agencies, since = since.UtcDateTime, limit }, cancellationToken);

    /// <summary>Notes that what a restored peer asked for again has been sent.</summary>
    public static Task EndResendAsync(
        NpgsqlTransaction transaction, Guid transmission, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            """
            UPDATE gateway.transmission SET resend_at = NULL
            WHERE transmission_id = @transmission AND resend_at IS NOT NULL
            """,
            new { transmission }, cancellationToken);

    /// <summary>Marks dispatches that left and whose receipt did not come in time. Answers at most a batch.</summary>
    public static Task<IReadOnlyList<(Guid Transmission, Guid Dispatch, Guid Agency, string Recipient)>> MarkOverdueAsync(
        NpgsqlTransaction transaction, TimeSpan receiptDue, CancellationToken cancellationToken) =>
        transaction.ListAsync<(Guid Transmission, Guid Dispatch, Guid Agency, string Recipient)>(
            $"""
            UPDATE gateway.transmission SET overdue_at = now()
            WHERE transmission_id IN (
              SELECT transmission_id FROM gateway.transmission
              WHERE kind = '{TransmissionKind.Dispatch}'
                AND state IN ('{TransmissionState.Sent}', '{TransmissionState.Unknown}')
                AND overdue_at IS NULL AND first_sent_at < gateway.cutoff(@receiptDue)
              LIMIT {Batch} FOR UPDATE SKIP LOCKED)
            RETURNING transmission_id, dispatch_id, agency_id, recipient_code
            """,
            new { receiptDue }, cancellationToken);

    /// <summary>Marks dispatches that have not left in time. Answers at most a batch.</summary>
    public static Task<IReadOnlyList<Guid>> MarkDelayedAsync(
        NpgsqlTransaction transaction, TimeSpan delayNoticeAfter, CancellationToken cancellationToken) =>
        transaction.ListAsync<Guid>(
            $"""
            UPDATE gateway.transmission SET delayed_at = now()
            WHERE transmission_id IN (
              SELECT transmission_id FROM gateway.transmission
              WHERE kind = '{TransmissionKind.Dispatch}'
                AND state IN ('{TransmissionState.Queued}', '{TransmissionState.Unknown}')
                AND delayed_at IS NULL AND queued_at < gateway.cutoff(@delayNoticeAfter)
              ORDER BY queued_at LIMIT {Batch} FOR UPDATE SKIP LOCKED)
            RETURNING transmission_id
            """,
            new { delayNoticeAfter }, cancellationToken);

    /// <summary>Locks transmissions that were tried for too long. Answers at most a batch.</summary>
    public static Task<IReadOnlyList<(Guid Transmission, string Kind, Guid Agency)>> LockTooOldAsync(
        NpgsqlTransaction transaction, TimeSpan giveUpAfter, CancellationToken cancellationToken) =>
        transaction.ListAsync<(Guid Transmission, string Kind, Guid Agency)>(
            $"""
            SELECT transmission_id, kind, agency_id FROM gateway.transmission
            WHERE state IN ('{TransmissionState.Queued}', '{TransmissionState.Unknown}')
              AND queued_at < gateway.cutoff(@giveUpAfter)
            ORDER BY queued_at LIMIT {Batch} FOR UPDATE SKIP LOCKED
            """,
            new { giveUpAfter }, cancellationToken);

    /// <summary>→ failed, for transmissions that the caller has locked.</summary>
    public static Task FailAsync(
        NpgsqlTransaction transaction, Guid[] transmissions, string reason, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            $"""
            UPDATE gateway.transmission SET state = '{TransmissionState.Failed}', reason = @reason, closed_at = now()
            WHERE transmission_id = ANY(@transmissions)
            """,
            new { transmissions, reason }, cancellationToken);

    /// <summary>Locks the transmission that a receipt answers.</summary>
    /// <param name="sender">The agency that sent the dispatch.</param>
    public static Task<AnsweredTransmission?> FindAnsweredAsync(
        NpgsqlTransaction transaction, Guid dispatch, Guid sender, Guid recipient,
        CancellationToken cancellationToken) =>
        transaction.FindAsync<AnsweredTransmission>(
            $"""
            SELECT t.transmission_id AS Id, t.state AS State, o.manifest_blob AS Manifest,
              o.erased_at IS NOT NULL AS IsErased,
              CASE WHEN t.message_blob IS NOT NULL THEN o.signed_digest END AS Digest,
              t.answer_seq AS AnswerSeq, t.answer_digest AS AnswerDigest
            FROM gateway.transmission t JOIN gateway.outgoing o USING (dispatch_id)
            WHERE t.kind = '{TransmissionKind.Dispatch}' AND t.dispatch_id = @dispatch
              AND t.agency_id = @sender AND t.recipient_id = @recipient
            FOR UPDATE OF t
            """,
            new { dispatch, sender, recipient }, cancellationToken);

    /// <summary>→ held, acknowledged or refused, as the receipt says.</summary>
    public static Task AnswerAsync(
        NpgsqlTransaction transaction, TransmissionAnswer answer, DateTimeOffset now,
        CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            $"""
            UPDATE gateway.transmission
            SET state = @State, receipt_event = @Event, reason = @Reason, answer_seq = @Seq, answer_state = @Answer,
              answer_digest = @Digest, arrival_number = @ArrivalNumber,
              closed_at = CASE WHEN @State <> '{TransmissionState.Held}' THEN @now END
            WHERE transmission_id = @Transmission
            """,
            new
            {
                answer.State,
                answer.Event,
                answer.Reason,
                answer.Seq,
                answer.Answer,
                answer.Digest,
                answer.ArrivalNumber,
                answer.Transmission,
                now = now.UtcDateTime,
            }, cancellationToken);

    /// <summary>Queues a receipt and notes it as the last that was signed. A receipt that is signed again keeps its row
    /// and gets the newer message; the older one goes. Answers null where a later one fell due meanwhile.</summary>
    /// <param name="digest">SHA-256 of the receipt.</param>
    /// <param name="recipientCode">Of the agency that sent the dispatch.</param>
    public static async Task<Guid?> QueueReceiptAsync(
        NpgsqlTransaction transaction, DueReceipt due, byte[] digest, string recipientCode, Guid message,
        DateTimeOffset now, CancellationToken cancellationToken)
    {
        // The inner query locks the row and reads it as it is then.
        var noted = await transaction.FindAsync<(bool IsNoted, Guid? Replaced)?>(
            $"""
            WITH noted AS (
              UPDATE gateway.incoming SET receipt_digest = @digest
              WHERE incoming_id = @Incoming AND receipt_seq = @Seq RETURNING incoming_id)
            SELECT TRUE, (
              SELECT message_blob FROM gateway.transmission
              WHERE kind = '{TransmissionKind.Receipt}' AND dispatch_id = @Dispatch AND agency_id = @Agency
                AND recipient_code = @recipientCode AND receipt_seq = @Seq
              FOR UPDATE)
            FROM noted
            """,
            new { digest, due.Incoming, due.Seq, due.Dispatch, due.Agency, recipientCode }, cancellationToken);
        if (noted is not { Replaced: var replaced })
        {
            return null;
        }

        var transmission = await transaction.ScalarAsync<Guid>(
            $"""
            INSERT INTO gateway.transmission (transmission_id, kind, dispatch_id, agency_id, recipient_id,
              recipient_code, receipt_seq, state, message_blob, entry_id, queued_at)
            VALUES (@id, '{TransmissionKind.Receipt}', @Dispatch, @Agency, @Sender,
              @recipientCode, @Seq, '{TransmissionState.Queued}', @message, @Entry, now())
            ON CONFLICT (kind, dispatch_id, agency_id, recipient_code, receipt_seq) DO UPDATE
            SET state = '{TransmissionState.Queued}', message_blob = excluded.message_blob,
              entry_id = excluded.entry_id, queued_at = excluded.queued_at, reason = NULL, closed_at = NULL,
              message_gone_at = NULL, delayed_at = NULL
            RETURNING transmission_id
            """,
            new
            {
                id = Guid.CreateVersion7(now),
                due.Dispatch,
                due.Agency,
                due.Sender,
                recipientCode,
                due.Seq,
                message,
                due.Entry,
            },
            cancellationToken);
        if (replaced is { } older)
        {
            await BlobStore.DeleteAsync(transaction, older, cancellationToken);
        }

        return transmission;
    }

    /// <summary>The last receipt that left for an incoming dispatch. Null where none did.</summary>
    /// <returns>The transmission, and whether its message was destroyed by retention.</returns>
    public static Task<(Guid Transmission, bool IsMessageGone)?> FindReceiptOfAsync(
        NpgsqlTransaction transaction, Guid incoming, CancellationToken cancellationToken) =>
        transaction.FindAsync<(Guid Transmission, bool IsMessageGone)?>(
            $"""
            SELECT t.transmission_id, t.message_gone_at IS NOT NULL
            FROM gateway.incoming i JOIN gateway.transmission t
              ON t.kind = '{TransmissionKind.Receipt}' AND t.dispatch_id = i.dispatch_id AND t.agency_id = i.agency_id
            WHERE i.incoming_id = @incoming AND t.recipient_id = i.sender_id
              AND t.state IN ('{TransmissionState.Sent}', '{TransmissionState.Unknown}')
            ORDER BY t.receipt_seq DESC LIMIT 1
            """,
            new { incoming }, cancellationToken);

    /// <summary>
    /// Adds a notice for each transmission: what a clerk is told about what could not be sent, is late or is overdue,
    /// with the facts that RFC 3464 §2 reports (action, reason, remote gateway, what it last said, until when it is
    /// tried). The console shows the rows; no mail is sent, because the clerk is here and a mail could get lost.
    /// </summary>
    /// <remarks>Call it while the work row still says what the transmission last met.</remarks>
    /// <param name="action">One of <see cref="NoticeAction"/>.</param>
    /// <param name="diagnostic">What the remote gateway said. Null: the last error of the work or of the
    /// destination.</param>
    public static async Task AddNoticesAsync(
        NpgsqlTransaction transaction, IReadOnlyCollection<Guid> transmissions, string action, string? reason,
        string? diagnostic, CancellationToken cancellationToken, TimeSpan? retryFor = null)
    {
        if (transmissions.Count == 0)
        {
            return;
        }

        await transaction.ExecuteAsync(
            $"""
            INSERT INTO gateway.notice (agency_id, transmission_id, action, reason, remote, diagnostic, retry_until)
            SELECT t.agency_id, t.transmission_id, @action, @reason, w.lane,
              coalesce(@diagnostic, CASE WHEN d.failures > 0 THEN d.last_error END, w.last_error, t.reason),
              t.queued_at + @retryFor::interval
            FROM gateway.transmission t
              LEFT JOIN gateway.work w ON w.kind = '{WorkKind.Send}' AND w.subject = t.transmission_id
              LEFT JOIN gateway.destination d ON d.lane = w.lane
            WHERE t.transmission_id = ANY(@ids)
            """,
            new { ids = transmissions.ToArray(), action, reason, diagnostic, retryFor }, cancellationToken);
    }
}

/// <summary>A recipient as the clerk named it.</summary>
/// <param name="Reason">Why it cannot be reached, as a code; null where it can.</param>
internal sealed record NewTransmission(Guid? Recipient, string Code, string? Reason);

/// <summary>A transmission that may be sent: its row says queued, unknown or sent, or its recipient's gateway lost it
/// and asked for it again.</summary>
/// <param name="Kind">One of <see cref="TransmissionKind"/>.</param>
/// <param name="PrefixOf">The gateway whose RecipientInfos prefix of the message has this recipient. Null: the
/// message's own prefix has it.</param>
/// <param name="IsTooOld">It was tried for longer than is allowed.</param>
internal sealed record QueuedTransmission(
    Guid Id, string Kind, Guid DispatchId, Guid AgencyId, Guid RecipientId, Guid MessageBlob, string? PrefixOf,
    long EntryId, bool IsTooOld);

/// <summary>The transmission that a receipt answers.</summary>
internal sealed class AnsweredTransmission
{
    public Guid Id { get; init; }

    public string State { get; init; } = "";

    /// <summary>SHA-256 of the bytes that were signed; null where no message was composed for the recipient.</summary>
    public byte[]? Digest { get; init; }

    public Guid Manifest { get; init; }

    /// <summary>Whether the content, and with it the salt of its commitments, was destroyed.</summary>
    public bool IsErased { get; init; }

    /// <summary>The highest receipt that came; null: none, or an earlier build recorded it.</summary>
    public int? AnswerSeq { get; init; }

    /// <summary>Over what that receipt says, 32 bytes.</summary>
    public byte[]? AnswerDigest { get; init; }
}

/// <summary>What a receipt says about a transmission.</summary>
/// <param name="State">The transmission's new state.</param>
/// <param name="Answer">One of <see cref="SecureMail.Exchange.ReceiptState"/>.</param>
/// <param name="Digest">Over what it says, 32 bytes.</param>
internal sealed record TransmissionAnswer(
    Guid Transmission, string State, int Seq, string Answer, byte[] Digest, string Event, int? ArrivalNumber,
    string? Reason);
