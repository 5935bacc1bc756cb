namespace SecureMail.Gateway.Outbound;

/// <summary>Octets of our own, then those of a stream: one seekable message. The SMTP client reads it twice, once to
/// inspect and once to send.</summary>
/// <param name="from">Where the stream is taken up; what stands before is never read.</param>
internal sealed class PrefixedStream(byte[] prefix, Stream rest, long from) : Stream
{
    private long _position;

    public override bool CanRead => true;

    public override bool CanSeek => true;

    public override bool CanWrite => false;

    public override long Length => prefix.Length + rest.Length - from;

    public override long Position
    {
        get => _position;
        set => _position = value;
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        int read;
        if (_position < prefix.Length)
        {
            read = (int)Math.Min(buffer.Length, prefix.Length - _position);
            prefix.AsSpan((int)_position, read).CopyTo(buffer.Span);
        }
        else
        {
            rest.Position = _position - prefix.Length + from;
            read = await rest.ReadAsync(buffer, cancellationToken);
        }

        _position += read;
        return read;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) =>
        throw new NotSupportedException("Read asynchronously.");

    public override long Seek(long offset, SeekOrigin origin) =>
        Position = origin switch
        {
            SeekOrigin.Begin => offset,
            SeekOrigin.Current => _position + offset,
            _ => Length + offset,
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
            rest.Dispose();
        }

        base.Dispose(disposing);
    }
}
