using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Vocabulary;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using SecureMail.Trust;

namespace SecureMail.Gateway.Registers;

/// <summary>
/// The SQL of <c>gateway.received</c>, <c>gateway.incoming</c>, <c>gateway.incoming_document</c>,
/// <c>gateway.finding</c> and <c>gateway.seen</c>. Every change runs in the caller's transaction and leaves the ledger
/// entry to the caller. <see cref="IncomingRegister"/> reads the tables for people; Retention destroys their contents.
/// </summary>
internal static class IncomingTable
{
    /// <summary>Adds a mail as it came: one row, and one for each addressee of ours.</summary>
    /// <param name="peer">The gateway that brought it.</param>
    /// <param name="proofAsked">From which size of its ledger the peer was asked for a proof; null where it did not let
    /// itself be asked.</param>
    public static Task AddReceivedAsync(
        NpgsqlTransaction transaction, Guid received, string peer, string envelopeFrom, Guid blob, byte[] salt,
        long? proofAsked, DateTimeOffset now, IReadOnlyCollection<NewIncoming> recipients,
        CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            $"""
            WITH mail AS (
              INSERT INTO gateway.received (received_id, peer, envelope_from, blob_id, salt, received_at, proof_asked)
              VALUES (@received, @peer, @envelopeFrom, @blob, @salt, @now, @proofAsked))
            INSERT INTO gateway.incoming (incoming_id, received_id, agency_id, address, state)
            SELECT incoming_id, @received, agency_id, address, '{IncomingState.Received}'
            FROM unnest(@ids, @agencies, @addresses) r(incoming_id, agency_id, address)
            """,
            new
            {
                received,
                peer,
                envelopeFrom,
                blob,
                salt,
                now = now.UtcDateTime,
                proofAsked,
                ids = recipients.Select(r => r.Id).ToArray(),
                agencies = recipients.Select(r => r.Agency).ToArray(),
                addresses = recipients.Select(r => r.Address).ToArray(),
            },
            cancellationToken);

    /// <summary>A message that is received and not yet recorded. Null where it was recorded.</summary>
    public static Task<ReceivedRow?> FindReceivedAsync(
        NpgsqlConnection connection, Guid incoming, TimeSpan indeterminateFor, CancellationToken cancellationToken) =>
        connection.FindAsync<ReceivedRow>(
            $"""
            SELECT i.agency_id AS Agency, i.address AS Address, r.peer AS Peer, r.envelope_from AS EnvelopeFrom,
              r.blob_id AS Blob, r.salt AS Salt, r.received_at AS ReceivedAt, r.proof_asked AS ProofAsked,
              b.created_at - gateway.cutoff(@indeterminateFor) AS Left
            FROM gateway.incoming i JOIN gateway.received r USING (received_id) JOIN gateway.blob b USING (blob_id)
            WHERE i.incoming_id = @incoming AND i.state = '{IncomingState.Received}'
            """,
            new { incoming, indeterminateFor }, cancellationToken);

    /// <summary>A message in quarantine that waits for an arrival, or one in the inbox that a revocation puts in doubt,
    /// while its bytes as received are there. Null where it is neither.</summary>
    public static Task<ReceivedRow?> FindToValidateAgainAsync(
        NpgsqlConnection connection, Guid incoming, CancellationToken cancellationToken) =>
        connection.FindAsync<ReceivedRow>(
            $"""
            SELECT i.agency_id AS Agency, i.address AS Address, r.peer AS Peer, r.envelope_from AS EnvelopeFrom,
              r.blob_id AS Blob, r.salt AS Salt, r.received_at AS ReceivedAt, r.proof_asked AS ProofAsked,
              interval '0' AS Left
            FROM gateway.incoming i JOIN gateway.received r USING (received_id)
            WHERE i.incoming_id = @incoming AND i.erased_at IS NULL AND i.mail_gone_at IS NULL
              AND (i.awaits IS NOT NULL OR i.place = '{Disposition.Inbox}' AND i.signer IS NOT NULL)
            """,
            new { incoming }, cancellationToken);

    /// <summary>Adds a finding. Findings are never changed; validating again adds one.</summary>
    /// <param name="findings">The JSON of CLI.md.</param>
    /// <param name="basis">What the findings rest on; null where nothing was read.</param>
    /// <param name="entry">The entry that commits to the finding.</param>
    public static Task AddFindingAsync(
        NpgsqlTransaction transaction, Guid incoming, string verdict, string findings, string? basis, long entry,
        DateTimeOffset now, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            """
            INSERT INTO gateway.finding (incoming_id, judged_at, verdict, findings, basis, entry_id)
            VALUES (@incoming, @now, @verdict, @findings::jsonb, @basis, @entry)
            """,
            new { incoming, now = now.UtcDateTime, verdict, findings, basis, entry }, cancellationToken);

