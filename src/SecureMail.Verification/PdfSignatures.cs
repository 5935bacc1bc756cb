using System.Buffers;

namespace SecureMail.Verification;

/// <summary>
/// Finds out whether a PDF may hold a signature. This version does not validate such signatures. The code looks for the
/// name /ByteRange. Every signature dictionary has this name, and cannot have it in a compressed object, because its
/// value is patched after the file is written (ISO 32000-2 §12.8.1). The name counts in any other place as well, so the
/// answer may be yes for a PDF without signatures.
/// </summary>
internal static class PdfSignatures
{
    private static readonly byte[] ByteRange = [.. "ByteRange"u8];

    // A name ends at white space or a delimiter (ISO 32000-2 §7.2.3).
    private static readonly SearchValues<byte> NameEnds = SearchValues.Create("\0\t\n\f\r ()<>[]{}/%"u8);

    /// <summary>Whether the file may hold a signature.</summary>
    /// <param name="file">Seekable. It is read from its beginning.</param>
    public static async Task<bool> MayBePresentAsync(Stream file, CancellationToken cancellationToken)
    {
        file.Position = 0;
        var buffer = new byte[64 * 1024];
        var held = 0;
        while (true)
        {
            var count = await file.ReadAsync(buffer.AsMemory(held), cancellationToken);
            if (Find(buffer.AsSpan(0, held + count), isEnd: count == 0))
            {
                return true;
            }

            if (count == 0)
            {
                return false;
            }

            // Keep the longest beginning of the name that can be at the end of the buffer. Each byte of a name may be
            // written as three (#42).
            var keep = Math.Min(held + count, ByteRange.Length * 3 + 2);
            buffer.AsSpan(held + count - keep, keep).CopyTo(buffer);
            held = keep;
        }
    }

    /// <param name="isEnd">Whether the file ends with these bytes. Before its end, a name that the bytes break off in
    /// may still go on, so it is looked at again with the next bytes.</param>
    private static bool Find(ReadOnlySpan<byte> bytes, bool isEnd)
    {
        for (int slash; (slash = bytes.IndexOf((byte)'/')) >= 0;)
        {
            bytes = bytes[(slash + 1)..];
            var end = bytes.IndexOfAny(NameEnds);
            if ((end >= 0 || isEnd) && IsByteRange(end < 0 ? bytes : bytes[..end]))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>ISO 32000-2 §7.3.5: any byte of a name may be written as #xx.</summary>
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
