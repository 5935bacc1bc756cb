using SecureMail.Shared;

namespace SecureMail.Gateway.Outbound;

/// <summary>A prefix in memory, then the bytes of a stream: one seekable message. The SMTP client reads the message
/// twice, first to inspect and then to send. Disposing this stream disposes the inner one.</summary>
/// <param name="rest">A seekable stream.</param>
/// <param name="from">Where reading of <paramref name="rest"/> begins. The bytes before are never read.</param>
internal sealed class ConcatenatedStream(byte[] prefix, Stream rest, long from) : SeekableReadStream
{
    public override long Length => prefix.Length + rest.Length - from;

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        int read;
        if (Position < prefix.Length)
        {
            read = (int)Math.Min(buffer.Length, prefix.Length - Position);
            prefix.AsSpan((int)Position, read).CopyTo(buffer.Span);
        }
        else
        {
            rest.Position = Position - prefix.Length + from;
            read = await rest.ReadAsync(buffer, cancellationToken);
        }

        Position += read;
        return read;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            rest.Dispose();
        }

        base.Dispose(disposing);
    }
}
