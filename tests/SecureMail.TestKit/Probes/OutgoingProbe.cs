using SecureMail.Gateway.Vocabulary;

namespace SecureMail.TestKit.Probes;

/// <summary>Dispatches, their transmissions, registers and notices.</summary>
internal sealed class OutgoingProbe(ProbeDatabase database)
{
    public Task<long> CountAsync() => database.CountAsync("gateway.outgoing");

    public Task<string?> StateAsync(Guid dispatch) =>
        database.ScalarAsync<string>("SELECT state FROM gateway.outgoing WHERE dispatch_id = $1", dispatch);

    /// <summary>The digest that the dispatch's signature covers.</summary>
    public async Task<byte[]> SignedDigestAsync(Guid dispatch) =>
        (await database.ScalarAsync<byte[]>(
            "SELECT signed_digest FROM gateway.outgoing WHERE dispatch_id = $1", dispatch))!;

    /// <summary>The ledger entry that says that the dispatch was accepted.</summary>
    public Task<long> AcceptedEntryAsync(Guid dispatch) =>
        database.ScalarAsync<long>("SELECT accepted_entry FROM gateway.outgoing WHERE dispatch_id = $1", dispatch);

    /// <summary>How many transmissions are in one of these states; all where none is named.</summary>
    public Task<long> TransmissionsAsync(string[]? states = null, string? kind = null, Guid? dispatch = null) =>
        database.CountAsync(
            """
            gateway.transmission WHERE ($1::text[] IS NULL OR state = ANY ($1)) AND ($2::text IS NULL OR kind = $2)
              AND ($3::uuid IS NULL OR dispatch_id = $3)
            """,
            states, kind, dispatch);

    /// <summary>Whether every recipient of a dispatch has acknowledged it.</summary>
    public Task<bool> IsAcknowledgedAsync(Guid dispatch) =>
        database.ScalarAsync<bool>(
            $"""
            SELECT bool_and(state = '{TransmissionState.Acknowledged}')
            FROM gateway.transmission WHERE dispatch_id = $1
            """,
            dispatch);

    /// <summary>How many dispatches have not been acknowledged by a recipient.</summary>
    /// <param name="except">The code of a recipient that is not asked for.</param>
    public Task<long> UnacknowledgedAsync(string? except = null) =>
        database.CountAsync($"gateway.transmission WHERE {Unacknowledged}", except);

    /// <summary>Which those are, for the message of a failure.</summary>
    public Task<List<string>> DescribeUnacknowledgedAsync(string? except = null) =>
        database.ListAsync<string>(
            $"""
            SELECT concat_ws(' ', kind, state, recipient_code, reason) FROM gateway.transmission
            WHERE {Unacknowledged} LIMIT 20
            """,
            except);

    /// <summary>The transmissions of each kind and state, for the message of a failure.</summary>
    public Task<List<string>> DescribeTransmissionsAsync() =>
        database.ListAsync<string>(
            """
            SELECT concat_ws(' ', kind, state, reason, left(recipient_code, 6), count(*)) FROM gateway.transmission
            GROUP BY kind, state, reason, left(recipient_code, 6)
            """);

    /// <summary>The dispatches that a recipient's gateway took.</summary>
    public Task<List<Guid>> TakenAsync() =>
        database.ListAsync<Guid>(
            """
            SELECT dispatch_id FROM gateway.transmission WHERE kind = 'dispatch' AND state IN ('sent', 'acknowledged')
            """);

    /// <summary>The transmissions of a dispatch.</summary>
    public Task<List<Guid>> TransmissionsOfAsync(Guid dispatch) =>
        database.ListAsync<Guid>(
            "SELECT transmission_id FROM gateway.transmission WHERE kind = 'dispatch' AND dispatch_id = $1", dispatch);

    /// <summary>How many transmissions to this recipient are in another state than <c>queued</c>.</summary>
    public Task<long> NoLongerQueuedAsync(string recipient) =>
        database.CountAsync("gateway.transmission WHERE recipient_code = $1 AND state <> 'queued'", recipient);

