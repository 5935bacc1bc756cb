using System.Security.Cryptography;

namespace SecureMail.TestKit.Probes;

/// <summary>Encrypted contents (blobs, in chunks), the keys they lie under and what retention destroyed of
/// them.</summary>
internal sealed class ContentProbe(ProbeDatabase database)
{
    public Task<long> ChunksAsync() => database.CountAsync("gateway.blob_chunk");

    /// <summary>How many contents no row names. A content is named by the row it belongs to; one that is not was left
    /// by a transaction that should not have been committed.</summary>
    public Task<long> OrphansAsync() =>
        database.CountAsync(
            """
            gateway.blob b WHERE erased_at IS NULL AND NOT EXISTS (
              SELECT FROM gateway.outgoing WHERE b.blob_id IN (manifest_blob, message_blob)
              UNION ALL SELECT FROM gateway.outgoing_document WHERE blob_id = b.blob_id
              UNION ALL SELECT FROM gateway.transmission WHERE message_blob = b.blob_id
              UNION ALL SELECT FROM gateway.received WHERE blob_id = b.blob_id
              UNION ALL SELECT FROM gateway.incoming WHERE manifest_blob = b.blob_id
              UNION ALL SELECT FROM gateway.incoming_document WHERE blob_id = b.blob_id)
            """);

    /// <summary>How many chunks belong to no content.</summary>
    public Task<long> OrphanChunksAsync() =>
        database.CountAsync(
            "gateway.blob_chunk c WHERE NOT EXISTS (SELECT FROM gateway.blob b WHERE b.blob_id = c.blob_id)");

    /// <summary>How many chunks of erased contents are left.</summary>
    public Task<long> ErasedChunksAsync() =>
        database.CountAsync("gateway.blob_chunk c JOIN gateway.blob b USING (blob_id) WHERE b.erased_at IS NOT NULL");

    /// <summary>How many erased contents still have their key or their digest.</summary>
    public Task<long> ErasedWithTracesAsync() =>
        database.CountAsync(
            """
            gateway.blob WHERE erased_at IS NOT NULL
              AND (wrapped_key <> '' OR sha256 <> decode(repeat('00', 32), 'hex'))
            """);

    /// <summary>How many contents are these.</summary>
    public Task<long> CountAsync(byte[] content) =>
        database.CountAsync("gateway.blob WHERE sha256 = $1", SHA256.HashData(content));

    /// <summary>How many chunks hold these bytes as they are.</summary>
    public Task<long> ChunksHoldingAsync(byte[] bytes) =>
        database.CountAsync("gateway.blob_chunk WHERE position($1 IN octets) > 0", bytes);

    /// <summary>The storage keys that contents and cards lie under.</summary>
    public Task<List<string>> StorageKeysAsync() =>
        database.ListAsync<string>(
            """
            SELECT storage_key FROM gateway.blob WHERE erased_at IS NULL
            UNION SELECT card_key FROM gateway.outgoing WHERE card_key IS NOT NULL
            """);

    /// <summary>The wrapped keys of what a dispatch of ours consists of.</summary>
    public Task<List<byte[]>> WrappedKeysOfDispatchAsync(Guid dispatch) =>
        database.ListAsync<byte[]>(
            """
            SELECT wrapped_key FROM gateway.blob WHERE blob_id IN (
              SELECT unnest(ARRAY[manifest_blob, message_blob]) FROM gateway.outgoing WHERE dispatch_id = $1
              UNION SELECT blob_id FROM gateway.outgoing_document WHERE dispatch_id = $1)
            """,
            dispatch);

    /// <summary>The wrapped keys of what a message that came consists of.</summary>
    public Task<List<byte[]>> WrappedKeysOfMessageAsync(Guid incoming) =>
        database.ListAsync<byte[]>(
            """
            SELECT wrapped_key FROM gateway.blob WHERE blob_id IN (
              SELECT manifest_blob FROM gateway.incoming WHERE incoming_id = $1
              UNION SELECT r.blob_id FROM gateway.received r JOIN gateway.incoming i USING (received_id)
                WHERE incoming_id = $1
              UNION SELECT blob_id FROM gateway.incoming_document WHERE incoming_id = $1)
            """,
            incoming);

    /// <summary>How many batches retention made, and those that an entry stands behind.</summary>
    public async Task<(long Batches, long WithEntry)> SweepsAsync() =>
        (
            await database.CountAsync("gateway.sweep"),
            await database.CountAsync(
                "gateway.sweep s JOIN ledger.entry e USING (entry_id) WHERE e.kind = 'retention.swept'"));

    /// <summary>The rows of the largest batch of retention, and of all.</summary>
    public async Task<(long Largest, long Total)> SweptRowsAsync() =>
        (
            await database.ScalarAsync<long>("SELECT max(rows) FROM gateway.sweep"),
            await database.ScalarAsync<long>("SELECT sum(rows)::bigint FROM gateway.sweep"));

    /// <summary>How many orders to erase there were.</summary>
    public Task<long> ErasuresAsync() => database.CountAsync("gateway.erasure");

    /// <summary>All contents are gone, and nothing says so.</summary>
    public Task LoseChunksAsync() => database.ExecuteAsync("DELETE FROM gateway.blob_chunk");

    /// <summary>The table of contents is cleaned as PostgreSQL does by itself in time.</summary>
    public Task VacuumAsync() => database.ExecuteAsync("VACUUM gateway.blob");

    /// <summary>The table of contents is written anew.</summary>
    public Task RewriteAsync() => database.ExecuteAsync("VACUUM FULL gateway.blob");

    /// <summary>The database's disk is full for contents.</summary>
    public Task FillDiskAsync() =>
        database.ExecuteAsync(
            """
            CREATE FUNCTION gateway.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
            CREATE TRIGGER full_disk BEFORE INSERT ON gateway.blob_chunk FOR EACH ROW
              EXECUTE FUNCTION gateway.full_disk()
            """);

    public Task FreeDiskAsync() => database.ExecuteAsync("DROP TRIGGER full_disk ON gateway.blob_chunk");

    /// <summary>Contents are damaged as they are written, so nothing that reads them can do its work.</summary>
    public Task SpoilAsync() =>
        database.ExecuteAsync(
            """
            CREATE FUNCTION public.spoil() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN NEW.octets := set_byte(NEW.octets, 0, get_byte(NEW.octets, 0) # 1); RETURN NEW; END $$;
            CREATE TRIGGER spoil BEFORE INSERT ON gateway.blob_chunk FOR EACH ROW EXECUTE FUNCTION public.spoil();
            """);
}
