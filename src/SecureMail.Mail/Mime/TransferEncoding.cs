using System.Buffers;
using System.Buffers.Text;

namespace SecureMail.Mail;

/// <summary>
/// Writes octets as base64 or quoted-printable with lines of at most 76 characters and CRLF (RFC 2045 §6.7, §6.8): nothing a relay would
/// wrap, strip or convert. Dispose or <see cref="FinishAsync"/> does not close the stream below.
/// </summary>
internal static class TransferEncoding
{
    private const int Chunk = 57 * 512; // 57 octets make one line of 76

    public static async Task WriteBase64Async(Stream source, Stream output, CancellationToken ct)
    {
        var input = ArrayPool<byte>.Shared.Rent(Chunk);
        var encoded = ArrayPool<byte>.Shared.Rent(78 * 512);
        try
        {
            int read;
            do
            {
                read = await source.ReadAtLeastAsync(input.AsMemory(0, Chunk), Chunk, throwOnEndOfStream: false, ct);
                await output.WriteAsync(encoded.AsMemory(0, EncodeLines(input.AsSpan(0, read), encoded)), ct);
            }
            while (read == Chunk);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(input, clearArray: true);
            ArrayPool<byte>.Shared.Return(encoded, clearArray: true);
        }
    }

    /// <summary>Text whose line ends, CRLF or LF, become CRLF (RFC 2045 §6.7 rule 4).</summary>
    public static async Task WriteQuotedPrintableAsync(Stream source, Stream output, CancellationToken ct)
    {
        var encoder = new QuotedPrintableLine();
        var input = new byte[8192];
        var encoded = new ArrayBufferWriter<byte>(32 * 1024);
        for (int read; (read = await source.ReadAsync(input, ct)) > 0;)
        {
            foreach (var octet in input.AsSpan(0, read))
                encoder.Add(octet, encoded);
            await output.WriteAsync(encoded.WrittenMemory, ct);
            encoded.ResetWrittenCount();
        }

        encoder.Finish(encoded);
        await output.WriteAsync(encoded.WrittenMemory, ct);
    }

    private static int EncodeLines(ReadOnlySpan<byte> input, Span<byte> encoded)
    {
        var total = 0;
        while (!input.IsEmpty)
        {
            var line = input[..Math.Min(57, input.Length)];
            Base64.EncodeToUtf8(line, encoded[total..], out _, out var written);
            total += written;
            encoded[total++] = (byte)'\r';
            encoded[total++] = (byte)'\n';
            input = input[line.Length..];
        }

        return total;
    }

    /// <summary>One line in the making. An octet waits until the next one shows whether it ends the line.</summary>
    private sealed class QuotedPrintableLine
    {
        private readonly byte[] _line = new byte[80];
        private int _length;
        private bool _afterCr;

        public void Add(byte octet, ArrayBufferWriter<byte> output)
        {
            if (octet == '\n')
            {
                _afterCr = false;
                EndLine(output);
                return;
            }

            if (_afterCr)
                Put((byte)'\r', output); // a CR alone is data
            _afterCr = octet == '\r';
            if (!_afterCr)
                Put(octet, output);
        }

        public void Finish(ArrayBufferWriter<byte> output)
        {
            if (_afterCr)
                Put((byte)'\r', output);
            _afterCr = false;
            if (_length == 0)
                return;
            // The text ends within a line: a soft break keeps it so.
            ProtectLastBlank(output);
            SoftBreak(output);
        }

        private void EndLine(ArrayBufferWriter<byte> output)
        {
            ProtectLastBlank(output);
            output.Write(_line.AsSpan(0, _length));
            output.Write("\r\n"u8);
            _length = 0;
        }

        private void Put(byte octet, ArrayBufferWriter<byte> output)
        {
            var literal = octet is >= 33 and <= 126 and not (byte)'=' or (byte)' ' or (byte)'\t';
            if (_length + (literal ? 1 : 3) > 75)
                SoftBreak(output);
            // Not by RFC 2045, but relays are known to change "From ", "." and "-" at the start of a line.
            literal &= _length > 0 || octet is not ((byte)'F' or (byte)'.' or (byte)'-');
            if (literal)
                _line[_length++] = octet;
            else
                PutEscaped(octet);
        }

        private void PutEscaped(byte octet)
        {
            _line[_length++] = (byte)'=';
            _line[_length++] = Digit(octet >> 4);
            _line[_length++] = Digit(octet & 15);
        }

        private void ProtectLastBlank(ArrayBufferWriter<byte> output)
        {
            if (_length == 0 || _line[_length - 1] is not ((byte)' ' or (byte)'\t'))
                return;
            var blank = _line[--_length];
            if (_length + 3 > 75)
                SoftBreak(output);
            PutEscaped(blank);
        }

        private void SoftBreak(ArrayBufferWriter<byte> output)
        {
            output.Write(_line.AsSpan(0, _length));
            output.Write("=\r\n"u8);
            _length = 0;
        }

        private static byte Digit(int value) => (byte)(value < 10 ? '0' + value : 'A' + value - 10);
    }
}