    public Task<long> OverdueAsync() => database.CountAsync("gateway.transmission WHERE overdue_at IS NOT NULL");

    /// <summary>How many receipts were sent and still lie there.</summary>
    public Task<long> KeptReceiptsAsync() =>
        database.CountAsync(
            "gateway.transmission WHERE kind = 'receipt' AND state = 'sent' AND message_gone_at IS NULL");

    /// <summary>A recipient of any transmission.</summary>
    public Task<Guid> AnyRecipientAsync() =>
        database.ScalarAsync<Guid>("SELECT recipient_id FROM gateway.transmission LIMIT 1");

    /// <summary>As if no receipt had come.</summary>
    /// <param name="sentAgo">As if the dispatch had been sent so long ago; null: when it was.</param>
    /// <param name="dispatches">None: all.</param>
    public Task ForgetReceiptsAsync(TimeSpan? sentAgo = null, params Guid[] dispatches) =>
        database.ExecuteAsync(
            """
            UPDATE gateway.transmission SET state = 'sent', closed_at = NULL, receipt_event = NULL,
              first_sent_at = coalesce(now() - $1::interval, first_sent_at)
            WHERE kind = 'dispatch' AND (cardinality($2::uuid[]) = 0 OR dispatch_id = ANY ($2))
            """,
            sentAgo, dispatches);

    /// <summary>As if the receipts of what was sent had come.</summary>
    /// <param name="dispatches">None: all.</param>
    public Task AcknowledgeAsync(params Guid[] dispatches) =>
        database.ExecuteAsync(
            """
            UPDATE gateway.transmission SET state = 'acknowledged', closed_at = now(), receipt_event = 'x'
            WHERE kind = 'dispatch' AND state = 'sent' AND (cardinality($1::uuid[]) = 0 OR dispatch_id = ANY ($1))
            """,
            dispatches);

    /// <summary>As if the dispatch had never been sent.</summary>
    public Task UnsendAsync(Guid dispatch) =>
        database.ExecuteAsync(
            "UPDATE gateway.transmission SET state = 'queued', first_sent_at = NULL WHERE dispatch_id = $1", dispatch);

    /// <summary>As if what is queued had been so since then.</summary>
    public Task QueuedAgoAsync(TimeSpan ago) =>
        database.ExecuteAsync("UPDATE gateway.transmission SET queued_at = now() - $1 WHERE state = 'queued'", ago);

    /// <summary>As if what is sent had left then.</summary>
    public Task SentAgoAsync(TimeSpan ago) =>
        database.ExecuteAsync("UPDATE gateway.transmission SET first_sent_at = now() - $1 WHERE state = 'sent'", ago);

    /// <summary>As if dispatches and transmissions were so much older.</summary>
    /// <param name="dispatch">Null: all.</param>
    public async Task AgeAsync(TimeSpan by, Guid? dispatch = null)
    {
        await database.ExecuteAsync(
            """
            UPDATE gateway.outgoing SET accepted_at = accepted_at - $1, queued_at = queued_at - $1
            WHERE $2::uuid IS NULL OR dispatch_id = $2
            """,
            by, dispatch);
        await database.ExecuteAsync(
            """
            UPDATE gateway.transmission SET queued_at = queued_at - $1, closed_at = closed_at - $1
            WHERE $2::uuid IS NULL OR dispatch_id = $2
            """,
            by, dispatch);
    }

    /// <summary>What cipher a dispatch got and which agencies limited it; null for both where an older build encrypted
    /// it.</summary>
    public Task SetCipherAsync(Guid dispatch, string? cipher) =>
        database.ExecuteAsync(
            """
            UPDATE gateway.outgoing SET cipher = $2::text, cipher_limited_by = CASE WHEN $2::text IS NOT NULL THEN
              ARRAY(SELECT recipient_id FROM gateway.transmission WHERE kind = 'dispatch' AND dispatch_id = $1) END
            WHERE dispatch_id = $1
            """,
            dispatch, cipher);

