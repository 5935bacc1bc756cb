namespace SecureMail.Smime;

/// <summary>Reads text whose lines end with LF as if they ended with CRLF (RFC 8551 §3.1.1: what is signed is the
/// canonical form).</summary>
internal sealed class CrlfStream(Stream inner) : Stream
{
    private readonly byte[] _input = new byte[16 * 1024];
    private int _start;
    private int _end;
    private byte _previous;
    private bool _oweLf;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Whether the text holds an LF without CR before it.</summary>
    public static bool HasBareLf(Stream text)
    {
        var buffer = new byte[16 * 1024];
        byte previous = 0;
        for (int read; (read = text.Read(buffer)) > 0;)
        {
            for (var i = buffer.AsSpan(0, read).IndexOf((byte)'\n'); i >= 0 && i < read;)
            {
                if ((i == 0 ? previous : buffer[i - 1]) != '\r')
                {
                    return true;
                }

                var next = buffer.AsSpan(i + 1, read - i - 1).IndexOf((byte)'\n');
                i = next < 0 ? read : i + 1 + next;
            }

            previous = buffer[read - 1];
        }

        return false;
    }

    public override int Read(Span<byte> buffer)
    {
        if (_start == _end && !_oweLf)
        {
            _start = 0;
            _end = inner.Read(_input);
        }

        var written = 0;
        while (written < buffer.Length && (_oweLf || _start < _end))
        {
            if (_oweLf)
            {
                buffer[written++] = _previous = (byte)'\n';
                _oweLf = false;
                continue;
            }

            var octet = _input[_start++];
            if (octet == '\n' && _previous != '\r')
            {
                buffer[written++] = (byte)'\r';
                _oweLf = true;
                continue;
            }

            buffer[written++] = _previous = octet;
        }

        return written;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override void Flush() { }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            inner.Dispose();
        }

        base.Dispose(disposing);
    }
}
