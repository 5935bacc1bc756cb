using System.Buffers;
using SecureMail.Shared;

namespace SecureMail.Mail.Mime;

/// <summary>
/// Decodes quoted-printable (RFC 2045 §6.7). White space at the end of a line is removed, because a relay added it
/// (rule 3). "=" before anything but two hexadecimal digits or a line end is an error.
/// </summary>
internal sealed class QuotedPrintableDecoder(Stream inner) : DecodingReadStream(inner)
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
                took = DecodeEscape(rest, last, output, ref written);
            }
            else
            {
                took = DecodeBlanks(rest, last, output, ref written);
            }

            if (took == 0)
            {
                if (rest.Length > 16 * 1024)
                {
                    throw new MimeException(
                        MimeReason.BadEncoding, "A quoted-printable part has an endless run of blanks.");
                }

                return; // wait for the input that decides
            }

            consumed += took;
        }
    }

    /// <summary>
    /// Decodes an escape or a soft line break. Returns the bytes consumed, 0 when more input is needed.
    /// </summary>
    private static int DecodeEscape(ReadOnlySpan<byte> rest, bool last, Span<byte> output, ref int written)
    {
        var after = 1;
        while (after < rest.Length && rest[after] is (byte)' ' or (byte)'\t')
        {
            after++;
        }

        if (after >= rest.Length)
        {
            return last ? rest.Length : 0; // a soft line break at the end of the text
        }

        if (rest[after] == (byte)'\n')
        {
            return after + 1;
        }

        if (rest[after] == (byte)'\r')
        {
            if (after + 1 >= rest.Length)
            {
                return last ? throw NotQuotedPrintable() : 0;
            }

            return rest[after + 1] == (byte)'\n' ? after + 2 : throw NotQuotedPrintable();
        }

        if (after > 1)
        {
            throw NotQuotedPrintable();
        }

        if (rest.Length < 3)
        {
            return last ? throw NotQuotedPrintable() : 0;
        }

        if (!char.IsAsciiHexDigit((char)rest[1]) || !char.IsAsciiHexDigit((char)rest[2]))
        {
            throw NotQuotedPrintable();
        }

        output[written++] = (byte)((HexValue(rest[1]) << 4) | HexValue(rest[2]));
        return 3;
    }

    /// <summary>
    /// Decodes white space and line ends: blanks before a line end are removed, others stay. Returns the bytes
    /// consumed, 0 when more input is needed.
    /// </summary>
    private static int DecodeBlanks(ReadOnlySpan<byte> rest, bool last, Span<byte> output, ref int written)
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

    private static int HexValue(byte digit) => char.IsAsciiDigit((char)digit) ? digit - '0' : (digit | 0x20) - 'a' + 10;

    private static MimeException NotQuotedPrintable() =>
        new(MimeReason.BadEncoding, "A part does not decode as quoted-printable.");
}
