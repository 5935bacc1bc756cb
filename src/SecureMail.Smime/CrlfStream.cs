using SecureMail.Shared;

namespace SecureMail.Smime;

/// <summary>Reads text whose lines end with LF as if they ended with CRLF, because what is signed is the canonical form
/// (RFC 8551 §3.1.1).</summary>
internal sealed class CrlfStream(Stream inner) : DecodingReadStream(inner, expansion: 2)
{
    private byte _previous;

    /// <summary>Whether the text holds an LF without CR before it.</summary>
    public static bool HasBareLf(Stream text)
    {
        var buffer = new byte[16 * 1024];
        byte previous = 0;
        for (int read; (read = text.Read(buffer)) > 0;)
        {
            for (var i = buffer.AsSpan(0, read).IndexOf((byte)'\n'); i >= 0 && i < read;)
            {
                if ((i == 0 ? previous : buffer[i - 1]) != '\r')
                {
                    return true;
                }

                var next = buffer.AsSpan(i + 1, read - i - 1).IndexOf((byte)'\n');
                i = next < 0 ? read : i + 1 + next;
            }

            previous = buffer[read - 1];
        }

        return false;
    }

    protected override void Decode(
        ReadOnlySpan<byte> input, bool last, Span<byte> output, out int consumed, out int written)
    {
        consumed = input.Length;
        written = 0;
        while (!input.IsEmpty)
        {
            var lineFeed = input.IndexOf((byte)'\n');
            var text = lineFeed < 0 ? input : input[..lineFeed];
            text.CopyTo(output[written..]);
            written += text.Length;
            _previous = text.IsEmpty ? _previous : text[^1];
            if (lineFeed < 0)
            {
                return;
            }

            if (_previous != '\r')
            {
                output[written++] = (byte)'\r';
            }

            output[written++] = _previous = (byte)'\n';
            input = input[(lineFeed + 1)..];
        }
    }
}
