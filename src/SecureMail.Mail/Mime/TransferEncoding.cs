using System.Buffers;

namespace SecureMail.Mail.Mime;

/// <summary>
/// Writes bytes as base64 or quoted-printable with lines of at most 76 characters and CRLF (RFC 2045 §6.7, §6.8), so
/// that a relay has no reason to wrap, strip or convert them.
/// </summary>
internal static class TransferEncoding
{
    public static async Task WriteBase64Async(Stream source, Stream output, CancellationToken cancellationToken)
    {
        var encoder = new Base64Writer(output);
        await source.CopyToAsync(encoder, cancellationToken);
        await encoder.FinishAsync(cancellationToken);
    }

    /// <summary>
    /// Writes text as quoted-printable. Line ends, CRLF or LF, are written as CRLF (RFC 2045 §6.7 rule 4).
    /// </summary>
    public static async Task WriteQuotedPrintableAsync(
        Stream source, Stream output, CancellationToken cancellationToken)
    {
        var encoder = new QuotedPrintableLine();
        var input = new byte[8192];
        var encoded = new ArrayBufferWriter<byte>(32 * 1024);
        for (int read; (read = await source.ReadAsync(input, cancellationToken)) > 0;)
        {
            foreach (var b in input.AsSpan(0, read))
            {
                encoder.Add(b, encoded);
            }

            await output.WriteAsync(encoded.WrittenMemory, cancellationToken);
            encoded.ResetWrittenCount();
        }

        encoder.Finish(encoded);
        await output.WriteAsync(encoded.WrittenMemory, cancellationToken);
    }

    /// <summary>
    /// Encodes byte by byte into one line. A CR is held until the next byte shows whether the line ends.
    /// </summary>
    private sealed class QuotedPrintableLine
    {
        private readonly byte[] _line = new byte[80];
        private int _length;
        private bool _afterCr;

        public void Add(byte b, ArrayBufferWriter<byte> output)
        {
            if (b == '\n')
            {
                _afterCr = false;
                EndLine(output);
                return;
            }

            if (_afterCr)
            {
                Put((byte)'\r', output); // a CR without LF is data
            }

            _afterCr = b == '\r';
            if (!_afterCr)
            {
                Put(b, output);
            }
        }

        public void Finish(ArrayBufferWriter<byte> output)
        {
            if (_afterCr)
            {
                Put((byte)'\r', output);
            }

            _afterCr = false;
            if (_length == 0)
            {
                return;
            }
            // The text does not end with a line end, so the last line is written with a soft line break.
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

        private void Put(byte b, ArrayBufferWriter<byte> output)
        {
            var literal = b is >= 33 and <= 126 and not (byte)'=' or (byte)' ' or (byte)'\t';
            if (_length + (literal ? 1 : 3) > 75)
            {
                SoftBreak(output);
            }
            // RFC 2045 does not require this, but some relays change "From ", "." and "-" at the start of a line.
            literal &= _length > 0 || b is not ((byte)'F' or (byte)'.' or (byte)'-');
            if (literal)
            {
                _line[_length++] = b;
            }
            else
            {
                PutEscaped(b);
            }
        }

        private void PutEscaped(byte b)
        {
            _line[_length++] = (byte)'=';
            _line[_length++] = Digit(b >> 4);
            _line[_length++] = Digit(b & 15);
        }

        private void ProtectLastBlank(ArrayBufferWriter<byte> output)
        {
            if (_length == 0 || _line[_length - 1] is not ((byte)' ' or (byte)'\t'))
            {
                return;
            }

            var blank = _line[--_length];
            if (_length + 3 > 75)
            {
                SoftBreak(output);
            }

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
