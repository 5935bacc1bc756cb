using System.Data;
using System.Security.Cryptography;
using Npgsql;

namespace SecureMail.Storage;

/// <summary>
/// Content in PostgreSQL: rows of 256 KiB, each encrypted with AES-256-GCM under the blob's own random key, written in
/// the caller's transaction.
/// </summary>
/// <remarks>
/// The key is used for one blob only, so the nonce may be the row's number. The associated data binds each row to its
/// blob, to its number and to whether it is the last row, so that rows cannot be swapped, dropped or cut off unnoticed.
/// Destroying the wrapped key erases the blob. A stream holds one row in memory, whatever the length of the blob. Its
/// array is wiped and returned to a pool, because new arrays of this size are collected so rarely that hundreds of them
/// would remain after a large message.
/// </remarks>
public sealed class BlobStore(NpgsqlDataSource database, StorageKeys keys)
{
    // The row of a blob that is not longer comes with its parent, in one exchange with the database.
    private const int SmallBlob = 64 * 1024;
    private const int FirstRow = 4;
    private const CommandBehavior InOrder = CommandBehavior.SequentialAccess | CommandBehavior.SingleRow;

    /// <summary>Copies a stream into a new blob within <paramref name="transaction"/>. The blob is durable with the
    /// commit of the transaction.</summary>
    public async Task<StoredBlob> WriteAsync(
        NpgsqlTransaction transaction, Stream content, CancellationToken cancellationToken)
    {
        await using var writer = Create(transaction);
        await content.CopyToAsync(writer.Content, BlobRow.Size, cancellationToken);
        return await writer.FinishAsync(cancellationToken);
    }

    /// <summary>A new blob. It exists once <see cref="BlobWriter.FinishAsync"/> was called and the transaction is
    /// committed.</summary>
    public BlobWriter Create(NpgsqlTransaction transaction) => new(transaction, keys);

    /// <summary>A seekable stream over a blob, with one row in memory at a time. Reading a row that was changed,
    /// swapped or dropped throws InvalidDataException.</summary>
    /// <exception cref="InvalidDataException">There is no such blob.</exception>
    /// <exception cref="SecretFileException">The storage key of the blob is missing or another one.</exception>
    /// <exception cref="ContentErasedException">The blob was destroyed.</exception>
    public async Task<Stream> OpenAsync(Guid blob, CancellationToken cancellationToken)
    {
        await using var command = Parent(blob);
        await using var reader = await command.ExecuteReaderAsync(InOrder, cancellationToken);
        var stream = await reader.ReadAsync(cancellationToken) ? StreamOf(blob, reader) : throw Missing(blob);
        if (!await reader.IsDBNullAsync(FirstRow, cancellationToken))
        {
            await using var row = await reader.GetStreamAsync(FirstRow, cancellationToken);
            await stream.FetchAsync(row, cancellationToken);
        }

        return stream;
    }

    /// <summary>Does the same synchronously, because a MIME part that is written opens its content in a synchronous
    /// call.</summary>
    /// <exception cref="InvalidDataException">There is no such blob.</exception>
    /// <exception cref="SecretFileException">The storage key of the blob is missing or another one.</exception>
    /// <exception cref="ContentErasedException">The blob was destroyed.</exception>
    public Stream Open(Guid blob)
    {
        using var command = Parent(blob);
        using var reader = command.ExecuteReader(InOrder);
        var stream = reader.Read() ? StreamOf(blob, reader) : throw Missing(blob);
        if (!reader.IsDBNull(FirstRow))
        {
            using var row = reader.GetStream(FirstRow);
            stream.Fetch(row);
        }

        return stream;
    }

    /// <summary>The content of a small blob (a manifest, a receipt).</summary>
    /// <exception cref="InvalidDataException">There is no such blob, or it is longer than <paramref name="limit"/>
    /// bytes.</exception>
    public async Task<byte[]> ReadAllAsync(Guid blob, int limit, CancellationToken cancellationToken)
    {
        await using var stream = await OpenAsync(blob, cancellationToken);
        if (stream.Length > limit)
        {
            throw new InvalidDataException($"Blob {blob} is longer than {limit} bytes.");
        }

        var all = new byte[stream.Length];
        await stream.ReadExactlyAsync(all, cancellationToken);
        // One more read, to the end. It also authenticates the row of an empty blob.
        return await stream.ReadAsync(new byte[1], cancellationToken) == 0
            ? all
            : throw new InvalidDataException($"Blob {blob} is longer than its stored length.");
    }

