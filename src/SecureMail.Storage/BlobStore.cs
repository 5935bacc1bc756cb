using System.Buffers;
using System.Buffers.Binary;
using System.Data;
using System.Security.Cryptography;
using Npgsql;
using NpgsqlTypes;

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
    internal const int ChunkSize = 256 * 1024;

    internal const int TagSize = 16;

    /// <summary>Copies a stream into a new blob within <paramref name="transaction"/>; nothing is durable before its
    /// commit.</summary>
    public async Task<StoredBlob> WriteAsync(
        NpgsqlTransaction transaction, Stream content, CancellationToken cancellationToken)
    {
        await using var writer = Create(transaction);
        await content.CopyToAsync(writer, ChunkSize, cancellationToken);
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
              UPDATE gateway.blob SET wrapped_key = '', erased_at = now(), sha256 = CASE WHEN $2 THEN decode(repeat('00', 32), 'hex') ELSE sha256 END
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

    internal static void Associate(Span<byte> data, Guid blob, int n, bool last)
    {
        blob.TryWriteBytes(data);
        BinaryPrimitives.WriteInt32BigEndian(data[16..], n);
        data[20] = last ? (byte)1 : (byte)0;
    }

    /// <summary>Wipes what was used of a rented array and gives it back; a second call does nothing.</summary>
    internal static void Return(ref byte[] rented, int used)
    {
        if (Interlocked.Exchange(ref rented, []) is { Length: > 0 } array)
        {
            CryptographicOperations.ZeroMemory(array.AsSpan(0, used));
            ArrayPool<byte>.Shared.Return(array);
        }
    }

    internal static void Nonce(Span<byte> nonce, int n)
    {
        nonce.Clear();
        BinaryPrimitives.WriteInt32BigEndian(nonce[8..], n);
    }
}

/// <summary>What was stored: the blob's id, its length in octets and the SHA-256 of them.</summary>
public sealed record StoredBlob(Guid Id, long Length, byte[] Sha256);

/// <summary>The octets were destroyed on purpose, by retention or by an order to erase; the ledger says which and
/// when.</summary>
public sealed class ContentErasedException(Guid blob)
    : Exception(
        $"Nội dung đã hủy; nhật ký kiểm chứng ghi lý do và thời điểm. / The content was erased (blob {blob}); the "
            + "ledger says when and why."
    );

/// <summary>Takes a blob's octets and writes them as sealed rows. Not for several threads.</summary>
public sealed class BlobWriteStream : Stream
{
    private readonly NpgsqlTransaction _transaction;
    private readonly StorageKeys _keys;
    private readonly byte[] _key = RandomNumberGenerator.GetBytes(32);
    private readonly AesGcm _aes;
    private readonly IncrementalHash _sha256 = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(BlobStore.ChunkSize + BlobStore.TagSize);
    private int _filled;
    private int _n;
    private long _length;

    internal BlobWriteStream(NpgsqlTransaction transaction, StorageKeys keys)
    {
        _transaction = transaction;
        _keys = keys;
        _aes = new AesGcm(_key, BlobStore.TagSize);
    }

    public Guid Id { get; } = Guid.CreateVersion7();

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => _length;

    public override long Position
    {
        get => _length;
        set => throw new NotSupportedException();
    }

    public override async ValueTask WriteAsync(
        ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        _length += buffer.Length;
        while (!buffer.IsEmpty)
        {
            if (_filled == BlobStore.ChunkSize)
            {
                await FlushChunkAsync(last: false, cancellationToken);
            }

            var take = Math.Min(buffer.Length, BlobStore.ChunkSize - _filled);
            buffer.Span[..take].CopyTo(_buffer.AsSpan(_filled));
            _filled += take;
            buffer = buffer[take..];
        }
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    /// <summary>Writes the last row and the parent. Durable with the transaction's commit, not before.</summary>
    public async Task<StoredBlob> FinishAsync(CancellationToken cancellationToken)
    {
        await FlushChunkAsync(last: true, cancellationToken);
        var sha256 = _sha256.GetHashAndReset();
        var (name, wrapped) = _keys.Wrap(Id, _key);
        await using var command = new NpgsqlCommand(
            "INSERT INTO gateway.blob (blob_id, length, sha256, storage_key, wrapped_key) VALUES ($1, $2, $3, $4, $5)",
            _transaction.Connection, _transaction)
        {
            Parameters =
            {
                new() { Value = Id },
                new() { Value = _length },
                new() { Value = sha256 },
                new() { Value = name },
                new() { Value = wrapped },
            },
        };
        await command.ExecuteNonQueryAsync(cancellationToken);
        return new StoredBlob(Id, _length, sha256);
    }

    public override void Write(byte[] buffer, int offset, int count) =>
        throw new NotSupportedException("Write asynchronously.");

    public override void Flush()
    {
        // Rows are written when they are full; there is nothing to push out earlier.
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            CryptographicOperations.ZeroMemory(_key);
            BlobStore.Return(ref _buffer, _n > 0 ? BlobStore.ChunkSize : _filled);
            _aes.Dispose();
            _sha256.Dispose();
        }

        base.Dispose(disposing);
    }

