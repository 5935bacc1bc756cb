using System.Buffers.Text;
using SecureMail.Shared;

namespace SecureMail.Mail.Mime;

/// <summary>
/// Writes what is written to this stream as base64 in lines of 76 characters and CRLF (RFC 2045 §6.8).
/// <see cref="FinishAsync"/> writes the last line. The output stays open.
/// </summary>
internal sealed class Base64Writer(Stream output) : WriteStream
{
    private const int BytesPerLine = 57; // three bytes become four characters
    private const int CharactersPerLine = 76;
    private const int LinesPerBlock = 512;
    private const int BlockSize = BytesPerLine * LinesPerBlock;
    private readonly byte[] _held = new byte[BlockSize];
    private readonly byte[] _characters = new byte[CharactersPerLine * LinesPerBlock];
    private readonly byte[] _lines = new byte[(CharactersPerLine + 2) * LinesPerBlock];
    private int _heldCount;

    public override async ValueTask WriteAsync(
        ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (true)
        {
            buffer = buffer[EncodeBlock(buffer.Span, out var lines)..];
            if (lines.IsEmpty)
            {
                return;
            }

            await output.WriteAsync(lines, cancellationToken);
        }
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        while (true)
        {
            buffer = buffer[EncodeBlock(buffer, out var lines)..];
            if (lines.IsEmpty)
            {
                return;
            }

            output.Write(lines.Span);
        }
    }

    /// <summary>Writes the last line, which may be short.</summary>
    public async Task FinishAsync(CancellationToken cancellationToken)
    {
        var last = Encode(_held.AsSpan(0, _heldCount));
        _heldCount = 0;
        await output.WriteAsync(last, cancellationToken);
    }

    /// <summary>
    /// Encodes the next block into <paramref name="lines"/> and returns how many bytes of <paramref name="bytes"/> were
    /// taken. A block that lies whole in <paramref name="bytes"/> is encoded from there without a copy. Bytes that do
    /// not fill a block are held, and <paramref name="lines"/> is then empty.
    /// </summary>
    private int EncodeBlock(ReadOnlySpan<byte> bytes, out ReadOnlyMemory<byte> lines)
    {
        if (_heldCount == 0 && bytes.Length >= BlockSize)
        {
            lines = Encode(bytes[..BlockSize]);
            return BlockSize;
        }

        var count = Math.Min(bytes.Length, BlockSize - _heldCount);
        bytes[..count].CopyTo(_held.AsSpan(_heldCount));
        _heldCount += count;
        lines = default;
        if (_heldCount == BlockSize)
        {
            _heldCount = 0;
            lines = Encode(_held);
        }

        return count;
    }

    /// <summary>Encodes a whole block before it is split into lines, because the platform's encoder is fastest over
    /// long runs.</summary>
    private ReadOnlyMemory<byte> Encode(ReadOnlySpan<byte> bytes)
    {
        Base64.EncodeToUtf8(bytes, _characters, out _, out var count);
        ReadOnlySpan<byte> from = _characters.AsSpan(0, count);
        var to = _lines.AsSpan();
        for (; from.Length >= CharactersPerLine; from = from[CharactersPerLine..], to = to[(CharactersPerLine + 2)..])
        {
            from[..CharactersPerLine].CopyTo(to);
            to[CharactersPerLine] = (byte)'\r';
            to[CharactersPerLine + 1] = (byte)'\n';
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
