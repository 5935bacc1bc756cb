using System.Buffers;

namespace SecureMail.Mail.Mime;

/// <summary>
/// Writes octets as base64 or quoted-printable with lines of at most 76 characters and CRLF (RFC 2045 §6.7, §6.8):
/// nothing a relay would wrap, strip or convert.
/// </summary>
internal static class TransferEncoding
{
    public static async Task WriteBase64Async(Stream source, Stream output, CancellationToken cancellationToken)
    {
        var encoder = new Base64Writer(output);
        await source.CopyToAsync(encoder, cancellationToken);
        await encoder.FinishAsync(cancellationToken);
    }

    /// <summary>Text whose line ends, CRLF or LF, become CRLF (RFC 2045 §6.7 rule 4).</summary>
    public static async Task WriteQuotedPrintableAsync(
        Stream source, Stream output, CancellationToken cancellationToken)
    {
        var encoder = new QuotedPrintableLine();
        var input = new byte[8192];
        var encoded = new ArrayBufferWriter<byte>(32 * 1024);
        for (int read; (read = await source.ReadAsync(input, cancellationToken)) > 0;)
        {
            foreach (var octet in input.AsSpan(0, read))
            {
                encoder.Add(octet, encoded);
            }

            await output.WriteAsync(encoded.WrittenMemory, cancellationToken);
            encoded.ResetWrittenCount();
        }

        encoder.Finish(encoded);
        await output.WriteAsync(encoded.WrittenMemory, cancellationToken);
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
            {
                Put((byte)'\r', output); // a CR alone is data
            }

            _afterCr = octet == '\r';
            if (!_afterCr)
            {
                Put(octet, output);
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
            {
                SoftBreak(output);
            }
            // Not by RFC 2045, but relays are known to change "From ", "." and "-" at the start of a line.
            literal &= _length > 0 || octet is not ((byte)'F' or (byte)'.' or (byte)'-');
            if (literal)
            {
                _line[_length++] = octet;
            }
            else
            {
                PutEscaped(octet);
            }
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

/// <summary>Encodes what is written to it. <see cref="FinishAsync"/> writes the last line; the stream below stays
/// open.</summary>
internal sealed class Base64Writer(Stream output) : Stream
{
    private const int Line = 57; // octets that make one line of 76
    private const int Characters = 76;
    private const int LinesAtOnce = 512;
    private const int Block = Line * LinesAtOnce;
    private readonly byte[] _held = new byte[Block];
    private readonly byte[] _characters = new byte[Characters * LinesAtOnce];
    private readonly byte[] _lines = new byte[(Characters + 2) * LinesAtOnce];
    private int _heldCount;

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override async ValueTask WriteAsync(
        ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (Next(ref buffer) is var ready && !ready.IsEmpty)
        {
            await output.WriteAsync(Encode(ready.Span), cancellationToken);
        }
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Write(byte[] buffer, int offset, int count)
    {
        ReadOnlyMemory<byte> rest = buffer.AsMemory(offset, count);
        while (Next(ref rest) is var ready && !ready.IsEmpty)
        {
            output.Write(Encode(ready.Span).Span);
        }
    }

    /// <summary>Writes the last line, which may be short.</summary>
    public async Task FinishAsync(CancellationToken cancellationToken)
    {
        var last = Encode(_held.AsSpan(0, _heldCount));
        _heldCount = 0;
        await output.WriteAsync(last, cancellationToken);
    }

    public override void Flush() { }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    /// <summary>The next block to encode, straight from what is written where nothing is held; empty when it does not
    /// make one yet, and is held.</summary>
    private ReadOnlyMemory<byte> Next(ref ReadOnlyMemory<byte> rest)
    {
        if (_heldCount == 0 && rest.Length >= Block)
        {
            var whole = rest[..Block];
            rest = rest[Block..];
            return whole;
        }

        var count = Math.Min(rest.Length, Block - _heldCount);
        rest[..count].CopyTo(_held.AsMemory(_heldCount));
        rest = rest[count..];
        _heldCount += count;
        if (_heldCount < Block)
        {
            return default;
        }

        _heldCount = 0;
        return _held;
    }

    /// <summary>All at once, then cut into lines: the encoder is at its best in long runs.</summary>
    private ReadOnlyMemory<byte> Encode(ReadOnlySpan<byte> octets)
    {
        System.Buffers.Text.Base64.EncodeToUtf8(octets, _characters, out _, out var count);
        ReadOnlySpan<byte> from = _characters.AsSpan(0, count);
        var to = _lines.AsSpan();
        for (; from.Length >= Characters; from = from[Characters..], to = to[(Characters + 2)..])
        {
            from[..Characters].CopyTo(to);
            to[Characters] = (byte)'\r';
            to[Characters + 1] = (byte)'\n';
        }

        if (!from.IsEmpty)
        {
            from.CopyTo(to);
            "\r\n"u8.CopyTo(to[from.Length..]);
            to = to[(from.Length + 2)..];
        }

        return _lines.AsMemory(0, _lines.Length - to.Length);
    }
}