    /// <summary>Fills the queue with copies of one queued dispatch to a recipient. The code of a copy's recipient
    /// begins with <c>copy</c>.</summary>
    public async Task CopyQueuedAsync(string recipient, int copies)
    {
        await database.ExecuteAsync(
            """
            WITH one AS (SELECT t.*, w.lane FROM gateway.transmission t
              JOIN gateway.work w ON w.kind = 'send' AND w.subject = t.transmission_id
              WHERE t.state = 'queued' AND t.recipient_code = $1 AND w.lane IS NOT NULL LIMIT 1),
            made AS (
              INSERT INTO gateway.transmission (transmission_id, kind, dispatch_id, agency_id, recipient_id,
                recipient_code, state, message_blob, entry_id, queued_at)
              SELECT gen_random_uuid(), 'dispatch', gen_random_uuid(), agency_id, recipient_id, 'copy ' || n, 'queued',
                message_blob, entry_id, queued_at FROM one, generate_series(1, $2) n
              RETURNING transmission_id)
            INSERT INTO gateway.work (kind, subject, lane)
            SELECT 'send', transmission_id, (SELECT lane FROM one) FROM made
            """,
            recipient, copies);
        await database.ExecuteAsync("ANALYZE gateway.work");
    }

    /// <summary>Takes copies out of the queue, all but so many.</summary>
    public Task DropCopiesAsync(int but) =>
        database.ExecuteAsync(
            """
            DELETE FROM gateway.work WHERE work_id IN (
              SELECT w.work_id FROM gateway.work w JOIN gateway.transmission t ON t.transmission_id = w.subject
              WHERE w.kind = 'send' AND t.recipient_code LIKE 'copy%' AND w.state = 'ready'
              ORDER BY w.work_id OFFSET $1)
            """,
            but);

    /// <summary>The last number that was drawn, by year.</summary>
    public async Task<IReadOnlyDictionary<int, int>> LastNumbersAsync(Guid agency) =>
        (
            await database.RowsAsync(
                "SELECT year, last FROM gateway.register WHERE agency_id = $1",
                row => (Year: row.GetInt32(0), Last: row.GetInt32(1)), agency)
        ).ToDictionary(r => r.Year, r => r.Last);

    /// <summary>The highest number of any register of outgoing dispatches; 0: none was drawn.</summary>
    public Task<int> LastNumberAsync() =>
        database.ScalarAsync<int>("SELECT coalesce(max(last), 0)::int FROM gateway.number_series");

    /// <summary>How many series of outgoing numbers there are: one a body, type and period of an agency.</summary>
    public Task<long> SeriesAsync() => database.CountAsync("gateway.number_series");

    /// <summary>Tells the clerk of a dispatch something.</summary>
    /// <param name="ago">How long ago it was told.</param>
    public Task AddNoticeAsync(
        Guid dispatch, string action, string? reason = null, string? diagnostic = null, TimeSpan ago = default) =>
        database.ExecuteAsync(
            """
            INSERT INTO gateway.notice (raised_at, agency_id, transmission_id, action, reason, remote, diagnostic,
              retry_until)
            SELECT now() - $2, agency_id, transmission_id, $3, $4::text,
              CASE WHEN $5::text IS NOT NULL THEN 'gateway-b.test' END, $5::text, now()
            FROM gateway.transmission WHERE dispatch_id = $1 AND kind = 'dispatch'
            """,
            dispatch, ago, action, reason, diagnostic);

    /// <summary>How long the encrypted cards are that rows carry.</summary>
    public Task<List<int>> CardLengthsAsync() =>
        database.ListAsync<int>("SELECT octet_length(card) FROM gateway.outgoing WHERE card IS NOT NULL");

    /// <summary>How many cards hold this text as it is.</summary>
    public Task<long> CardsHoldingAsync(string text) =>
        database.CountAsync("gateway.outgoing WHERE position(convert_to($1, 'UTF8') IN card) > 0", text);

