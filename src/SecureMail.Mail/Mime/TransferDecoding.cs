using System.Buffers;
using System.Buffers.Text;
using System.Runtime.CompilerServices;

namespace SecureMail.Mail.Mime;

/// <summary>
/// Reads encoded octets in pieces and gives decoded ones. Subclasses turn a piece into output; what they cannot use yet
/// they leave. The same code serves blocking and asynchronous readers.
/// </summary>
internal abstract class DecoderStream(Stream inner) : Stream
{
    /// <summary>So much is decoded at once, at most.</summary>
    protected const int InputSize = 64 * 1024;

    // A small body gets small buffers.
    private readonly byte[] _input = new byte[SizeFor(inner)];
    private byte[]? _output;
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

    /// <summary>Decodes from <paramref name="input"/> into <paramref name="output"/>, which is at least as long. With
    /// <paramref name="last"/> nothing may be left over.</summary>
    protected abstract void Decode(
        ReadOnlySpan<byte> input, bool last, Span<byte> output, out int consumed, out int written);

    public override int Read(Span<byte> buffer)
    {
        while (_outputStart == _outputEnd && !_done)
        {
            if (!_inputDone)
            {
                Received(inner.Read(_input, _inputEnd, _input.Length - _inputEnd));
            }

            if (Step(buffer) is var given and > 0)
            {
                return given;
            }
        }

        return Give(buffer);
    }

    // One for each piece of a large mail: they are used again, not collected.
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (_outputStart == _outputEnd && !_done)
        {
            if (!_inputDone)
            {
                Received(await inner.ReadAsync(_input.AsMemory(_inputEnd), cancellationToken));
            }

            if (Step(buffer.Span) is var given and > 0)
            {
                return given;
            }
        }

        return Give(buffer.Span);
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Flush() { }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            inner.Dispose();
        }

        base.Dispose(disposing);
    }

    private void Received(int count)
    {
        _inputEnd += count;
        _inputDone = count == 0;
    }

    /// <summary>Decodes what came in: into the reader's own buffer when that is large enough, which is then told how
    /// much, else to be given piece by piece.</summary>
    private int Step(Span<byte> buffer)
    {
        var straight = buffer.Length >= _input.Length;
        if (!straight)
        {
            _output ??= new byte[_input.Length];
        }

        Decode(
            _input.AsSpan(_inputStart, _inputEnd - _inputStart), _inputDone, straight ? buffer : _output,
            out var consumed, out var written);
        (_outputStart, _outputEnd) = (0, straight ? 0 : written);
        var left = _inputEnd - _inputStart - consumed;
        _input.AsSpan(_inputStart + consumed, left).CopyTo(_input);
        _inputStart = 0;
        _inputEnd = left;
        _done = _inputDone;
        return straight ? written : 0;
    }

    protected static int SizeFor(Stream inner) =>
        inner.CanSeek ? (int)Math.Clamp(inner.Length, 256, InputSize) : InputSize;

    private int Give(Span<byte> buffer)
    {
        var count = Math.Min(buffer.Length, _outputEnd - _outputStart);
        if (count == 0)
        {
            return 0;
        }

        _output.AsSpan(_outputStart, count).CopyTo(buffer);
        _outputStart += count;
        return count;
    }
}

/// <summary>
/// RFC 2045 §6.8. Line ends and blanks are taken out first and the rest decoded in bulk. Any other octet outside the
/// alphabet is an error and not skipped, though the RFC lets a reader skip it: a footer pasted on by a relay must not
/// vanish from sight.
/// </summary>
internal sealed class Base64Decoder(Stream inner) : DecoderStream(inner)
{
    private static readonly SearchValues<byte> Blanks = SearchValues.Create("\r\n \t"u8);
    private readonly byte[] _compact = new byte[SizeFor(inner) + 4];
    private int _kept;
    private bool _padded;

    protected override void Decode(
        ReadOnlySpan<byte> input, bool last, Span<byte> output, out int consumed, out int written)
    {
        consumed = input.Length;
        // Twice, because what was taken for whole lines may hold blanks, which the platform's decoder skips: then fewer
        // octets come out than must.
        if (!TryDecode(_kept + Compact(input, wholeLines: true), last, output, out written)
            && !TryDecode(_kept + Compact(input, wholeLines: false), last, output, out written))
        {
            throw Bad();
        }
    }

