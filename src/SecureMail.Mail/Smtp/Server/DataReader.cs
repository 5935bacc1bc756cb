namespace SecureMail.Mail.Smtp.Server;

/// <summary>
/// Finds the end of DATA and removes the stuffed dots (RFC 5321 §4.5.2), in whatever pieces the bytes arrive. Only
/// CRLF.CRLF ends the data (§4.1.1.4). A bare CR, a bare LF or a NUL sets <see cref="IsBad"/>. The reader still
/// continues to the true end, so that text smuggled behind a false end is never read as a command.
/// </summary>
internal sealed class DataReader
{
    private State _state = State.LineStart;

    private enum State
    {
        LineStart,
        Dot,
        DotCr,
        Text,
        Cr,
    }

    public bool IsBad { get; private set; }

    /// <summary>
    /// Reads from <paramref name="input"/> and writes the unstuffed bytes to <paramref name="output"/>, which must be
    /// as long. True when the data ended: the next command begins at <paramref name="consumed"/>.
    /// </summary>
    public bool Feed(ReadOnlySpan<byte> input, Span<byte> output, out int consumed, out int written)
    {
        consumed = 0;
        written = 0;
        while (consumed < input.Length)
        {
            if (_state == State.Text)
            {
                var rest = input[consumed..];
                var plain = rest.IndexOfAny((byte)'\r', (byte)'\n', (byte)0);
                var run = plain < 0 ? rest : rest[..plain];
                run.CopyTo(output[written..]);
                written += run.Length;
                consumed += run.Length;
                if (plain < 0)
                {
                    return false;
                }
            }

            var b = input[consumed++];
            if (_state == State.DotCr && b == '\n')
            {
                return true;
            }

            Step(b, output, ref written);
        }

        return false;
    }

    private void Step(byte b, Span<byte> output, ref int written)
    {
        switch (_state)
        {
            case State.LineStart when b == '.':
                _state = State.Dot;
                return; // §4.5.2: the dot is deleted, whatever follows
            case State.Dot when b == '\r':
                _state = State.DotCr;
                return;
            case State.DotCr or State.Cr when b != '\n':
                IsBad = true; // a bare CR
                break;
            case State.Cr:
                output[written++] = b;
                _state = State.LineStart;
                return;
        }

        if (b is (byte)'\n' or 0)
        {
            IsBad = true; // a bare LF or a NUL
        }

        output[written++] = b;
        _state = b == '\r' ? State.Cr : State.Text;
    }
}
