namespace SecureMail.Mail.Mime;

/// <summary>
/// Walks the lines of a seekable stream and knows the offset of each. Holds one buffer whatever the size of the mail: a
/// line that does not fit is passed over and reported as <see cref="IsLong"/>, since neither a delimiter nor a legal
/// header is that long.
/// </summary>
internal sealed class LineScanner(Stream stream, MimeReaderOptions options)
{
    private const int BufferSize = 64 * 1024;

    // A small mail gets a small buffer: it holds all of it, so no line is longer.
    private readonly byte[] _buffer = new byte[Math.Clamp(stream.Length + 1, 256, BufferSize)];
    private readonly bool _bareLf = options.Allows(MimeLeniency.BareLineFeeds);
    private readonly bool _binary = options.Allows(MimeLeniency.BinaryBodies);
    private long _bufferOffset;
    private int _start;
    private int _end;
    private int _next;

    /// <summary>Offset of the current line.</summary>
    public long LineOffset { get; private set; }

    /// <summary>The current line without its end; empty when <see cref="IsLong"/>.</summary>
    public ReadOnlySpan<byte> Line => _buffer.AsSpan(_start, LineLength);

    public int LineLength { get; private set; }

    public bool IsLong { get; private set; }

    /// <summary>Whether the current line holds a bare CR or a NUL: legal only in binary bodies, never in
    /// headers.</summary>
    public bool HasStrayOctets { get; private set; }

    /// <summary>Octets of the line end: 2, 1 or, for the last line of a truncated text, 0.</summary>
    public int EndLength { get; private set; }

    /// <summary>The same of the line before: it belongs to a delimiter that follows (RFC 2046 §5.1.1).</summary>
    public int PreviousEndLength { get; private set; }

    /// <summary>Offset just behind the current line and its end; the offset of the next line.</summary>
    public long NextOffset => _bufferOffset + _next;

    public bool MoveNext()
    {
        PreviousEndLength = EndLength;
        _start = _next;
        LineOffset = _bufferOffset + _start;
        IsLong = false;
        HasStrayOctets = false;
        LineLength = 0;
        EndLength = 0;
        var scanned = _start;
        while (true)
        {
            var found = _buffer.AsSpan(scanned, _end - scanned).IndexOfAny((byte)'\r', (byte)'\n', (byte)0);
            if (found < 0)
            {
                scanned = _end;
                if (Fill(ref scanned))
                {
                    continue;
                }

                return Finish(_end, 0);
            }

            scanned += found;
            switch (_buffer[scanned])
            {
                case (byte)'\n':
                    if (!_bareLf)
                    {
                        throw new MimeException(
                            MimeReason.BareLineEnd, "A line ends with LF alone; only CRLF ends a line of mail.");
                    }

                    return Finish(scanned, 1);
                case (byte)'\r':
                    if (scanned + 1 == _end && !Fill(ref scanned))
                    {
                        Stray();
                    }
                    else if (_buffer[scanned + 1] == (byte)'\n')
                    {
                        return Finish(scanned, 2);
                    }
                    else
                    {
                        Stray();
                    }

                    scanned++;
                    break;
                default:
                    Stray();
                    scanned++;
                    break;
            }
        }
    }

    /// <summary>
    /// Moves to the next line that begins with "--", as delimiters do; false at the end. Where bare line ends and NUL
    /// are forgiven nothing between can be refused, and it is searched for those three octets alone instead of line by
    /// line.
    /// </summary>
    public bool MoveNextDashes()
    {
        if (!MoveNext())
        {
            return false;
        }

        if (Line.StartsWith("--"u8))
        {
            return true;
        }

        if (!_bareLf || !_binary)
        {
            while (MoveNext())
            {
                if (Line.StartsWith("--"u8))
                {
                    return true;
                }
            }

            return false;
        }

        // From the end of this line on: the delimiter may stand right behind it.
        for (var from = _next - EndLength; ;)
        {
            var found = _buffer.AsSpan(from, _end - from).IndexOf("\n--"u8);
            if (found >= 0)
            {
                var at = from + found;
                EndLength = at > 0 && _buffer[at - 1] == (byte)'\r' ? 2 : 1;
                _next = at + 1;
                return MoveNext();
            }

            // The last octets may begin what is searched for: CR, LF, dash.
            var keep = Math.Max(from, _end - 3);
            _buffer.AsSpan(keep, _end - keep).CopyTo(_buffer);
            _bufferOffset += keep;
            _end -= keep;
            (_start, _next, from) = (0, _end, 0);
            if (!Read())
            {
                return MoveNext(); // sets what the end of the stream is
            }
        }
    }

    /// <summary>Moves behind the last line without a look at any, where nothing could be refused; see
    /// <see cref="MoveNextDashes"/>.</summary>
    public bool TryMoveToEnd()
    {
        if (!_bareLf || !_binary)
        {
            return false;
        }

        (_bufferOffset, _start, _next, _end) = (stream.Length, 0, 0, 0);
        return !MoveNext();
    }

    private void Stray()
    {
        if (!_binary)
        {
            throw new MimeException(MimeReason.BareLineEnd, "A CR without LF, or a NUL, stands in the mail.");
        }

        HasStrayOctets = true;
    }

    private bool Finish(int lineEnd, int endLength)
    {
        LineLength = IsLong ? 0 : lineEnd - _start;
        EndLength = endLength;
        _next = lineEnd + endLength;
        return IsLong || LineLength > 0 || endLength > 0;
    }

    /// <summary>Reads more behind what is buffered; <paramref name="scanned"/> moves along. False at the end of the
    /// stream.</summary>
    private bool Fill(ref int scanned)
    {
        if (_end == _buffer.Length)
        {
            // A line longer than the buffer: let go of what was scanned, keep what was not.
            if (_start == 0)
            {
                IsLong = true;
            }

            var keep = IsLong ? scanned : _start;
            _buffer.AsSpan(keep, _end - keep).CopyTo(_buffer);
            _bufferOffset += keep;
            _end -= keep;
            scanned -= keep;
            _start = 0;
        }

        return Read();
    }

    private bool Read()
    {
        stream.Position = _bufferOffset + _end;
        var read = stream.Read(_buffer, _end, _buffer.Length - _end);
        _end += read;
        return read > 0;
    }
}
