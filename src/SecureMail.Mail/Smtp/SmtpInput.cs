namespace SecureMail.Mail.Smtp;

internal enum SmtpLineKind
{
    Line,

    /// <summary>Longer than allowed; it was read to its end and thrown away.</summary>
    TooLong,

    /// <summary>Holds a bare CR or a NUL; it was read to its end.</summary>
    BadOctets,

    /// <summary>Holds a bare LF, or has no end within any reason: where it ends cannot be known, so the connection
    /// must.</summary>
    Unbounded,

    /// <summary>The peer has gone.</summary>
    End,
}

/// <summary>
/// Reads lines and raw octets from one connection. Only CRLF ends a line (RFC 5321 §2.3.8), for commands and replies
/// alike. <see cref="Reset"/> forgets what is buffered and goes on with another stream: after STARTTLS nothing sent in
/// the clear may be taken for something said under TLS (RFC 3207 §4.2).
/// </summary>
internal sealed class SmtpInput(Stream stream)
{
    private readonly byte[] _buffer = new byte[64 * 1024];
    private Stream _stream = stream;
    private int _start;
    private int _end;

    /// <summary>Whether octets wait that were not yet looked at: the peer is pipelining.</summary>
    public bool HasBuffered => _end > _start;

    /// <summary>Reads and passes over one line; <paramref name="limit"/> counts without CRLF.</summary>
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
                    ? (SmtpLineKind.BadOctets, default)
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

    /// <summary>What is buffered, after reading when nothing is; empty when the peer has gone. <see cref="Advance"/>
    /// takes octets off it.</summary>
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
