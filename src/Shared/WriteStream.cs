namespace SecureMail.Shared;

/// <summary>
/// A stream that is only appended to. A subclass overrides <see cref="Write(ReadOnlySpan{byte})"/>,
/// <see cref="WriteAsync(ReadOnlyMemory{byte}, CancellationToken)"/> or both; the array overloads call these. The base
/// copies nothing and allocates nothing for a write, except the Task that the array overload of WriteAsync must return.
/// </summary>
internal abstract class WriteStream : Stream
{
    public sealed override bool CanRead => false;

    public sealed override bool CanSeek => false;

    public sealed override bool CanWrite => true;

    public override long Length => throw NotSeekable();

    /// <summary>The end, because the stream is only appended to: <see cref="Length"/>.</summary>
    public override long Position
    {
        get => Length;
        set => throw NotSeekable();
    }

    /// <summary>Writes synchronously. A subclass that does not override this method is asynchronous only.</summary>
    /// <exception cref="NotSupportedException">The stream is asynchronous only.</exception>
    public override void Write(ReadOnlySpan<byte> buffer) =>
        throw new NotSupportedException("This stream is written asynchronously only.");

    /// <summary>Writes asynchronously. A subclass that does not override this method is written by
    /// <see cref="Write(ReadOnlySpan{byte})"/> on the calling thread, which is right where a write does not
    /// wait.</summary>
    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return ValueTask.FromCanceled(cancellationToken);
        }

        Write(buffer.Span);
        return ValueTask.CompletedTask;
    }

    public sealed override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public sealed override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    /// <summary>Does nothing. A subclass that passes on what is written overrides this method and
    /// <see cref="FlushAsync(CancellationToken)"/>.</summary>
    public override void Flush()
    {
        // What is held back until a unit is complete (a line, a row) cannot be written earlier.
    }

    /// <summary>Calls <see cref="Flush"/> on the calling thread.</summary>
    public override Task FlushAsync(CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return Task.FromCanceled(cancellationToken);
        }

        Flush();
        return Task.CompletedTask;
    }

    public sealed override int Read(byte[] buffer, int offset, int count) => throw NotReadable();

    public sealed override int Read(Span<byte> buffer) => throw NotReadable();

    public sealed override Task<int> ReadAsync(
        byte[] buffer, int offset, int count, CancellationToken cancellationToken) => throw NotReadable();

    public sealed override ValueTask<int> ReadAsync(
        Memory<byte> buffer, CancellationToken cancellationToken = default) => throw NotReadable();

    public sealed override long Seek(long offset, SeekOrigin origin) => throw NotSeekable();

    public sealed override void SetLength(long value) => throw NotSeekable();

    private static NotSupportedException NotReadable() => new("This stream is write only.");

    private static NotSupportedException NotSeekable() => new("This stream is not seekable.");
}
