using System.Runtime.CompilerServices;
using SecureMail.Shared;

namespace SecureMail.Mail.Mime;

/// <summary>The received bytes, and streams over ranges of them. All ranges share one stream and its position, so one
/// message is read by one thread at a time.</summary>
internal sealed class ByteSource
{
    /// <exception cref="ArgumentException">The stream is not readable or not seekable.</exception>
    public ByteSource(Stream stream)
    {
        if (!stream.CanSeek || !stream.CanRead)
        {
            throw new ArgumentException("The stream must be readable and seekable.", nameof(stream));
        }

        Stream = stream;
    }

    public Stream Stream { get; }

    /// <summary>The bytes from offset <paramref name="start"/> to before offset <paramref name="end"/>. Disposing the
    /// range leaves the source open.</summary>
    public Stream OpenRange(long start, long end) => new RangeStream(Stream, start, end);

    private sealed class RangeStream(Stream inner, long start, long end) : SeekableReadStream
    {
        public override long Length => end - start;

        public override int Read(Span<byte> buffer)
        {
            var count = CountFor(buffer.Length);
            if (count == 0)
            {
                return 0;
            }

            inner.Position = start + Position;
            var read = inner.Read(buffer[..count]);
            Position += read;
            return read;
        }

        [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
        public override async ValueTask<int> ReadAsync(
            Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var count = CountFor(buffer.Length);
            if (count == 0)
            {
                return 0;
            }

            inner.Position = start + Position;
            var read = await inner.ReadAsync(buffer[..count], cancellationToken);
            Position += read;
            return read;
        }

        private int CountFor(int wanted) => (int)Math.Clamp(Length - Position, 0, wanted);
    }
}