    private async Task FlushChunkAsync(bool last, CancellationToken cancellationToken)
    {
        _sha256.AppendData(_buffer, 0, _filled);
        Seal(last);
        await using var command = new NpgsqlCommand(
            "INSERT INTO gateway.blob_chunk (blob_id, n, octets) VALUES ($1, $2, $3)", _transaction.Connection,
            _transaction)
        {
            Parameters =
            {
                new() { Value = Id },
                new() { Value = _n },
                new NpgsqlParameter<ReadOnlyMemory<byte>>
                {
                    TypedValue = _buffer.AsMemory(0, _filled + BlobStore.TagSize),
                    NpgsqlDbType = NpgsqlDbType.Bytea,
                },
            },
        };
        await command.ExecuteNonQueryAsync(cancellationToken);
        _filled = 0;
        _n++;
    }

    /// <summary>The row where it stands, its tag behind it.</summary>
    private void Seal(bool last)
    {
        Span<byte> nonce = stackalloc byte[12];
        Span<byte> associated = stackalloc byte[21];
        BlobStore.Nonce(nonce, _n);
        BlobStore.Associate(associated, Id, _n, last);
        var row = _buffer.AsSpan(0, _filled);
        _aes.Encrypt(nonce, row, row, _buffer.AsSpan(_filled, BlobStore.TagSize), associated);
    }
}

internal sealed class BlobReadStream(NpgsqlDataSource database, Guid blob, long length, byte[] key) : Stream
{
    private readonly AesGcm _aes = new(key, BlobStore.TagSize);

    // One more than a row has: what is longer than it should be is seen.
    private byte[] _row = ArrayPool<byte>.Shared.Rent(
        (int)Math.Min(length, BlobStore.ChunkSize) + BlobStore.TagSize + 1);
    private int _have = -1;
    private long _position;

    public override bool CanRead => true;

    public override bool CanSeek => true;

    public override bool CanWrite => false;

    public override long Length => length;

    public override long Position
    {
        get => _position;
        set => _position = value >= 0 ? value : throw new ArgumentOutOfRangeException(nameof(value));
    }

    public override int Read(Span<byte> buffer)
    {
        if (AtEnd || buffer.IsEmpty)
        {
            return 0;
        }

        var n = (int)(_position / BlobStore.ChunkSize);
        if (n != _have)
        {
            _have = -1;
            using var command = Query(n);
            using var reader = command.ExecuteReader(InPieces);
            using var row = reader.Read() ? reader.GetStream(0) : throw Lacks(n);
            Unseal(n, row.ReadAtLeast(_row, _row.Length, throwOnEndOfStream: false));
        }

        return Take(buffer);
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (AtEnd || buffer.IsEmpty)
        {
            return 0;
        }

        var n = (int)(_position / BlobStore.ChunkSize);
        if (n != _have)
        {
            _have = -1;
            await using var command = Query(n);
            await using var reader = await command.ExecuteReaderAsync(InPieces, cancellationToken);
            await using var row = await reader.ReadAsync(cancellationToken)
                ? await reader.GetStreamAsync(0, cancellationToken)
                : throw Lacks(n);
            Unseal(n, await row.ReadAtLeastAsync(_row, _row.Length, throwOnEndOfStream: false, cancellationToken));
        }

        return Take(buffer.Span);
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override long Seek(long offset, SeekOrigin origin) =>
        Position = origin switch
        {
            SeekOrigin.Begin => offset,
            SeekOrigin.Current => _position + offset,
            _ => length + offset,
        };

    public override void Flush()
    {
        // Nothing is written here.
    }

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _aes.Dispose();
            CryptographicOperations.ZeroMemory(key);
            BlobStore.Return(ref _row, (int)Math.Min(length, BlobStore.ChunkSize) + BlobStore.TagSize);
        }

        base.Dispose(disposing);
    }

    // The row is read into our own array; otherwise Npgsql makes one for each.
    private const CommandBehavior InPieces = CommandBehavior.SequentialAccess | CommandBehavior.SingleRow;

    // An empty blob has a sealed row, too: that there is nothing must be as authentic as what there is.
    private bool AtEnd => _position >= length && (length > 0 || _have == 0);

    private NpgsqlCommand Query(int n)
    {
        var command = database.CreateCommand("SELECT octets FROM gateway.blob_chunk WHERE blob_id = $1 AND n = $2");
        command.Parameters.Add(new() { Value = blob });
        command.Parameters.Add(new() { Value = n });
        return command;
    }

    private InvalidDataException Lacks(int n) => new($"Blob {blob} lacks row {n}.");

    /// <summary>Opens the row where it stands.</summary>
    private void Unseal(int n, int received)
    {
        var last = n == Math.Max(0, (length - 1) / BlobStore.ChunkSize);
        var size = (int)Math.Min(BlobStore.ChunkSize, length - ((long)n * BlobStore.ChunkSize));
        if (received != size + BlobStore.TagSize)
        {
            throw Lacks(n);
        }

        Span<byte> nonce = stackalloc byte[12];
        Span<byte> associated = stackalloc byte[21];
        BlobStore.Nonce(nonce, n);
        BlobStore.Associate(associated, blob, n, last);
        try
        {
            _aes.Decrypt(
                nonce, _row.AsSpan(0, size), _row.AsSpan(size, BlobStore.TagSize), _row.AsSpan(0, size), associated);
        }
        catch (AuthenticationTagMismatchException e)
        {
            throw new InvalidDataException($"Row {n} of blob {blob} was changed.", e);
        }

        _have = n;
    }

    private int Take(Span<byte> buffer)
    {
        var at = (int)(_position % BlobStore.ChunkSize);
        var size = (int)Math.Min(BlobStore.ChunkSize, length - ((long)_have * BlobStore.ChunkSize));
        var take = Math.Min(buffer.Length, size - at);
        _row.AsSpan(at, take).CopyTo(buffer);
        _position += take;
        return take;
    }
}
