using System.Runtime.CompilerServices;

namespace SecureMail.Shared;

/// <summary>
/// Reads encoded bytes from another stream in pieces and returns the decoded ones. A subclass decodes one piece; the
/// bytes of a piece that it cannot decode yet stay in the input and stand before the next piece. Synchronous and
/// asynchronous reads share the code. Disposing this stream disposes the inner one.
/// </summary>
/// <param name="inner">The encoded bytes.</param>
/// <param name="expansion">How many bytes one input byte may become, at most; at least 1.</param>
internal abstract class DecodingReadStream(Stream inner, int expansion = 1) : ReadStream
{
    /// <summary>The most input that is decoded in one piece, in bytes.</summary>
    protected const int MaxInputSize = 64 * 1024;

    private readonly byte[] _input = new byte[InputSizeFor(inner)];
    private byte[]? _output;
    private int _inputStart;
    private int _inputEnd;
    private int _outputStart;
    private int _outputEnd;
    private bool _inputDone;
    private bool _done;

    public override int Read(Span<byte> buffer)
    {
        while (_outputStart == _outputEnd && !_done)
        {
            if (!_inputDone)
            {
                AddInput(inner.Read(_input, _inputEnd, _input.Length - _inputEnd));
            }

            if (DecodePiece(buffer) is var written and > 0)
            {
                return written;
            }
        }

        return CopyDecoded(buffer);
    }

    // Pooled, because a large body is read in many pieces and each read would otherwise allocate.
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (_outputStart == _outputEnd && !_done)
        {
            if (!_inputDone)
            {
                AddInput(await inner.ReadAsync(_input.AsMemory(_inputEnd), cancellationToken));
            }

            if (DecodePiece(buffer.Span) is var written and > 0)
            {
                return written;
            }
        }

        return CopyDecoded(buffer.Span);
    }

    /// <summary>The size of the input buffer in bytes: small for a small body, <see cref="MaxInputSize"/> for a stream
    /// of unknown length.</summary>
    protected static int InputSizeFor(Stream inner) =>
        inner.CanSeek ? (int)Math.Clamp(inner.Length, 256, MaxInputSize) : MaxInputSize;

    /// <summary>Decodes from <paramref name="input"/> into <paramref name="output"/>, which is at least as long as the
    /// input times the expansion. With <paramref name="last"/> no input follows, so nothing may be left over.</summary>
    protected abstract void Decode(
        ReadOnlySpan<byte> input, bool last, Span<byte> output, out int consumed, out int written);

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            inner.Dispose();
        }

        base.Dispose(disposing);
    }

    private void AddInput(int count)
    {
        _inputEnd += count;
        _inputDone = count == 0;
    }

    /// <summary>
    /// Decodes the buffered input. A reader's buffer that is large enough is decoded into directly, and the number of
    /// bytes written to it is returned. Otherwise the result is kept for <see cref="CopyDecoded"/>, and 0 is returned.
    /// </summary>
    private int DecodePiece(Span<byte> buffer)
    {
        var outputSize = _input.Length * expansion;
        var direct = buffer.Length >= outputSize;
        if (!direct)
        {
            _output ??= new byte[outputSize];
        }

        Decode(
            _input.AsSpan(_inputStart, _inputEnd - _inputStart), _inputDone, direct ? buffer : _output,
            out var consumed, out var written);
        (_outputStart, _outputEnd) = (0, direct ? 0 : written);
        var left = _inputEnd - _inputStart - consumed;
        _input.AsSpan(_inputStart + consumed, left).CopyTo(_input);
        _inputStart = 0;
        _inputEnd = left;
        _done = _inputDone;
        return direct ? written : 0;
    }

    private int CopyDecoded(Span<byte> buffer)
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