    /// <summary>Received → recorded.</summary>
    public static Task RecordAsync(
        NpgsqlTransaction transaction, IncomingRecord record, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            $"""
            UPDATE gateway.incoming
            SET state = '{IncomingState.Recorded}', kind = @Kind, place = @Disposition, verdict = @Verdict,
              reason = @Reason, sender_id = @Sender, dispatch_id = @Dispatch, signed_digest = @SignedDigest,
              manifest_blob = @Manifest, card = @Card, card_key = @CardKey, entry_id = @Entry,
              recorded_at = @RecordedAt, receipt_seq = CASE WHEN @IsReceiptDue THEN 1 ELSE 0 END,
              receipt_entry = CASE WHEN @IsReceiptDue THEN @Entry END, awaits = @Awaits, awaits_mark = @AwaitsMark,
              signer = @Signer
            WHERE incoming_id = @Incoming AND state = '{IncomingState.Received}'
            """,
            record, cancellationToken);

    /// <summary>Quarantine → inbox, or to what a receipt is about, after a second validation. The next receipt falls
    /// due where <see cref="IncomingRecord.ReceiptEntry"/> is given. A message that is not in quarantine any more stays
    /// as it is.</summary>
    public static Task ReleaseAsync(
        NpgsqlTransaction transaction, IncomingRecord record, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            $"""
            UPDATE gateway.incoming
            SET kind = @Kind, place = @Disposition, verdict = @Verdict, reason = @Reason, sender_id = @Sender,
              dispatch_id = @Dispatch, signed_digest = @SignedDigest, manifest_blob = @Manifest, card = @Card,
              card_key = @CardKey, entry_id = @Entry, awaits = NULL, awaits_mark = NULL, signer = @Signer,
              receipt_seq = receipt_seq + CASE WHEN @ReceiptEntry::bigint IS NULL THEN 0 ELSE 1 END,
              receipt_prior = CASE WHEN @ReceiptEntry::bigint IS NULL THEN receipt_prior ELSE receipt_digest END,
              receipt_entry = coalesce(@ReceiptEntry, receipt_entry)
            WHERE incoming_id = @Incoming AND place = '{Disposition.Quarantine}'
            """,
            record, cancellationToken);

    /// <summary>A quarantined message that stays there after a second validation: what it waits for now. A mark that is
    /// not given stays as it was when the work was asked for.</summary>
    public static Task KeepQuarantinedAsync(
        NpgsqlTransaction transaction, Guid incoming, string verdict, string? reason, string? awaits, long? mark,
        CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            $"""
            UPDATE gateway.incoming
            SET verdict = @verdict, reason = @reason, awaits = @awaits::text,
              awaits_mark = CASE WHEN awaits = @awaits::text THEN coalesce(@mark, awaits_mark) ELSE @mark END
            WHERE incoming_id = @incoming AND place = '{Disposition.Quarantine}'
            """,
            new { incoming, verdict, reason, awaits, mark }, cancellationToken);

    /// <summary>A message in the inbox whose signer was revoked before: the verdict, and the receipt that falls due. It
    /// stays where it is.</summary>
    public static Task NoteRevokedAsync(
        NpgsqlTransaction transaction, Guid incoming, string verdict, long receiptEntry,
        CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            """
            UPDATE gateway.incoming
            SET verdict = @verdict, receipt_seq = receipt_seq + 1, receipt_entry = @receiptEntry,
              receipt_prior = receipt_digest
            WHERE incoming_id = @incoming
            """,
            new { incoming, verdict, receiptEntry }, cancellationToken);

    /// <summary>Notes the CRLs that came and are not older than what came before of their scope. Answers the highest
    /// id; 0 where there is none.</summary>
    public static async Task<long> NoteCrlsAsync(
        NpgsqlTransaction transaction, IReadOnlyList<RevocationListDigest> crls, CancellationToken cancellationToken)
    {
        await transaction.ExecuteAsync(
            """
            INSERT INTO gateway.crl (sha256, scope, this_update)
            SELECT c.sha256, c.scope, c.at FROM unnest(@digests, @scopes, @times) c(sha256, scope, at)
            WHERE NOT EXISTS (SELECT FROM gateway.crl k WHERE k.scope = c.scope AND k.this_update > c.at)
              AND NOT EXISTS (SELECT FROM gateway.crl k WHERE k.sha256 = c.sha256)
            ORDER BY c.at ON CONFLICT DO NOTHING
            """,
            new
            {
                digests = crls.Select(c => c.Sha256).ToArray(),
                scopes = crls.Select(c => c.Scope).ToArray(),
                times = crls.Select(c => c.ThisUpdate.UtcDateTime).ToArray(),
            }, cancellationToken);
        return await transaction.ScalarAsync<long>(
            "SELECT coalesce(max(crl_id), 0) FROM gateway.crl", null, cancellationToken);
    }