    /// <summary>Decodes what was compacted and keeps what is no whole group yet; false, and nothing changed, when it is
    /// not base64.</summary>
    private bool TryDecode(int count, bool last, Span<byte> output, out int written)
    {
        var whole = count & ~3;
        written = 0;
        if ((_padded && count > 0) || (last && whole != count))
        {
            return false;
        }

        var compact = _compact.AsSpan(0, whole);
        var padding =
            compact.EndsWith("=="u8) ? 2
            : compact.EndsWith("="u8) ? 1
            : 0;
        if (padding > 0 && whole != count)
        {
            return false;
        }

        if (
            Base64.DecodeFromUtf8(compact, output, out var used, out written, isFinalBlock: true)
                != OperationStatus.Done
            || used != whole
            || written != (whole / 4 * 3) - padding)
        {
            return false;
        }

        _padded = padding > 0;
        _kept = count - whole;
        _compact.AsSpan(whole, _kept).CopyTo(_compact);
        return true;
    }

    /// <summary>Takes blanks out; how many octets are left, behind those kept.</summary>
    /// <param name="wholeLines">Lines as long as the one before are taken without a look at what is in them: every
    /// writer makes them of one length.</param>
    private int Compact(ReadOnlySpan<byte> input, bool wholeLines)
    {
        var target = _compact.AsSpan(_kept);
        while (!input.IsEmpty)
        {
            var blank = input.IndexOfAny(Blanks);
            var run = blank < 0 ? input : input[..blank];
            run.CopyTo(target);
            target = target[run.Length..];
            input = blank < 0 ? default : input[(blank + 1)..];
            if (!wholeLines || run.IsEmpty || input.IsEmpty || input[0] != (byte)'\n')
            {
                continue;
            }

            input = input[1..];
            var line = run.Length;
            while (input.Length >= line + 2 && input[line] == (byte)'\r' && input[line + 1] == (byte)'\n')
            {
                input[..line].CopyTo(target);
                target = target[line..];
                input = input[(line + 2)..];
            }
        }

        return _compact.Length - _kept - target.Length;
    }

    private static MimeException Bad() =>
        new(MimeReason.BadEncoding, "A part does not decode as base64: it is truncated or something was added to it.");
}

/// <summary>RFC 2045 §6.7. White space at the end of a line was added by a relay and goes (rule 3); "=" before anything
/// but hex or a line end is an error.</summary>
internal sealed class QuotedPrintableDecoder(Stream inner) : DecoderStream(inner)
{
    private static readonly SearchValues<byte> Special = SearchValues.Create("=\r\n \t"u8);

    protected override void Decode(
        ReadOnlySpan<byte> input, bool last, Span<byte> output, out int consumed, out int written)
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
            {
                took = Escape(rest, last, output, ref written);
            }
            else
            {
                took = Blank(rest, last, output, ref written);
            }

            if (took == 0)
            {
                if (rest.Length > 16 * 1024)
                {
                    throw new MimeException(
                        MimeReason.BadEncoding, "A quoted-printable part has an endless run of blanks.");
                }

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
        {
            after++;
        }

        if (after >= rest.Length)
        {
            return last ? rest.Length : 0; // a soft break at the very end
        }

        if (rest[after] == (byte)'\n')
        {
            return after + 1;
        }

        if (rest[after] == (byte)'\r')
        {
            if (after + 1 >= rest.Length)
            {
                return last ? throw Bad() : 0;
            }

            return rest[after + 1] == (byte)'\n' ? after + 2 : throw Bad();
        }

        if (after > 1)
        {
            throw Bad();
        }

        if (rest.Length < 3)
        {
            return last ? throw Bad() : 0;
        }

        if (!char.IsAsciiHexDigit((char)rest[1]) || !char.IsAsciiHexDigit((char)rest[2]))
        {
            throw Bad();
        }

        output[written++] = (byte)((Hex(rest[1]) << 4) | Hex(rest[2]));
        return 3;
    }

    /// <summary>White space and line ends: blanks before a line end go, others stay.</summary>
    private static int Blank(ReadOnlySpan<byte> rest, bool last, Span<byte> output, ref int written)
    {
        var blanks = rest.IndexOfAnyExcept((byte)' ', (byte)'\t');
        if (blanks < 0)
        {
            return last ? rest.Length : 0;
        }

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
