namespace SecureMail.Mail.Smtp.Server;

/// <summary>
/// Finds the end of DATA and takes the stuffed dots out (RFC 5321 §4.5.2), whatever pieces the octets come in. Only
/// CRLF.CRLF ends the data (§4.1.1.4). A bare CR, a bare LF or a NUL makes <see cref="IsBad"/>; the reader then still
/// goes on to the true end, so that what a smuggler hid behind a false end is never read as a command.
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
    /// Reads from <paramref name="input"/>; unstuffed octets go to <paramref name="output"/>, which is as long. True
    /// when the data ended: what is behind <paramref name="consumed"/> is the next command.
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

            var octet = input[consumed++];
            if (_state == State.DotCr && octet == '\n')
            {
                return true;
            }

            Step(octet, output, ref written);
        }

        return false;
    }

    private void Step(byte octet, Span<byte> output, ref int written)
    {
        switch (_state)
        {
            case State.LineStart when octet == '.':
                _state = State.Dot;
                return; // §4.5.2: deleted, whatever follows
            case State.Dot when octet == '\r':
                _state = State.DotCr;
                return;
            case State.DotCr or State.Cr when octet != '\n':
                IsBad = true; // a bare CR
                break;
            case State.Cr:
                output[written++] = octet;
                _state = State.LineStart;
                return;
        }

        if (octet is (byte)'\n' or 0)
        {
            IsBad = true; // a bare LF or a NUL
        }

        output[written++] = octet;
        _state = octet == '\r' ? State.Cr : State.Text;
    }
}
