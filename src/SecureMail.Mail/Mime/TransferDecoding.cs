using System.Buffers;
using System.Buffers.Text;

namespace SecureMail.Mail;

/// <summary>
/// Reads encoded octets in pieces and gives decoded ones. Subclasses turn a piece into output; what they cannot use yet they leave. The
/// same code serves blocking and asynchronous readers.
/// </summary>
internal abstract class DecoderStream(Stream inner) : Stream
{
    private readonly byte[] _input = new byte[32 * 1024];
    private readonly byte[] _output = new byte[32 * 1024];
    private int _inputStart;
    private int _inputEnd;
    private int _outputStart;
    private int _outputEnd;
    private bool _inputDone;
    private bool _done;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Decodes from <paramref name="input"/> into <paramref name="output"/>, which is at least as long. With <paramref name="last"/> nothing may be left over.</summary>
    protected abstract void Decode(ReadOnlySpan<byte> input, bool last, Span<byte> output, out int consumed, out int written);

    public override int Read(Span<byte> buffer)
    {
        while (_outputStart == _outputEnd && !_done)
        {
            if (!_inputDone)
                Received(inner.Read(_input, _inputEnd, _input.Length - _inputEnd));
            Step();
        }

        return Give(buffer);
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (_outputStart == _outputEnd && !_done)
        {
            if (!_inputDone)
                Received(await inner.ReadAsync(_input.AsMemory(_inputEnd), cancellationToken));
            Step();
        }

        return Give(buffer.Span);
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            inner.Dispose();
        base.Dispose(disposing);
    }

    private void Received(int count)
    {
        _inputEnd += count;
        _inputDone = count == 0;
    }

    private void Step()
    {
        Decode(_input.AsSpan(_inputStart, _inputEnd - _inputStart), _inputDone, _output, out var consumed, out _outputEnd);
        _outputStart = 0;
        var left = _inputEnd - _inputStart - consumed;
        _input.AsSpan(_inputStart + consumed, left).CopyTo(_input);
        _inputStart = 0;
        _inputEnd = left;
        _done = _inputDone;
    }

    private int Give(Span<byte> buffer)
    {
        var count = Math.Min(buffer.Length, _outputEnd - _outputStart);
        _output.AsSpan(_outputStart, count).CopyTo(buffer);
        _outputStart += count;
        return count;
    }
}

/// <summary>
/// RFC 2045 §6.8. Line ends and blanks are taken out first and the rest decoded in bulk. Any other octet outside the alphabet is an
/// error and not skipped, though the RFC lets a reader skip it: a footer pasted on by a relay must not vanish from sight.
/// </summary>
internal sealed class Base64Decoder(Stream inner) : DecoderStream(inner)
{
    private static readonly SearchValues<byte> Blanks = SearchValues.Create("\r\n \t"u8);
    private readonly byte[] _compact = new byte[(32 * 1024) + 4];
    private int _kept;
    private bool _padded;

    protected override void Decode(ReadOnlySpan<byte> input, bool last, Span<byte> output, out int consumed, out int written)
    {
        consumed = input.Length;
        var count = _kept;
        while (!input.IsEmpty)
        {
            var blank = input.IndexOfAny(Blanks);
            var run = blank < 0 ? input : input[..blank];
            run.CopyTo(_compact.AsSpan(count));
            count += run.Length;
            input = blank < 0 ? default : input[(blank + 1)..];
        }

        var whole = count & ~3;
        if (_padded && count > 0)
            throw Bad();
        if (last && whole != count)
            throw Bad();
        if (Base64.DecodeFromUtf8(_compact.AsSpan(0, whole), output, out var used, out written, isFinalBlock: true) != OperationStatus.Done || used != whole)
            throw Bad();
        _padded = whole > 0 && _compact[whole - 1] == (byte)'=';
        _kept = count - whole;
        _compact.AsSpan(whole, _kept).CopyTo(_compact);
        if (_padded && _kept > 0)
            throw Bad();
    }

    private static MimeException Bad() => new(MimeReason.BadEncoding, "A part does not decode as base64: it is truncated or something was added to it.");
}

/// <summary>RFC 2045 §6.7. White space at the end of a line was added by a relay and goes (rule 3); "=" before anything but hex or a line end is an error.</summary>
internal sealed class QuotedPrintableDecoder(Stream inner) : DecoderStream(inner)
{
    private static readonly SearchValues<byte> Special = SearchValues.Create("=\r\n \t"u8);

    protected override void Decode(ReadOnlySpan<byte> input, bool last, Span<byte> output, out int consumed, out int written)
    {
        consumed = 0;
        written = 0;
        while (consumed < input.Length)
        {
            var rest = input[consumed..];
            var plain = rest.IndexOfAny(Special);
            if (plain != 0)
            {
                var run = plain < 0 ? rest : rest[..plain];
                run.CopyTo(output[written..]);
                written += run.Length;
                consumed += run.Length;
                continue;
            }

            int took;
            if (rest[0] == (byte)'=')
                took = Escape(rest, last, output, ref written);
            else
                took = Blank(rest, last, output, ref written);
            if (took == 0)
            {
                if (rest.Length > 16 * 1024)
                    throw new MimeException(MimeReason.BadEncoding, "A quoted-printable part has an endless run of blanks.");
                return; // more input decides
            }

            consumed += took;
        }
    }

    /// <summary>An escape or a soft line break; 0 when more input is needed.</summary>
    private static int Escape(ReadOnlySpan<byte> rest, bool last, Span<byte> output, ref int written)
    {
        var after = 1;
        while (after < rest.Length && rest[after] is (byte)' ' or (byte)'\t')
            after++;
        if (after >= rest.Length)
            return last ? rest.Length : 0; // a soft break at the very end
        if (rest[after] == (byte)'\n')
            return after + 1;
        if (rest[after] == (byte)'\r')
        {
            if (after + 1 >= rest.Length)
                return last ? throw Bad() : 0;
            return rest[after + 1] == (byte)'\n' ? after + 2 : throw Bad();
        }

        if (after > 1)
            throw Bad();
        if (rest.Length < 3)
            return last ? throw Bad() : 0;
        if (!char.IsAsciiHexDigit((char)rest[1]) || !char.IsAsciiHexDigit((char)rest[2]))
            throw Bad();
        output[written++] = (byte)((Hex(rest[1]) << 4) | Hex(rest[2]));
        return 3;
    }

    /// <summary>White space and line ends: blanks before a line end go, others stay.</summary>
    private static int Blank(ReadOnlySpan<byte> rest, bool last, Span<byte> output, ref int written)
    {
        var blanks = rest.IndexOfAnyExcept((byte)' ', (byte)'\t');
        if (blanks < 0)
            return last ? rest.Length : 0;
        if (rest[blanks] is (byte)'\r' or (byte)'\n')
        {
            output[written++] = rest[blanks];
            return blanks + 1;
        }

        rest[..blanks].CopyTo(output[written..]);
        written += blanks;
        return blanks;
    }

    private static int Hex(byte digit) => char.IsAsciiDigit((char)digit) ? digit - '0' : (digit | 0x20) - 'a' + 10;

    private static MimeException Bad() => new(MimeReason.BadEncoding, "A part does not decode as quoted-printable.");
}
