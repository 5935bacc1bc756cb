namespace SecureMail.Mail.Smtp.Client;

/// <summary>
/// A message to be sent as DATA. The whole message is checked before anything is sent, then written with its dots
/// stuffed (RFC 5321 §4.5.2).
/// </summary>
internal sealed class OutgoingData
{
    private const int MaxLine = 998; // RFC 5321 §4.5.3.1.6, without CRLF
    private readonly Stream _message;
    private readonly long _origin;
    private bool _endsWithLine;

    private OutgoingData(Stream message)
    {
        _message = message;
        _origin = message.Position;
    }

    /// <summary>Size in bytes without stuffed dots (RFC 1870 §3). A missing last CRLF is counted.</summary>
    public long Size { get; private set; }

    public bool HasEightBit { get; private set; }

    /// <exception cref="SmtpException">Permanent, Message: the message holds a bare CR or LF, a NUL or a line that is
    /// too long, or it is empty.</exception>
    public static async Task<OutgoingData> InspectAsync(Stream message, CancellationToken cancellationToken)
    {
        if (!message.CanSeek)
        {
            throw new ArgumentException("The message is read twice, so its stream must be seekable.", nameof(message));
        }

        var data = new OutgoingData(message);
        var buffer = new byte[64 * 1024];
        byte previous = 0;
        var column = 0;
        for (int read; (read = await message.ReadAsync(buffer, cancellationToken)) > 0;)
        {
            data.Size += read;
            data.HasEightBit |= buffer.AsSpan(0, read).IndexOfAnyInRange((byte)128, (byte)255) >= 0;
            Inspect(buffer.AsSpan(0, read), ref previous, ref column);
        }

        if (previous == '\r' || data.Size == 0)
        {
            throw Refused("The message is empty or ends with a CR without LF.");
        }

        data._endsWithLine = previous == '\n';
        if (!data._endsWithLine)
        {
            data.Size += 2;
        }

        return data;
    }

    /// <summary>
    /// Writes the message and the final dot. <paramref name="beforeLast"/> is called before the write that contains the
    /// dot.
    /// </summary>
    public async Task WriteAsync(
        Func<ReadOnlyMemory<byte>, ValueTask> write, Action beforeLast, CancellationToken cancellationToken)
    {
        _message.Position = _origin;
        var input = new byte[32 * 1024];
        var output = new byte[(2 * input.Length) + 8];
        var atLineStart = true;
        while (true)
        {
            var read = await _message.ReadAtLeastAsync(
                input, input.Length, throwOnEndOfStream: false, cancellationToken);
            var count = Stuff(input.AsSpan(0, read), output, ref atLineStart);
            if (read == input.Length)
            {
                await write(output.AsMemory(0, count));
                continue;
            }

            var end = _endsWithLine ? ".\r\n"u8 : "\r\n.\r\n"u8;
            end.CopyTo(output.AsSpan(count));
            beforeLast();
            await write(output.AsMemory(0, count + end.Length));
            return;
        }
    }

    private static void Inspect(ReadOnlySpan<byte> bytes, ref byte previous, ref int column)
    {
        while (!bytes.IsEmpty)
        {
            if (previous == '\r')
            {
                if (bytes[0] != '\n')
                {
                    throw Refused("The message holds a CR without LF.");
                }

                previous = (byte)'\n';
                column = 0;
                bytes = bytes[1..];
                continue;
            }

            var end = bytes.IndexOfAny((byte)'\r', (byte)'\n', (byte)0);
            column += end < 0 ? bytes.Length : end;
            if (column > MaxLine)
            {
                throw Refused("The message holds a line longer than 998 bytes.");
            }

            if (end < 0)
            {
                previous = bytes[^1];
                return;
            }

            if (bytes[end] != '\r')
            {
                throw Refused("The message holds an LF without CR, or a NUL.");
            }

            previous = (byte)'\r';
            bytes = bytes[(end + 1)..];
        }
    }

    private static int Stuff(ReadOnlySpan<byte> input, Span<byte> output, ref bool atLineStart)
    {
        var count = 0;
        while (!input.IsEmpty)
        {
            if (atLineStart && input[0] == '.')
            {
                output[count++] = (byte)'.';
            }

            var end = input.IndexOf((byte)'\n');
            var line = end < 0 ? input : input[..(end + 1)];
            line.CopyTo(output[count..]);
            count += line.Length;
            atLineStart = end >= 0;
            input = input[line.Length..];
        }

        return count;
    }

    private static SmtpException Refused(string message) => new(SmtpOutcome.Permanent, SmtpFailure.Message, message);
}