    /// <summary>The certificates of signers that were not looked up in the CRLs up to this one; at most so many. They
    /// count as looked up from the commit on.</summary>
    public static Task<IReadOnlyList<byte[]>> TakeSignersAsync(
        NpgsqlTransaction transaction, long newestCrl, int most, CancellationToken cancellationToken) =>
        transaction.ListAsync<byte[]>(
            """
            UPDATE gateway.signer SET looked_up_in = @newestCrl
            WHERE signer IN (
              SELECT signer FROM gateway.signer WHERE revoked_since IS NULL AND looked_up_in < @newestCrl
              ORDER BY looked_up_in LIMIT @most FOR UPDATE)
            RETURNING certificate
            """,
            new { newestCrl, most }, cancellationToken);

    public static Task NoteRevokedSignerAsync(
        NpgsqlTransaction transaction, byte[] signer, DateTimeOffset since, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            "UPDATE gateway.signer SET revoked_since = @since WHERE signer = @signer",
            new { signer, since = since.UtcDateTime }, cancellationToken);

    /// <summary>The agencies that have messages which no key opened.</summary>
    public static Task<IReadOnlyList<Guid>> AgenciesWithoutKeyAsync(
        NpgsqlConnection connection, CancellationToken cancellationToken) =>
        connection.ListAsync<Guid>(
            $"SELECT DISTINCT agency_id FROM gateway.incoming WHERE awaits = '{AwaitedArrival.Key}'", null,
            cancellationToken);

    /// <summary>
    /// Takes the messages for which something came, and marks them with it, so that each is taken once for an arrival.
    /// Of one peer at most so many are under way at once; the rest is taken by later rounds.
    /// </summary>
    /// <param name="arrival">One of <see cref="AwaitedArrival"/>; null: of the inbox, what a revocation puts in
    /// doubt.</param>
    /// <param name="mark">What came: the directory's version, the highest CRL, the number of keys at hand.</param>
    /// <param name="agency">Null: of every agency.</param>
    public static Task<IReadOnlyList<ArrivedFor>> TakeArrivedAsync(
        NpgsqlTransaction transaction, string? arrival, long mark, Guid? agency, int mostOfPeer,
        CancellationToken cancellationToken)
    {
        var due = arrival switch
        {
            null => $"""
                i.place = '{Disposition.Inbox}' AND i.verdict = @valid AND coalesce(i.awaits_mark, -1) < @mark
                AND i.signer IN (
                  SELECT s.signer FROM gateway.signer s WHERE s.signer = i.signer AND s.revoked_since <= r.received_at)
                """,
            AwaitedArrival.Evidence => $"""
                i.awaits = '{AwaitedArrival.Evidence}' AND EXISTS (
                  SELECT FROM ledger.peer_checkpoint c
                  WHERE c.origin = r.peer AND c.size = i.awaits_mark AND c.state = '{PeerCheckpointState.Verified}')
                """,
            _ => "i.awaits = @arrival AND coalesce(i.awaits_mark, -1) < @mark",
        };
        return transaction.ListAsync<ArrivedFor>(
            $"""
            WITH under_way AS (
              SELECT lane, count(*) AS n FROM gateway.work
              WHERE kind = '{WorkKind.ValidateAgain}' AND state IN ('{WorkState.Ready}', '{WorkState.Leased}')
              GROUP BY lane),
            due AS (
              SELECT i.incoming_id, r.peer,
                row_number() OVER (PARTITION BY r.peer ORDER BY i.incoming_id) + coalesce(u.n, 0) AS n
              FROM gateway.incoming i JOIN gateway.received r USING (received_id)
              LEFT JOIN under_way u ON u.lane = r.peer
              WHERE i.erased_at IS NULL AND i.mail_gone_at IS NULL AND (@agency::uuid IS NULL OR i.agency_id = @agency)
                AND {due})
            UPDATE gateway.incoming i SET awaits_mark = CASE WHEN i.awaits = '{AwaitedArrival.Evidence}' THEN NULL
              ELSE @mark END
            FROM due WHERE due.incoming_id = i.incoming_id AND due.n <= @mostOfPeer
            RETURNING i.incoming_id AS Id, due.peer AS Peer
            """,
            new { arrival, mark, agency, mostOfPeer, valid = FindingJson.Name(Verdict.Valid) }, cancellationToken);
    }