    /// <summary>The storage key that a card lies under; null where there is no card.</summary>
    public Task<string?> CardKeyAsync(Guid dispatch) =>
        database.ScalarAsync<string>(
            "SELECT card_key FROM gateway.outgoing WHERE dispatch_id = $1 AND card IS NOT NULL", dispatch);

    /// <summary>Gives a dispatch the card of another.</summary>
    public Task ReplaceCardAsync(Guid dispatch, Guid other) =>
        database.ExecuteAsync(
            """
            UPDATE gateway.outgoing o SET card = x.card FROM gateway.outgoing x
            WHERE o.dispatch_id = $1 AND x.dispatch_id = $2
            """,
            dispatch, other);

    /// <summary>As a build without cards left the row.</summary>
    public Task DropCardAsync(Guid dispatch) =>
        database.ExecuteAsync(
            "UPDATE gateway.outgoing SET card = NULL, card_key = NULL WHERE dispatch_id = $1", dispatch);

    /// <summary>The gateways that there is a list of recipients for.</summary>
    public Task<List<string>> PrefixGatewaysAsync() =>
        database.ListAsync<string>("SELECT gateway FROM gateway.message_head ORDER BY gateway COLLATE \"C\"");

    /// <summary>The dispatches that there are lists of recipients for.</summary>
    public Task<List<Guid>> PrefixDispatchesAsync() =>
        database.ListAsync<Guid>(
            "SELECT DISTINCT dispatch_id FROM gateway.message_head JOIN gateway.outgoing USING (message_blob)");

    /// <summary>The sizes of the lists of recipients, and where in the stored message the common part begins.</summary>
    public Task<List<(int Length, long BodyOffset)>> PrefixSizesAsync() =>
        database.RowsAsync(
            "SELECT length(head), cut FROM gateway.message_head", row => (row.GetInt32(0), row.GetInt64(1)));

    /// <summary>As a build without lists of recipients queued the dispatch.</summary>
    public Task ForgetPrefixesAsync(Guid dispatch) =>
        database.ExecuteAsync("UPDATE gateway.transmission SET head_gateway = NULL WHERE dispatch_id = $1", dispatch);

    /// <summary>How many lists of recipients belong to messages that are gone, or to nobody.</summary>
    public Task<long> OrphanPrefixesAsync() =>
        database.CountAsync(
            """
            gateway.message_head h JOIN gateway.blob b ON b.blob_id = h.message_blob
            WHERE b.erased_at IS NOT NULL OR NOT EXISTS (
              SELECT FROM gateway.transmission t WHERE t.message_blob = h.message_blob AND t.head_gateway = h.gateway)
            """);

    /// <summary>What an agency said that it reads; null: nothing is known.</summary>
    public Task<string[]?> CapabilitiesAsync(Guid agency) =>
        database.ScalarAsync<string[]>("SELECT algorithms FROM gateway.capability WHERE agency_id = $1", agency);

    /// <summary>When the agency signed that.</summary>
    public async Task<DateTimeOffset> CapabilitiesSignedAtAsync(Guid agency) =>
        new(await database.ScalarAsync<DateTime>(
            "SELECT signed_at FROM gateway.capability WHERE agency_id = $1", agency), TimeSpan.Zero);

    /// <summary>Of how many agencies something is known.</summary>
    public Task<long> AgenciesWithCapabilitiesAsync() => database.CountAsync("gateway.capability");

    /// <summary>The database refuses what a send writes, as if it had gone away.</summary>
    public Task RefuseSentAsync() =>
        database.ExecuteAsync(
            """
            CREATE FUNCTION gateway.no_evidence() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'away' USING ERRCODE = '57P01'; END $$;
            CREATE TRIGGER no_evidence BEFORE UPDATE ON gateway.transmission FOR EACH ROW
              WHEN (new.state = 'sent') EXECUTE FUNCTION gateway.no_evidence()
            """);

    public Task AcceptSentAsync() => database.ExecuteAsync("DROP TRIGGER no_evidence ON gateway.transmission");

    private const string Unacknowledged =
        "kind = 'dispatch' AND state <> 'acknowledged' AND recipient_code IS DISTINCT FROM $1::text";
}
