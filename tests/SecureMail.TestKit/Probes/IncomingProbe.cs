using System.Security.Cryptography;

namespace SecureMail.TestKit.Probes;

/// <summary>What was received and what became of it.</summary>
internal sealed class IncomingProbe(ProbeDatabase database)
{
    /// <summary>How many mails were answered 250.</summary>
    public Task<long> ReceivedAsync() => database.CountAsync("gateway.received");

    /// <summary>How many messages there are, one a recipient of a mail.</summary>
    public Task<long> CountAsync(string? state = null, string? disposition = null, Guid? dispatch = null) =>
        database.CountAsync(
            """
            gateway.incoming WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR place = $2)
              AND ($3::uuid IS NULL OR dispatch_id = $3)
            """,
            state, disposition, dispatch);

    /// <summary>How many messages have each disposition; what was not decided counts under the empty one.</summary>
    /// <param name="dispatch">Null: of all messages.</param>
    /// <param name="agency">Null: for all agencies.</param>
    /// <param name="kind">Null: of every kind.</param>
    public async Task<IReadOnlyDictionary<string, long>> DispositionsAsync(
        Guid? dispatch = null, Guid? agency = null, string? kind = null) =>
        (
            await database.RowsAsync(
                """
                SELECT coalesce(place, ''), count(*) FROM gateway.incoming
                WHERE ($1::uuid IS NULL OR dispatch_id = $1) AND ($2::uuid IS NULL OR agency_id = $2)
                  AND ($3::text IS NULL OR kind = $3) GROUP BY 1
                """,
                row => (Disposition: row.GetString(0), Messages: row.GetInt64(1)), dispatch, agency, kind)
        ).ToDictionary(r => r.Disposition, r => r.Messages);

    /// <summary>The dispatches that messages brought, one a message.</summary>
    /// <param name="disposition">Null: whatever became of them.</param>
    public Task<List<Guid>> DispatchesAsync(string? disposition = null) =>
        database.ListAsync<Guid>(
            """
            SELECT dispatch_id FROM gateway.incoming
            WHERE kind = 'dispatch' AND dispatch_id IS NOT NULL AND ($1::text IS NULL OR place = $1)
            """,
            disposition);

    /// <summary>The messages that brought a dispatch to an agency's inbox.</summary>
    public Task<List<Guid>> InInboxAsync(Guid dispatch, Guid agency) =>
        database.ListAsync<Guid>(
            """
            SELECT incoming_id FROM gateway.incoming
            WHERE dispatch_id = $1 AND agency_id = $2 AND kind = 'dispatch' AND place = 'inbox'
            """,
            dispatch, agency);

    /// <summary>The messages; those about a dispatch with a disposition where they are named.</summary>
    public Task<List<Guid>> IdsAsync(Guid? dispatch = null, string? disposition = null) =>
        database.ListAsync<Guid>(
            """
            SELECT incoming_id FROM gateway.incoming
            WHERE ($1::uuid IS NULL OR dispatch_id = $1) AND ($2::text IS NULL OR place = $2)
            """,
            dispatch, disposition);

    /// <summary>The messages whose bytes, as received, are these.</summary>
    public Task<List<Guid>> OfAsync(byte[] message) =>
        database.ListAsync<Guid>(
            """
            SELECT i.incoming_id FROM gateway.incoming i JOIN gateway.received r USING (received_id)
            JOIN gateway.blob b USING (blob_id) WHERE b.sha256 = $1
            """,
            SHA256.HashData(message));

    /// <summary>Who the mail that brought a message came from, in the envelope; empty: nobody.</summary>
    public Task<string?> EnvelopeSenderAsync(Guid incoming) =>
        database.ScalarAsync<string>(
            """
            SELECT envelope_from FROM gateway.incoming JOIN gateway.received USING (received_id)
            WHERE incoming_id = $1
            """,
            incoming);

    /// <summary>How many documents of the message are kept.</summary>
    public Task<long> DocumentsAsync(Guid incoming) =>
        database.CountAsync("gateway.incoming_document WHERE incoming_id = $1", incoming);

    /// <summary>How many transmissions answer the dispatch that a message brought.</summary>
    public Task<long> AnswersAsync(Guid incoming) =>
        database.CountAsync(
            "gateway.transmission t JOIN gateway.incoming i USING (dispatch_id) WHERE i.incoming_id = $1", incoming);

    /// <summary>The agencies whose arrival numbers have gaps.</summary>
    public Task<List<Guid>> ArrivalGapsAsync() =>
        database.ListAsync<Guid>(
            """
            SELECT r.agency_id FROM gateway.register r WHERE r.direction = 'incoming'
              AND r.last <> (SELECT count(*) FROM gateway.incoming i WHERE i.agency_id = r.agency_id
                AND i.arrival_year = r.year AND i.arrival_number IS NOT NULL)
            """);

