using Npgsql;

namespace SecureMail.Storage;

/// <summary>A blob that is read before and inside a transaction. Inside it the rows come over the transaction's own
/// connection, because a second one could be missing when many transactions wait for one.</summary>
public sealed class BlobReader : IAsyncDisposable
{
    private readonly BlobReadStream _stream;

    internal BlobReader(BlobReadStream stream) => _stream = stream;

    /// <summary>The content; seekable.</summary>
    public Stream Content => _stream;

    /// <summary>Reads over the connection of a transaction from now on. The caller runs no other command on it while it
    /// reads.</summary>
    public void ReadIn(NpgsqlTransaction transaction) => _stream.Transaction = transaction;

    public ValueTask DisposeAsync() => _stream.DisposeAsync();
}
