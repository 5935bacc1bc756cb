namespace SecureMail.Shared;

// The files of this folder are compiled into each project that uses them (<Compile Include="../Shared/*.cs" />), not
// referenced, because no project stands below all of these: Mail and Pkcs11 reference nothing, and a project for three
// base classes would be a dependency of every other. They are internal, so a public class cannot derive from them, and
// a test that sees the internals of several projects cannot name them.

/// <summary>
/// A stream that is read from its beginning to its end and never written. A subclass overrides
/// <see cref="Read(Span{byte})"/>, <see cref="ReadAsync(Memory{byte}, CancellationToken)"/> or both; the array
/// overloads call these. The base copies nothing and allocates nothing for a read, except the Task that the array
/// overload of ReadAsync must return.
/// </summary>
internal abstract class ReadStream : Stream
{
    public sealed override bool CanRead => true;

    public sealed override bool CanWrite => false;

    public override bool CanSeek => false;

    public override long Length => throw NotSeekable();

    public override long Position
    {
        get => throw NotSeekable();
        set => throw NotSeekable();
    }

    /// <summary>Reads synchronously. A subclass that does not override this method is asynchronous only.</summary>
    /// <exception cref="NotSupportedException">The stream is asynchronous only.</exception>
    public override int Read(Span<byte> buffer) =>
        throw new NotSupportedException("This stream is read asynchronously only.");

    /// <summary>Reads asynchronously. A subclass that does not override this method is read by
    /// <see cref="Read(Span{byte})"/> on the calling thread, which is right where a read does not wait: over memory,
    /// or over a stream that is itself synchronous.</summary>
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        cancellationToken.IsCancellationRequested
            ? ValueTask.FromCanceled<int>(cancellationToken)
            : ValueTask.FromResult(Read(buffer.Span));

    public sealed override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public sealed override Task<int> ReadAsync(
        byte[] buffer, int offset, int count,
        CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override long Seek(long offset, SeekOrigin origin) => throw NotSeekable();

    public sealed override void Flush()
    {
        // Nothing is written to this stream.
    }

    public sealed override void SetLength(long value) => throw NotWritable();

    public sealed override void Write(byte[] buffer, int offset, int count) => throw NotWritable();

    public sealed override void Write(ReadOnlySpan<byte> buffer) => throw NotWritable();

    public sealed override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        throw NotWritable();

    public sealed override ValueTask WriteAsync(
        ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => throw NotWritable();

    private static NotSupportedException NotSeekable() => new("This stream is not seekable.");

    private static NotSupportedException NotWritable() => new("This stream is read only.");
}