    /// <summary>Notes a certificate that signed something in an inbox.</summary>
    public static Task AddSignerAsync(
        NpgsqlTransaction transaction, byte[] signer, byte[] certificate, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            """
            INSERT INTO gateway.signer (signer, certificate) VALUES (@signer, @certificate) ON CONFLICT DO NOTHING
            """,
            new { signer, certificate }, cancellationToken);

    /// <summary>Adds the n-th document of a message, from 1.</summary>
    public static Task AddDocumentAsync(
        NpgsqlTransaction transaction, Guid incoming, int n, Guid blob, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            "INSERT INTO gateway.incoming_document (incoming_id, n, blob_id) VALUES (@incoming, @n, @blob)",
            new { incoming, n, blob }, cancellationToken);

    /// <summary>
    /// The message that brought this dispatch to this agency first. Takes the lock under which that is decided, to the
    /// end of the transaction: the same dispatch for the same agency is decided one at a time.
    /// </summary>
    public static async Task<(byte[] Digest, Guid Incoming)?> FindSeenAsync(
        NpgsqlTransaction transaction, Guid recipient, Guid sender, Guid dispatch, CancellationToken cancellationToken)
    {
        await AdvisoryLock.Seen(recipient, sender, dispatch).TakeAsync(transaction, cancellationToken);
        return await transaction.FindAsync<(byte[] Digest, Guid Incoming)?>(
            """
            SELECT digest, incoming_id FROM gateway.seen
            WHERE recipient_id = @recipient AND sender_id = @sender AND dispatch_id = @dispatch
            """,
            new { recipient, sender, dispatch }, cancellationToken);
    }

    /// <summary>Notes which message brought a dispatch to an agency first.</summary>
    public static Task AddSeenAsync(
        NpgsqlTransaction transaction, Guid recipient, Guid sender, Guid dispatch, byte[] digest, Guid incoming,
        CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            """
            INSERT INTO gateway.seen (recipient_id, sender_id, dispatch_id, digest, incoming_id)
            VALUES (@recipient, @sender, @dispatch, @digest, @incoming)
            """,
            new { recipient, sender, dispatch, digest, incoming }, cancellationToken);

    /// <summary>A recorded message, locked to the end of the transaction. Null where there is none.</summary>
    public static Task<RecordedRow?> LockAsync(
        NpgsqlTransaction transaction, Guid incoming, CancellationToken cancellationToken) =>
        transaction.FindAsync<RecordedRow>(
            $"""
            SELECT agency_id AS Agency, place AS Disposition, arrival_number AS ArrivalNumber, signed_digest AS Digest,
              verdict AS Verdict, reason AS Reason, awaits AS Awaits, manifest_blob AS Manifest,
              erased_at IS NOT NULL AS IsErased, receipt_seq AS ReceiptSeq
            FROM gateway.incoming WHERE incoming_id = @incoming AND state = '{IncomingState.Recorded}' FOR UPDATE
            """,
            new { incoming }, cancellationToken);

    /// <summary>Writes the arrival number, and which receipt falls due with it.</summary>
    public static Task RegisterAsync(
        NpgsqlTransaction transaction, Guid incoming, int year, int number, int seq, long entry, DateTimeOffset now,
        CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            """
            UPDATE gateway.incoming
            SET arrival_year = @year, arrival_number = @number, registered_at = @now, receipt_seq = @seq,
              receipt_entry = @entry, receipt_prior = receipt_digest
            WHERE incoming_id = @incoming
            """,
            new { incoming, year, number, seq, entry, now = now.UtcDateTime }, cancellationToken);

    /// <summary>A recorded dispatch for which a receipt falls due. Null where there is none.</summary>
    public static Task<DueReceipt?> FindDueReceiptAsync(
        NpgsqlConnection connection, Guid incoming, CancellationToken cancellationToken) =>
        connection.FindAsync<DueReceipt>(
            $"""
            SELECT i.incoming_id AS Incoming, i.agency_id AS Agency, i.sender_id AS Sender, i.dispatch_id AS Dispatch,
              i.place AS Disposition, i.verdict AS Verdict, i.reason AS Reason, i.signed_digest AS Digest,
              i.arrival_number AS ArrivalNumber, coalesce(i.receipt_entry, i.entry_id) AS Entry, r.peer AS Peer,
              greatest(i.receipt_seq, 1) AS Seq, i.receipt_prior AS Prior
            FROM gateway.incoming i JOIN gateway.received r USING (received_id)
            WHERE i.incoming_id = @incoming AND i.state = '{IncomingState.Recorded}'
              AND i.kind = '{MessageKind.Dispatch}' AND i.sender_id IS NOT NULL AND i.dispatch_id IS NOT NULL
            """,
            new { incoming }, cancellationToken);
}