    /// <summary>How many receptions still have the salt that their commitment was made with.</summary>
    /// <param name="incoming">Null: of all messages.</param>
    public Task<long> SaltsAsync(Guid? incoming = null) =>
        database.CountAsync(
            """
            gateway.received r WHERE salt IS NOT NULL AND ($1::uuid IS NULL OR EXISTS (
              SELECT FROM gateway.incoming i WHERE i.received_id = r.received_id AND i.incoming_id = $1))
            """,
            incoming);

    /// <summary>How many findings hold this text.</summary>
    public Task<long> FindingsHoldingAsync(string text) =>
        database.CountAsync("gateway.finding WHERE position($1 IN findings::text) > 0", text);

    /// <summary>What a message waits for; null: nothing.</summary>
    public Task<string?> AwaitsAsync(Guid incoming) =>
        database.ScalarAsync<string?>("SELECT awaits FROM gateway.incoming WHERE incoming_id = $1", incoming);

    /// <summary>What each finding of a message rests on, oldest first; empty: it does not say.</summary>
    public Task<List<string>> BasesAsync(Guid incoming) =>
        database.ListAsync<string>(
            "SELECT coalesce(basis, '') FROM gateway.finding WHERE incoming_id = $1 ORDER BY finding_id", incoming);

    /// <summary>How many CRLs came that were not older than those before.</summary>
    public Task<long> CrlsAsync() => database.CountAsync("gateway.crl");

    /// <summary>Adds messages of a peer that wait for something.</summary>
    public Task AddWaitingAsync(int count, string awaits, string peer) =>
        database.ExecuteAsync(
            """
            WITH b AS (
              INSERT INTO gateway.blob (blob_id, length, sha256, storage_key, wrapped_key)
              VALUES (gen_random_uuid(), 10, sha256('x'), 'k', 'wrapped') RETURNING blob_id),
            r AS (
              INSERT INTO gateway.received (received_id, peer, envelope_from, blob_id, received_at)
              SELECT gen_random_uuid(), $3, '', blob_id, now() FROM b RETURNING received_id)
            INSERT INTO gateway.incoming (incoming_id, received_id, agency_id, address, state, kind, place, verdict,
              reason, entry_id, recorded_at, awaits)
            SELECT gen_random_uuid(), received_id, gen_random_uuid(), '', 'recorded', 'other', 'quarantine',
              'indeterminate', 'INDETERMINATE', 1, now(), $2 FROM r, generate_series(1, $1)
            """,
            count, awaits, peer);

    /// <summary>What lies in quarantine and why, for the message of a failure.</summary>
    public Task<List<string>> DescribeQuarantineAsync() =>
        database.ListAsync<string>(
            """
            SELECT concat_ws(' ', 'quarantine', kind, verdict, reason) FROM gateway.incoming
            WHERE place = 'quarantine' LIMIT 20
            """);

    /// <summary>As if messages had been recorded so much earlier.</summary>
    /// <param name="address">Of whose; null: of everybody.</param>
    public Task AgeAsync(TimeSpan by, string? address = null) =>
        database.ExecuteAsync(
            "UPDATE gateway.incoming SET recorded_at = recorded_at - $1 WHERE $2::text IS NULL OR address = $2",
            by, address);

    /// <summary>Adds messages that were recorded as duplicates, with contents of their own.</summary>
    public Task AddDuplicatesAsync(int count, TimeSpan ago) =>
        database.ExecuteAsync(
            """
            WITH b AS (
              INSERT INTO gateway.blob (blob_id, length, sha256, storage_key, wrapped_key)
              SELECT gen_random_uuid(), 10, sha256('x'), 'k', 'wrapped' FROM generate_series(1, $1) RETURNING blob_id),
            c AS (INSERT INTO gateway.blob_chunk (blob_id, n, octets) SELECT blob_id, 0, 'sealed' FROM b),
            r AS (
              INSERT INTO gateway.received (received_id, peer, envelope_from, blob_id, received_at)
              SELECT gen_random_uuid(), 'p', '', blob_id, now() - $2 FROM b RETURNING received_id)
            INSERT INTO gateway.incoming (incoming_id, received_id, agency_id, address, state, kind, place, verdict,
              entry_id, recorded_at)
            SELECT gen_random_uuid(), received_id, gen_random_uuid(), '', 'recorded', 'dispatch', 'duplicate', 'valid',
              1, now() - $2 FROM r
            """,
            count, ago);

    /// <summary>What is written of receptions from now on is a row that this build cannot work on: mail without a
    /// signature commits to its findings with the salt of its row.</summary>
    public Task LoseSaltsAsync() =>
        database.ExecuteAsync(
            """
            CREATE FUNCTION public.lose_salt() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN NEW.salt := NULL; RETURN NEW; END $$;
            CREATE TRIGGER lose_salt BEFORE INSERT ON gateway.received FOR EACH ROW
              EXECUTE FUNCTION public.lose_salt();
            """);

    public Task KeepSaltsAsync() => database.ExecuteAsync("DROP TRIGGER lose_salt ON gateway.received");
}
