using System.Buffers;

namespace SecureMail.Mail;

/// <summary>
/// Writes octets as base64 or quoted-printable with lines of at most 76 characters and CRLF (RFC 2045 §6.7, §6.8): nothing a relay would
/// wrap, strip or convert.
/// </summary>
internal static class TransferEncoding
{
    public static async Task WriteBase64Async(Stream source, Stream output, CancellationToken ct)
    {
        var encoder = new Base64Writer(output);
        await source.CopyToAsync(encoder, ct);
        await encoder.FinishAsync(ct);
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

/// <summary>Encodes what is written to it. <see cref="FinishAsync"/> writes the last line; the stream below stays open.</summary>
internal sealed class Base64Writer(Stream output) : Stream
{
    private const int Line = 57; // octets that make one line of 76
    private readonly byte[] _input = new byte[Line * 512];
    private readonly byte[] _encoded = new byte[78 * 512];
    private int _held;

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (!buffer.IsEmpty)
        {
            var count = Math.Min(buffer.Length, _input.Length - _held);
            buffer[..count].CopyTo(_input.AsMemory(_held));
            _held += count;
            buffer = buffer[count..];
            if (_held == _input.Length)
                await output.WriteAsync(_encoded.AsMemory(0, EncodeHeld()), cancellationToken);
        }
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            var count = Math.Min(buffer.Length, _input.Length - _held);
            buffer[..count].CopyTo(_input.AsSpan(_held));
            _held += count;
            buffer = buffer[count..];
            if (_held == _input.Length)
                output.Write(_encoded, 0, EncodeHeld());
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public async Task FinishAsync(CancellationToken ct) => await output.WriteAsync(_encoded.AsMemory(0, EncodeHeld()), ct);

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    private int EncodeHeld()
    {
        var input = _input.AsSpan(0, _held);
        var total = 0;
        while (!input.IsEmpty)
        {
            var line = input[..Math.Min(Line, input.Length)];
            System.Buffers.Text.Base64.EncodeToUtf8(line, _encoded.AsSpan(total), out _, out var written);
            total += written;
            _encoded[total++] = (byte)'\r';
            _encoded[total++] = (byte)'\n';
            input = input[line.Length..];
        }

        _held = 0;
        return total;
    }
}
