using Npgsql;

namespace SecureMail.Storage;

/// <summary>
/// Octets in PostgreSQL: rows of 256 KiB, each sealed with AES-256-GCM under the blob's own random key, written in the
/// caller's transaction.
/// </summary>
/// <remarks>
/// The key is used for one blob only, so the nonce may be the row's number; the additional data binds each row to its
/// blob, its place and whether it is the last, so that rows cannot be swapped, dropped or cut off unnoticed. Destroying
/// the wrapped key erases the blob. Memory: one row at a time, whatever the length, in arrays that are wiped and used
/// again: fresh ones of this size are collected so rarely that hundreds of them would lie about after a large message.
/// </remarks>
public sealed class BlobStore(NpgsqlDataSource database, StorageKeys keys)
{
    /// <summary>Copies a stream into a new blob within <paramref name="transaction"/>; nothing is durable before its
    /// commit.</summary>
    public async Task<StoredBlob> WriteAsync(
        NpgsqlTransaction transaction, Stream content, CancellationToken cancellationToken)
    {
        await using var writer = Create(transaction);
        await content.CopyToAsync(writer, BlobRow.Size, cancellationToken);
        return await writer.FinishAsync(cancellationToken);
    }

    /// <summary>A stream that takes a new blob's octets; the blob exists once <see cref="BlobWriteStream.FinishAsync"/>
    /// was called and the transaction committed.</summary>
    public BlobWriteStream Create(NpgsqlTransaction transaction) => new(transaction, keys);

    /// <summary>A seekable stream over a blob; one sealed row in memory at a time. Reading a row that was changed,
    /// swapped or dropped throws InvalidDataException.</summary>
    /// <exception cref="InvalidDataException">There is no such blob, or its key cannot be unwrapped.</exception>
    public async Task<Stream> OpenAsync(Guid blob, CancellationToken cancellationToken)
    {
        await using var command = Parent(blob);
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        return await reader.ReadAsync(cancellationToken) ? StreamOf(blob, reader) : throw Missing(blob);
    }

    /// <summary>The same where the caller cannot wait asynchronously: a part that is written opens its content
    /// itself.</summary>
    /// <exception cref="InvalidDataException">There is no such blob.</exception>
    public Stream Open(Guid blob)
    {
        using var command = Parent(blob);
        using var reader = command.ExecuteReader();
        return reader.Read() ? StreamOf(blob, reader) : throw Missing(blob);
    }

    /// <summary>The whole of a small blob (a manifest, a receipt).</summary>
    /// <exception cref="InvalidDataException">It is longer than <paramref name="limit"/> octets.</exception>
    public async Task<byte[]> ReadAllAsync(Guid blob, int limit, CancellationToken cancellationToken)
    {
        await using var stream = await OpenAsync(blob, cancellationToken);
        if (stream.Length > limit)
        {
            throw new InvalidDataException($"Blob {blob} is longer than {limit} octets.");
        }

        var all = new byte[stream.Length];
        await stream.ReadExactlyAsync(all, cancellationToken);
        // One more, to the end: an empty blob is read, too.
        return await stream.ReadAsync(new byte[1], cancellationToken) == 0
            ? all
            : throw new InvalidDataException($"Blob {blob} is longer than it says.");
    }

    private NpgsqlCommand Parent(Guid blob)
    {
        var command = database.CreateCommand(
            "SELECT length, storage_key, wrapped_key, erased_at IS NOT NULL FROM gateway.blob WHERE blob_id = $1");
        command.Parameters.Add(new() { Value = blob });
        return command;
    }

    private BlobReadStream StreamOf(Guid blob, NpgsqlDataReader parent) =>
        parent.GetBoolean(3)
            ? throw new ContentErasedException(blob)
            : new(
                database, blob, parent.GetInt64(0),
                keys.Unwrap(blob, parent.GetString(1), parent.GetFieldValue<byte[]>(2)));

    /// <summary>
    /// Destroys blobs within <paramref name="transaction"/>: the wrapped keys are emptied, the sealed rows deleted, and
    /// the heads of a message with it; the parents stay as tombstones for the rows that point to them. Reading one
    /// throws <see cref="ContentErasedException"/> from then on. What was destroyed before is passed over.
    /// </summary>
    /// <param name="forgetDigest">The SHA-256 of the content goes, too: a guess at the content shall not be confirmed
    /// by it.</param>
    /// <returns>How many were destroyed, and their octets.</returns>
    public static async Task<(long Blobs, long Octets)> DestroyAsync(
        NpgsqlTransaction transaction, IReadOnlyCollection<Guid> blobs, bool forgetDigest,
        CancellationToken cancellationToken)
    {
        if (blobs.Count == 0)
        {
            return (0, 0);
        }

        await using var command = new NpgsqlCommand(
            """
            WITH gone AS (
              UPDATE gateway.blob SET wrapped_key = '', erased_at = now(), sha256 = CASE WHEN $2
                THEN decode(repeat('00', 32), 'hex') ELSE sha256 END
              WHERE blob_id = ANY($1) AND (erased_at IS NULL OR $2) RETURNING length),
            chunks AS (DELETE FROM gateway.blob_chunk WHERE blob_id = ANY($1)),
            heads AS (DELETE FROM gateway.message_head WHERE message_blob = ANY($1))
            SELECT count(*), coalesce(sum(length), 0)::bigint FROM gone
            """,
            transaction.Connection,
            transaction)
        {
            Parameters =
            {
                new() { Value = blobs.ToArray() },
                new() { Value = forgetDigest },
            },
        };
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        await reader.ReadAsync(cancellationToken);
        return (reader.GetInt64(0), reader.GetInt64(1));
    }

    private static InvalidDataException Missing(Guid blob) => new($"Blob {blob} is not in the database.");
}

/// <summary>What was stored: the blob's id, its length in octets and the SHA-256 of them.</summary>
public sealed record StoredBlob(Guid Id, long Length, byte[] Sha256);

/// <summary>The octets were destroyed on purpose, by retention or by an order to erase; the ledger says which and
/// when.</summary>
public sealed class ContentErasedException(Guid blob)
    : Exception($"The content of blob {blob} was erased.")
{
    public Guid Blob { get; } = blob;
}
