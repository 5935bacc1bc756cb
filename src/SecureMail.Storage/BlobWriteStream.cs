using System.Buffers;
using System.Security.Cryptography;
using Npgsql;
using NpgsqlTypes;

namespace SecureMail.Storage;

/// <summary>Takes a blob's octets and writes them as sealed rows. Not for several threads.</summary>
public sealed class BlobWriteStream : Stream
{
    private readonly NpgsqlTransaction _transaction;
    private readonly StorageKeys _keys;
    private readonly byte[] _key = RandomNumberGenerator.GetBytes(32);
    private readonly AesGcm _aes;
    private readonly IncrementalHash _sha256 = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(BlobRow.Size + BlobRow.TagSize);
    private int _filled;
    private int _n;
    private long _length;

    internal BlobWriteStream(NpgsqlTransaction transaction, StorageKeys keys)
    {
        _transaction = transaction;
        _keys = keys;
        _aes = new AesGcm(_key, BlobRow.TagSize);
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
            if (_filled == BlobRow.Size)
            {
                await FlushChunkAsync(last: false, cancellationToken);
            }

            var take = Math.Min(buffer.Length, BlobRow.Size - _filled);
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
            BlobRow.Return(ref _buffer, _n > 0 ? BlobRow.Size : _filled);
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
                    TypedValue = _buffer.AsMemory(0, _filled + BlobRow.TagSize),
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
        BlobRow.Nonce(nonce, _n);
        BlobRow.Associate(associated, Id, _n, last);
        var row = _buffer.AsSpan(0, _filled);
        _aes.Encrypt(nonce, row, row, _buffer.AsSpan(_filled, BlobRow.TagSize), associated);
    }
}