/// <summary>A row of a received message. Times are UTC.</summary>
internal sealed class ReceivedRow
{
    public Guid Agency { get; init; }

    public string Address { get; init; } = "";

    public string Peer { get; init; } = "";

    public string EnvelopeFrom { get; init; } = "";

    public Guid Blob { get; init; }

    public byte[] Salt { get; init; } = [];

    public DateTime ReceivedAt { get; init; }

    public long? ProofAsked { get; init; }

    /// <summary>How long the message may still wait for a verdict, by the database's clock.</summary>
    public TimeSpan Left { get; init; }
}

/// <summary>What is written of a message when it is recorded.</summary>
internal sealed record IncomingRecord
{
    public required Guid Incoming { get; init; }

    /// <summary>One of <see cref="MessageKind"/>.</summary>
    public required string Kind { get; init; }

    /// <summary>One of <see cref="Vocabulary.Disposition"/>.</summary>
    public required string Disposition { get; init; }

    public required string Verdict { get; init; }

    public string? Reason { get; init; }

    public Guid? Sender { get; init; }

    public Guid? Dispatch { get; init; }

    /// <summary>SHA-256 of the bytes that were signed; null where nothing was.</summary>
    public byte[]? SignedDigest { get; init; }

    /// <summary>The blob of the manifest.</summary>
    public Guid? Manifest { get; init; }

    public byte[]? Card { get; init; }

    public string? CardKey { get; init; }

    public required long Entry { get; init; }

    public required DateTime RecordedAt { get; init; }

    /// <summary>What it waits for, one of <see cref="AwaitedArrival"/>; null: nothing.</summary>
    public string? Awaits { get; init; }

    public long? AwaitsMark { get; init; }

    /// <summary>SHA-256 of the certificate that signed what goes to the inbox; null elsewhere.</summary>
    public byte[]? Signer { get; init; }

    /// <summary>The entry that the receipt proves, where one falls due after a second validation.</summary>
    public long? ReceiptEntry { get; init; }

    /// <summary>Whether the first receipt of the dispatch falls due with it.</summary>
    public bool IsReceiptDue { get; init; }
}

/// <summary>A dispatch for which a receipt falls due.</summary>
internal sealed class DueReceipt
{
    public Guid Incoming { get; init; }

    public Guid Agency { get; init; }

    public Guid Sender { get; init; }

    public Guid Dispatch { get; init; }

    public string Disposition { get; init; } = "";

    public string Verdict { get; init; } = "";

    public string? Reason { get; init; }

    public byte[] Digest { get; init; } = [];

    public int? ArrivalNumber { get; init; }

    public long Entry { get; init; }

    public string Peer { get; init; } = "";

    /// <summary>Which receipt of the dispatch falls due, from 1.</summary>
    public int Seq { get; init; }

    /// <summary>SHA-256 of the receipt before it, as it was signed; null: none was.</summary>
    public byte[]? Prior { get; init; }
}

/// <summary>A message that was recorded.</summary>
internal sealed class RecordedRow
{
    public Guid Agency { get; init; }

    public string Disposition { get; init; } = "";

    public int? ArrivalNumber { get; init; }

    public byte[] Digest { get; init; } = [];

    public Guid? Manifest { get; init; }

    public bool IsErased { get; init; }

    public string Verdict { get; init; } = "";

    public string? Reason { get; init; }

    /// <summary>What it waits for, one of <see cref="AwaitedArrival"/>; null: nothing.</summary>
    public string? Awaits { get; init; }

    /// <summary>The receipts that fell due; 0: none.</summary>
    public int ReceiptSeq { get; init; }
}

/// <summary>A received message for one of our agencies.</summary>
/// <param name="Agency">Or <see cref="Directories.DirectoryStore.GatewayItself"/>.</param>
internal sealed record NewIncoming(Guid Id, Guid Agency, string Address);

/// <summary>A message for which something came.</summary>
internal sealed class ArrivedFor
{
    public Guid Id { get; init; }

    /// <summary>The gateway that brought it.</summary>
    public string Peer { get; init; } = "";
}
