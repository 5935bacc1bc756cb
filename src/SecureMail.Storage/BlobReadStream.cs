using System.Buffers;
using System.Data;
using System.Security.Cryptography;
using Npgsql;
using SecureMail.Shared;

namespace SecureMail.Storage;

/// <summary>The content of a blob. The stream holds one decrypted row at a time.</summary>
internal sealed class BlobReadStream(NpgsqlDataSource database, Guid blob, long length, byte[] key)
    : SeekableReadStream
{
    // The row is read into our own array, because Npgsql would otherwise allocate an array for each row.
    private const CommandBehavior InPieces = CommandBehavior.SequentialAccess | CommandBehavior.SingleRow;

    private readonly AesGcm _aes = new(key, BlobRow.TagSize);

    // One byte more than a row has, so that a row that is too long is noticed.
    private byte[] _row = ArrayPool<byte>.Shared.Rent((int)Math.Min(length, BlobRow.Size) + BlobRow.TagSize + 1);
    private int _loaded = -1;

    // The length of the first row, where it was read with the parent and is not decrypted yet; else -1.
    private int _fetched = -1;

    public override long Length => length;

    // An empty blob has an encrypted row, too, because its emptiness must be as authentic as any content.
    private bool AtEnd => Position >= length && (length > 0 || _loaded == 0);

    public override int Read(Span<byte> buffer)
    {
        if (AtEnd || buffer.IsEmpty)
        {
            return 0;
        }

        var n = (int)(Position / BlobRow.Size);
        if (n != _loaded)
        {
            if (TakesFetched(n))
            {
                return Take(buffer);
            }

            using var command = Query(n);
            using var reader = command.ExecuteReader(InPieces);
            using var row = reader.Read() ? reader.GetStream(0) : throw Lacks(n);
            Decrypt(n, row.ReadAtLeast(_row, _row.Length, throwOnEndOfStream: false));
        }

        return Take(buffer);
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (AtEnd || buffer.IsEmpty)
        {
            return 0;
        }

        var n = (int)(Position / BlobRow.Size);
        if (n != _loaded)
        {
            if (TakesFetched(n))
            {
                return Take(buffer.Span);
            }

            await using var command = Query(n);
            await using var reader = await command.ExecuteReaderAsync(InPieces, cancellationToken);
            await using var row = await reader.ReadAsync(cancellationToken)
                ? await reader.GetStreamAsync(0, cancellationToken)
                : throw Lacks(n);
            Decrypt(n, await row.ReadAtLeastAsync(_row, _row.Length, throwOnEndOfStream: false, cancellationToken));
        }

        return Take(buffer.Span);
    }

    /// <summary>Takes the first row, still encrypted, as it came with the parent.</summary>
    public void Fetch(Stream row) => _fetched = row.ReadAtLeast(_row, _row.Length, throwOnEndOfStream: false);

    /// <inheritdoc cref="Fetch"/>
    public async Task FetchAsync(Stream row, CancellationToken cancellationToken) =>
        _fetched = await row.ReadAtLeastAsync(_row, _row.Length, throwOnEndOfStream: false, cancellationToken);

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

    /// <summary>Where rows are read from now on: on the connection of a transaction; null: on one of the
    /// pool.</summary>
    public NpgsqlTransaction? Transaction { private get; set; }

    /// <summary>Answers false where the row has to be read.</summary>
    private bool TakesFetched(int n)
    {
        _loaded = -1;
        if (n > 0 || _fetched < 0)
        {
            return false;
        }

        Decrypt(0, _fetched);
        _fetched = -1;
        return true;
    }

    private NpgsqlCommand Query(int n)
    {
        const string Row = "SELECT octets FROM gateway.blob_chunk WHERE blob_id = $1 AND n = $2";
        var command = Transaction is { } transaction
            ? new NpgsqlCommand(Row, transaction.Connection, transaction)
            : database.CreateCommand(Row);
        command.Parameters.Add(new() { Value = blob });
        command.Parameters.Add(new() { Value = n });
        return command;
    }

    private InvalidDataException Lacks(int n) => new($"Blob {blob} lacks row {n}.");

    /// <summary>Decrypts the row in place.</summary>
    /// <exception cref="InvalidDataException">The row was changed, or does not have its length.</exception>
    private void Decrypt(int n, int received)
    {
        var last = n == Math.Max(0, (length - 1) / BlobRow.Size);
        var size = (int)Math.Min(BlobRow.Size, length - ((long)n * BlobRow.Size));
        if (received != size + BlobRow.TagSize)
        {
            throw Lacks(n);
        }

        BlobRow.Decrypt(_aes, blob, n, last, _row.AsSpan(0, received), _row.AsSpan(0, size));
        _loaded = n;
    }

    private int Take(Span<byte> buffer)
    {
        var at = (int)(Position % BlobRow.Size);
        var size = (int)Math.Min(BlobRow.Size, length - ((long)_loaded * BlobRow.Size));
        var take = Math.Min(buffer.Length, size - at);
        _row.AsSpan(at, take).CopyTo(buffer);
        Position += take;
        return take;
    }
}
