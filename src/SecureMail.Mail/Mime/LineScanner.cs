namespace SecureMail.Mail.Mime;

/// <summary>
/// Reads a seekable stream line by line and reports the offset of each line. The scanner holds one buffer, whatever the
/// size of the mail. A line that does not fit into the buffer is skipped and reported as <see cref="IsLong"/>; neither
/// a delimiter nor a legal header line is that long.
/// </summary>
/// <param name="stream">The whole text; seekable.</param>
/// <param name="start">Offset of the first line.</param>
internal sealed class LineScanner(Stream stream, long start, MimeReaderOptions options)
{
    private const int BufferSize = 64 * 1024;

    // A small mail gets a buffer of its own size; no line is longer than the mail.
    private readonly byte[] _buffer = new byte[Math.Clamp(stream.Length + 1, 256, BufferSize)];
    private readonly bool _bareLf = options.Allows(MimeLeniency.BareLineFeeds);
    private readonly bool _binary = options.Allows(MimeLeniency.BinaryBodies);
    private long _bufferOffset = start;
    private int _start;
    private int _end;
    private int _next;

    /// <summary>Offset of the current line.</summary>
    public long LineOffset { get; private set; }

    /// <summary>The current line without its end; empty when <see cref="IsLong"/>.</summary>
    public ReadOnlySpan<byte> Line => _buffer.AsSpan(_start, LineLength);

    public int LineLength { get; private set; }

    public bool IsLong { get; private set; }

    /// <summary>Whether the current line holds a bare CR or a NUL. Both are legal in binary bodies only.</summary>
    public bool HasStrayBytes { get; private set; }

    /// <summary>Length of the line end in bytes: 2 for CRLF, 1 for LF, 0 for a last line without line end.</summary>
    public int EndLength { get; private set; }

    /// <summary>
    /// <see cref="EndLength"/> of the previous line. That line end belongs to a delimiter that follows it (RFC 2046
    /// §5.1.1).
    /// </summary>
    public int PreviousEndLength { get; private set; }

    /// <summary>Offset of the next line.</summary>
    public long NextOffset => _bufferOffset + _next;

    public bool MoveNext()
    {
        PreviousEndLength = EndLength;
        _start = _next;
        LineOffset = _bufferOffset + _start;
        IsLong = false;
        HasStrayBytes = false;
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

                return EndLine(_end, 0);
            }

            scanned += found;
            switch (_buffer[scanned])
            {
                case (byte)'\n':
                    if (!_bareLf)
                    {
                        throw new MimeException(
                            MimeReason.BareLineEnd, "A line ends with LF alone, but only CRLF ends a line of mail.");
                    }

                    return EndLine(scanned, 1);
                case (byte)'\r':
                    if (scanned + 1 == _end && !Fill(ref scanned))
                    {
                        MarkStrayByte();
                    }
                    else if (_buffer[scanned + 1] == (byte)'\n')
                    {
                        return EndLine(scanned, 2);
                    }
                    else
                    {
                        MarkStrayByte();
                    }

                    scanned++;
                    break;
                default:
                    MarkStrayByte();
                    scanned++;
                    break;
            }
        }
    }

    /// <summary>
    /// Moves to the next line that begins with "--", as delimiters do; false at the end. Where the options allow bare
    /// line ends and NUL, no line can be refused, so the stream is searched for LF and two dashes instead of line by
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

        // Start at the end of this line, because the delimiter may follow directly.
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

            // Keep the last three bytes, because they may be the beginning of a match: CR, LF, dash.
            var keep = Math.Max(from, _end - 3);
            _buffer.AsSpan(keep, _end - keep).CopyTo(_buffer);
            _bufferOffset += keep;
            _end -= keep;
            (_start, _next, from) = (0, _end, 0);
            if (!Read())
            {
                return MoveNext(); // sets the properties to those of the end of the stream
            }
        }
    }

    /// <summary>
    /// Moves after the last line without reading the lines between. Returns false, and moves nowhere, where a line
    /// could be refused; see <see cref="MoveNextDashes"/>.
    /// </summary>
    public bool TryMoveToEnd()
    {
        if (!_bareLf || !_binary)
        {
            return false;
        }

        (_bufferOffset, _start, _next, _end) = (stream.Length, 0, 0, 0);
        return !MoveNext();
    }

    private void MarkStrayByte()
    {
        if (!_binary)
        {
            throw new MimeException(MimeReason.BareLineEnd, "The mail holds a CR without LF, or a NUL.");
        }

        HasStrayBytes = true;
    }

    private bool EndLine(int lineEnd, int endLength)
    {
        LineLength = IsLong ? 0 : lineEnd - _start;
        EndLength = endLength;
        _next = lineEnd + endLength;
        return IsLong || LineLength > 0 || endLength > 0;
    }

    /// <summary>
    /// Appends bytes to the buffer and moves <paramref name="scanned"/> along with the buffered bytes. False at the end
    /// of the stream.
    /// </summary>
    private bool Fill(ref int scanned)
    {
        if (_end == _buffer.Length)
        {
            // The line may be longer than the buffer: drop the scanned bytes and keep the others.
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