    /// <summary>Opens a blob that is read before and inside a transaction.</summary>
    /// <exception cref="InvalidDataException">There is no such blob, or its key cannot be unwrapped.</exception>
    public async Task<BlobReader> OpenReaderAsync(Guid blob, CancellationToken cancellationToken) =>
        new((BlobReadStream)await OpenAsync(blob, cancellationToken));

    /// <summary>The whole of a small blob, on the connection of <paramref name="transaction"/>.</summary>
    /// <exception cref="InvalidDataException">It is longer than <paramref name="limit"/> bytes.</exception>
    public async Task<byte[]> ReadAllAsync(
        NpgsqlTransaction transaction, Guid blob, int limit, CancellationToken cancellationToken)
    {
        var row = await transaction.FindAsync<(long Length, string Key, byte[] Wrapped, bool Erased)?>(
            "SELECT length, storage_key, wrapped_key, erased_at IS NOT NULL FROM gateway.blob WHERE blob_id = @blob",
            new { blob }, cancellationToken) ?? throw Missing(blob);
        if (row.Erased)
        {
            throw new ContentErasedException(blob);
        }

        if (row.Length > limit)
        {
            throw new InvalidDataException($"Blob {blob} is longer than {limit} bytes.");
        }

        var all = new byte[row.Length];
        using var aes = new AesGcm(keys.Unwrap(blob, row.Key, row.Wrapped), BlobRow.TagSize);
        var rows = await transaction.ListAsync<byte[]>(
            "SELECT octets FROM gateway.blob_chunk WHERE blob_id = @blob ORDER BY n", new { blob }, cancellationToken);
        for (var (n, at) = (0, 0); n == 0 || at < all.Length; n++)
        {
            var size = Math.Min(BlobRow.Size, all.Length - at);
            if (n >= rows.Count || rows[n].Length != size + BlobRow.TagSize)
            {
                throw new InvalidDataException($"Blob {blob} lacks row {n}.");
            }

            BlobRow.Decrypt(aes, blob, n, last: at + size == all.Length, rows[n], all.AsSpan(at, size));
            at += size;
        }

        return all;
    }

    /// <summary>Deletes a blob of which nothing has to be remembered, within the transaction.</summary>
    public static Task DeleteAsync(
        NpgsqlTransaction transaction, Guid blob, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            "DELETE FROM gateway.blob WHERE blob_id = @blob", new { blob }, cancellationToken);

    private NpgsqlCommand Parent(Guid blob)
    {
        var command = database.CreateCommand(
            $"""
            SELECT length, storage_key, wrapped_key, erased_at IS NOT NULL,
              CASE WHEN length <= {SmallBlob} THEN (SELECT octets FROM gateway.blob_chunk WHERE blob_id = $1 AND n = 0)
              END
            FROM gateway.blob WHERE blob_id = $1
            """);
        command.Parameters.Add(new() { Value = blob });
        return command;
    }

    // The columns are read in their order.
    private BlobReadStream StreamOf(Guid blob, NpgsqlDataReader parent)
    {
        var (length, name, wrapped) = (parent.GetInt64(0), parent.GetString(1), parent.GetFieldValue<byte[]>(2));
        return parent.GetBoolean(3)
            ? throw new ContentErasedException(blob)
            : new(database, blob, length, keys.Unwrap(blob, name, wrapped));
    }

    /// <summary>
    /// Destroys blobs within <paramref name="transaction"/>. The wrapped keys are emptied, and the encrypted rows and
    /// the message heads are deleted. The parents stay as tombstones for the rows that refer to them. Reading a
    /// destroyed blob throws <see cref="ContentErasedException"/>. Blobs that were destroyed before are skipped.
    /// </summary>
    /// <param name="forgetDigest">Whether the SHA-256 of the content is destroyed too, because it would confirm a guess
    /// at the content.</param>
    /// <returns>How many blobs were destroyed, and their length in bytes together.</returns>
    public static async Task<(long Blobs, long Bytes)> DestroyAsync(
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
              UPDATE gateway.blob SET
                wrapped_key = '',
                erased_at = now(),
                sha256 = CASE WHEN $2 THEN decode(repeat('00', 32), 'hex') ELSE sha256 END
              WHERE blob_id = ANY($1) AND (erased_at IS NULL OR $2)
              RETURNING length),
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

/// <summary>A blob that was written: its id, and the length in bytes and the SHA-256 of its content.</summary>
public sealed record StoredBlob(Guid Id, long Length, byte[] Sha256);

/// <summary>The content was destroyed on purpose, by retention or by an order to erase. The ledger says which, and
/// when.</summary>
public sealed class ContentErasedException(Guid blob)
    : Exception($"The content of blob {blob} was erased.")
{
    public Guid Blob { get; } = blob;
}
