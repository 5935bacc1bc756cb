namespace SecureMail.Mail.Smtp;

internal enum SmtpLineKind
{
    Line,

    /// <summary>The line is longer than allowed; it was read to its end and discarded.</summary>
    TooLong,

    /// <summary>The line holds a bare CR or a NUL; it was read to its end.</summary>
    IllegalBytes,

    /// <summary>
    /// The line holds a bare LF or fills the whole buffer without CRLF. Its end cannot be known, so the connection must
    /// be closed.
    /// </summary>
    Unbounded,

    /// <summary>The peer has closed the connection.</summary>
    End,
}

/// <summary>
/// Reads lines and raw bytes from one connection. Only CRLF ends a line (RFC 5321 §2.3.8), in commands and in replies.
/// <see cref="Reset"/> drops the buffered bytes and continues with another stream, because bytes sent in the clear
/// before TLS may not be taken for bytes sent under TLS (RFC 3207 §4.2).
/// </summary>
internal sealed class SmtpInput(Stream stream)
{
    private readonly byte[] _buffer = new byte[64 * 1024];
    private Stream _stream = stream;
    private int _start;
    private int _end;

    /// <summary>Whether received bytes are buffered: the peer is pipelining.</summary>
    public bool HasBuffered => _end > _start;

    /// <summary>
    /// Reads and consumes one line. <paramref name="limit"/> is its greatest length in bytes, without CRLF. The line is
    /// valid until the next read.
    /// </summary>
    public async ValueTask<(SmtpLineKind Kind, ReadOnlyMemory<byte> Line)> ReadLineAsync(
        int limit, CancellationToken cancellationToken)
    {
        var scanned = 0;
        var tooLong = false;
        while (true)
        {
            var end = _buffer.AsSpan(_start + scanned, _end - _start - scanned).IndexOf((byte)'\n');
            if (end >= 0)
            {
                var length = scanned + end;
                var line = _buffer.AsMemory(_start, length);
                _start += length + 1;
                if (length == 0 || line.Span[^1] != '\r')
                {
                    return (SmtpLineKind.Unbounded, default);
                }

                line = line[..^1];
                if (tooLong || line.Length > limit)
                {
                    return (SmtpLineKind.TooLong, default);
                }

                return line.Span.IndexOfAny((byte)'\r', (byte)0) >= 0
                    ? (SmtpLineKind.IllegalBytes, default)
                    : (SmtpLineKind.Line, line);
            }

            scanned = _end - _start;
            if (scanned == _buffer.Length)
            {
                return (SmtpLineKind.Unbounded, default);
            }

            tooLong = scanned > limit + 1;
            if (!await FillAsync(cancellationToken))
            {
                return (SmtpLineKind.End, default);
            }
        }
    }

    /// <summary>
    /// The buffered bytes, read from the peer when none are buffered; empty when the peer has closed the connection.
    /// <see cref="Advance"/> consumes them.
    /// </summary>
    public async ValueTask<ReadOnlyMemory<byte>> PeekAsync(CancellationToken cancellationToken)
    {
        if (!HasBuffered)
        {
            await FillAsync(cancellationToken);
        }

        return _buffer.AsMemory(_start, _end - _start);
    }

    public void Advance(int count) => _start += count;

    public void Reset(Stream stream)
    {
        _stream = stream;
        _start = 0;
        _end = 0;
    }

    private async ValueTask<bool> FillAsync(CancellationToken cancellationToken)
    {
        if (_start == _end)
        {
            (_start, _end) = (0, 0);
        }

        if (_end == _buffer.Length)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            (_start, _end) = (0, _end - _start);
        }

        var read = await _stream.ReadAsync(_buffer.AsMemory(_end), cancellationToken);
        _end += read;
        return read > 0;
    }
}
