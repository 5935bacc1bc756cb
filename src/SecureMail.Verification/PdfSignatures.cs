using System.Buffers;

namespace SecureMail.Verification;

/// <summary>
/// Whether a PDF may hold a signature, and nothing more: this version does not judge them. Looked for is the name
/// /ByteRange, which a signature dictionary cannot do without and cannot hide in a compressed object, since its octets
/// are patched after the file is written (ISO 32000-2 §12.8.1). A name met by chance in other octets counts too: the
/// doubt goes to "there may be a signature".
/// </summary>
internal static class PdfSignatures
{
    private static readonly byte[] ByteRange = [.. "ByteRange"u8];

    // A name ends at white space or a delimiter (ISO 32000-2 §7.2.3).
    private static readonly SearchValues<byte> NameEnds = SearchValues.Create("\0\t\n\f\r ()<>[]{}/%"u8);

    /// <param name="file">Seekable; read from its beginning.</param>
    public static async Task<bool> MayBePresentAsync(Stream file, CancellationToken cancellationToken)
    {
        file.Position = 0;
        var buffer = new byte[64 * 1024];
        var held = 0;
        while (true)
        {
            var count = await file.ReadAsync(buffer.AsMemory(held), cancellationToken);
            if (Find(buffer.AsSpan(0, held + count)))
            {
                return true;
            }

            if (count == 0)
            {
                return false;
            }

            // What a name at the end of the buffer may still need: each of its octets may be written in three (#42).
            var keep = Math.Min(held + count, ByteRange.Length * 3 + 2);
            buffer.AsSpan(held + count - keep, keep).CopyTo(buffer);
            held = keep;
        }
    }

    private static bool Find(ReadOnlySpan<byte> octets)
    {
        for (int slash; (slash = octets.IndexOf((byte)'/')) >= 0;)
        {
            octets = octets[(slash + 1)..];
            var end = octets.IndexOfAny(NameEnds);
            if (IsByteRange(end < 0 ? octets : octets[..end]))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>ISO 32000-2 §7.3.5: any octet of a name may be written #xx.</summary>
    private static bool IsByteRange(ReadOnlySpan<byte> name)
    {
        if (name.Length < ByteRange.Length || name.Length > ByteRange.Length * 3)
        {
            return false;
        }

        foreach (var expected in ByteRange)
        {
            if (name is [(byte)'#', var high, var low, ..]
                && char.IsAsciiHexDigit((char)high)
                && char.IsAsciiHexDigit((char)low))
            {
                if (Convert.FromHexString([(char)high, (char)low])[0] != expected)
                {
                    return false;
                }

                name = name[3..];
            }
            else if (name is [var plain, ..] && plain == expected)
            {
                name = name[1..];
            }
            else
            {
                return false;
            }
        }

        return name.IsEmpty;
    }
}
