using System.Buffers;
using System.Security.Cryptography;
using Npgsql;
using NpgsqlTypes;
using SecureMail.Shared;

namespace SecureMail.Storage;

/// <summary>Writes a new blob as encrypted rows: first <see cref="Content"/>, then <see cref="FinishAsync"/>. One
/// thread at a time.</summary>
public sealed class BlobWriter : IAsyncDisposable
{
    private readonly NpgsqlTransaction _transaction;
    private readonly StorageKeys _keys;
    private readonly byte[] _key = RandomNumberGenerator.GetBytes(32);
    private readonly RowStream _rows;

    internal BlobWriter(NpgsqlTransaction transaction, StorageKeys keys)
    {
        _transaction = transaction;
        _keys = keys;
        _rows = new RowStream(transaction, Id, _key);
    }

    public Guid Id { get; } = Guid.CreateVersion7();

    /// <summary>Takes the content of the blob, asynchronously only.</summary>
    public Stream Content => _rows;

    /// <summary>Writes the last row and the parent. The blob is durable with the transaction's commit, not
    /// before.</summary>
    public async Task<StoredBlob> FinishAsync(CancellationToken cancellationToken)
    {
        var (last, sha256) = _rows.Finish();
        var (name, wrapped) = _keys.Wrap(Id, _key);
        await using var batch = new NpgsqlBatch(_transaction.Connection, _transaction)
        {
            BatchCommands =
            {
                last,
                new(
                    "INSERT INTO gateway.blob (blob_id, length, sha256, storage_key, wrapped_key) "
                        + "VALUES ($1, $2, $3, $4, $5)")
                {
                    Parameters =
                    {
                        new() { Value = Id },
                        new() { Value = _rows.Length },
                        new() { Value = sha256 },
                        new() { Value = name },
                        new() { Value = wrapped },
                    },
                },
            },
        };
        await batch.ExecuteNonQueryAsync(cancellationToken);
        return new StoredBlob(Id, _rows.Length, sha256);
    }

    public ValueTask DisposeAsync()
    {
        CryptographicOperations.ZeroMemory(_key);
        return _rows.DisposeAsync();
    }

    /// <summary>Encrypts each row when it is full and inserts it. The row that is not full yet waits, because only
    /// <see cref="FinishAsync"/> knows which row is the last.</summary>
    private sealed class RowStream(NpgsqlTransaction transaction, Guid blob, byte[] key) : WriteStream
    {
        private readonly AesGcm _aes = new(key, BlobRow.TagSize);
        private readonly IncrementalHash _sha256 = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private byte[] _row = ArrayPool<byte>.Shared.Rent(BlobRow.Size + BlobRow.TagSize);
        private int _filled;
        private int _n;
        private long _length;

        public override long Length => _length;

        public override async ValueTask WriteAsync(
            ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            _length += buffer.Length;
            while (!buffer.IsEmpty)
            {
                if (_filled == BlobRow.Size)
                {
                    await WriteRowAsync(cancellationToken);
                }

                var take = Math.Min(buffer.Length, BlobRow.Size - _filled);
                buffer.Span[..take].CopyTo(_row.AsSpan(_filled));
                _filled += take;
                buffer = buffer[take..];
            }
        }

        /// <summary>The statement that inserts the last row, and the SHA-256 of the content.</summary>
        public (NpgsqlBatchCommand Last, byte[] Sha256) Finish()
        {
            var last = Insert(last: true);
            return (last, _sha256.GetHashAndReset());
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                BlobRow.Return(ref _row, _n > 0 ? BlobRow.Size : _filled);
                _aes.Dispose();
                _sha256.Dispose();
            }

            base.Dispose(disposing);
        }

        private async Task WriteRowAsync(CancellationToken cancellationToken)
        {
            await using var batch = new NpgsqlBatch(transaction.Connection, transaction)
            {
                BatchCommands = { Insert(last: false) },
            };
            await batch.ExecuteNonQueryAsync(cancellationToken);
            _filled = 0;
            _n++;
        }

        /// <summary>Encrypts the row. The statement is executed before the next row is filled.</summary>
        private NpgsqlBatchCommand Insert(bool last)
        {
            _sha256.AppendData(_row, 0, _filled);
            Encrypt(last);
            return new("INSERT INTO gateway.blob_chunk (blob_id, n, octets) VALUES ($1, $2, $3)")
            {
                Parameters =
                {
                    new() { Value = blob },
                    new() { Value = _n },
                    new NpgsqlParameter<ReadOnlyMemory<byte>>
                    {
                        TypedValue = _row.AsMemory(0, _filled + BlobRow.TagSize),
                        NpgsqlDbType = NpgsqlDbType.Bytea,
                    },
                },
            };
        }

        /// <summary>Encrypts the row in place and writes its tag behind it.</summary>
        private void Encrypt(bool last)
        {
            Span<byte> nonce = stackalloc byte[12];
            Span<byte> associated = stackalloc byte[21];
            BlobRow.Nonce(nonce, _n);
            BlobRow.Associate(associated, blob, _n, last);
            var row = _row.AsSpan(0, _filled);
            _aes.Encrypt(nonce, row, row, _row.AsSpan(_filled, BlobRow.TagSize), associated);
        }
    }
}
