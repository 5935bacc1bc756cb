using System.Buffers;
using System.Buffers.Text;
using SecureMail.Shared;

namespace SecureMail.Mail.Mime;

/// <summary>
/// Decodes base64 (RFC 2045 §6.8). Line ends and blanks are removed first, then the rest is decoded in bulk. Any other
/// byte outside the alphabet is an error. The RFC lets a reader skip such bytes; this decoder does not, because a
/// footer that a relay appended must not disappear unseen. Missing or superfluous padding, and pad bits that are not
/// zero, are read (RFC 4648 §3.2, §3.5), because they leave one reading only.
/// </summary>
internal sealed class Base64Decoder(Stream inner) : DecodingReadStream(inner)
{
    private static readonly SearchValues<byte> Blanks = SearchValues.Create("\r\n \t"u8);
    private readonly byte[] _compact = new byte[InputSizeFor(inner) + 4];
    private int _kept;
    private bool _padded;

    protected override void Decode(
        ReadOnlySpan<byte> input, bool last, Span<byte> output, out int consumed, out int written)
    {
        consumed = input.Length;
        // The second attempt is needed where a line assumed to be whole holds blanks: the platform's decoder skips
        // them, so fewer bytes come out than the length of the text requires.
        if (!TryDecode(_kept + RemoveBlanks(input, wholeLines: true), last, output, out written)
            && !TryDecode(_kept + RemoveBlanks(input, wholeLines: false), last, output, out written)
            && !TryDecodeEnd(_kept + RemoveBlanks(input, wholeLines: false), last, output, out written))
        {
            throw NotBase64();
        }
    }

    /// <summary>
    /// Decodes the compacted characters and keeps those that do not fill a group of four yet. Returns false, and
    /// changes nothing, when they are not base64.
    /// </summary>
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

    /// <summary>
    /// Decodes as <see cref="TryDecode"/> does, but takes any padding, and none, for the end of the data, and ignores
    /// the pad bits.
    /// </summary>
    private bool TryDecodeEnd(int count, bool last, Span<byte> output, out int written)
    {
        written = 0;
        ReadOnlySpan<byte> compact = _compact.AsSpan(0, count);
        var padding = compact.IndexOf((byte)'=');
        var data = padding < 0 ? compact : compact[..padding];
        if (compact[data.Length..].ContainsAnyExcept((byte)'=') || (_padded && !data.IsEmpty))
        {
            return false;
        }

        var whole = data.Length & ~3;
        var rest = data.Length - whole;
        var ends = last || padding >= 0;
        if (
            Base64.DecodeFromUtf8(data[..whole], output, out _, out written) != OperationStatus.Done
            || written != whole / 4 * 3
            || (ends && rest == 1))
        {
            return false;
        }

        if (ends && rest > 1)
        {
            // RFC 4648 §4: two characters are one octet, three are two. "A" stands for zero bits.
            Span<byte> group = [.. "AAAA"u8];
            Span<byte> octets = stackalloc byte[3];
            data[whole..].CopyTo(group);
            if (Base64.DecodeFromUtf8(group, octets, out _, out _) != OperationStatus.Done)
            {
                return false;
            }

            octets[..(rest - 1)].CopyTo(output[written..]);
            written += rest - 1;
            rest = 0;
        }

        _padded |= padding >= 0;
        _kept = rest;
        data[whole..(whole + rest)].CopyTo(_compact);
        return true;
    }

    /// <summary>
    /// Removes blanks and line ends. Returns how many characters are left, without those kept before.
    /// </summary>
    /// <param name="wholeLines">Whether a line as long as the line before is copied without searching it for blanks.
    /// This is fast because writers make all lines of one length.</param>
    private int RemoveBlanks(ReadOnlySpan<byte> input, bool wholeLines)
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

    private static MimeException NotBase64() =>
        new(MimeReason.BadEncoding, "A part does not decode as base64: it is truncated or something was added to it.");
}
