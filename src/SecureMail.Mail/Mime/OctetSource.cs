using System.Runtime.CompilerServices;

namespace SecureMail.Mail.Mime;

/// <summary>The received octets, and windows into them. Windows share the stream, so one message is read by one thread
/// at a time.</summary>
internal sealed class OctetSource
{
    public OctetSource(Stream stream)
    {
        if (!stream.CanSeek || !stream.CanRead)
        {
            throw new ArgumentException("The stream must be readable and seekable.", nameof(stream));
        }

        Stream = stream;
    }

    public Stream Stream { get; }

    public Stream Window(long start, long end) => new WindowStream(Stream, start, end);

    private sealed class WindowStream(Stream inner, long start, long end) : Stream
    {
        private readonly long _start = start;
        private long _position = start;

        public override bool CanRead => true;

        public override bool CanSeek => true;

        public override bool CanWrite => false;

        public override long Length => end - _start;

        public override long Position
        {
            get => _position - _start;
            set
            {
                ArgumentOutOfRangeException.ThrowIfNegative(value);
                _position = _start + value;
            }
        }

        public override int Read(Span<byte> buffer)
        {
            var count = (int)Math.Clamp(end - _position, 0, buffer.Length);
            if (count == 0)
            {
                return 0;
            }

            inner.Position = _position;
            var read = inner.Read(buffer[..count]);
            _position += read;
            return read;
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
        public override async ValueTask<int> ReadAsync(
            Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var count = (int)Math.Clamp(end - _position, 0, buffer.Length);
            if (count == 0)
            {
                return 0;
            }

            inner.Position = _position;
            var read = await inner.ReadAsync(buffer[..count], cancellationToken);
            _position += read;
            return read;
        }

        public override Task<int> ReadAsync(
            byte[] buffer,
            int offset,
            int count,
            CancellationToken cancellationToken
        ) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override long Seek(long offset, SeekOrigin origin) =>
            Position = origin switch
            {
                SeekOrigin.Begin => offset,
                SeekOrigin.Current => Position + offset,
                _ => Length + offset,
            };

        public override void Flush() { }

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
