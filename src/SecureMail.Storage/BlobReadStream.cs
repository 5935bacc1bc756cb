using System.Buffers;
using System.Data;
using System.Security.Cryptography;
using Npgsql;

namespace SecureMail.Storage;

/// <summary>A seekable stream over a blob; it holds one row at a time.</summary>
internal sealed class BlobReadStream(NpgsqlDataSource database, Guid blob, long length, byte[] key) : Stream
{
    private readonly AesGcm _aes = new(key, BlobRow.TagSize);

    // One more than a row has: what is longer than it should be is seen.
    private byte[] _row = ArrayPool<byte>.Shared.Rent((int)Math.Min(length, BlobRow.Size) + BlobRow.TagSize + 1);
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

        var n = (int)(_position / BlobRow.Size);
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

        var n = (int)(_position / BlobRow.Size);
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
            BlobRow.Return(ref _row, (int)Math.Min(length, BlobRow.Size) + BlobRow.TagSize);
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
        var last = n == Math.Max(0, (length - 1) / BlobRow.Size);
        var size = (int)Math.Min(BlobRow.Size, length - ((long)n * BlobRow.Size));
        if (received != size + BlobRow.TagSize)
        {
            throw Lacks(n);
        }

        BlobRow.Decrypt(_aes, blob, n, last, _row.AsSpan(0, received), _row.AsSpan(0, size));
        _have = n;
    }

    private int Take(Span<byte> buffer)
    {
        var at = (int)(_position % BlobRow.Size);
        var size = (int)Math.Min(BlobRow.Size, length - ((long)_have * BlobRow.Size));
        var take = Math.Min(buffer.Length, size - at);
        _row.AsSpan(at, take).CopyTo(buffer);
        _position += take;
        return take;
    }
}
