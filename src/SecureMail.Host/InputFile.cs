using SecureMail.Host.Words;

namespace SecureMail.Host;

/// <summary>A file given on the command line.</summary>
internal static class InputFile
{
    /// <summary>Bytes. A smaller file is read at once: to read it step by step takes longer than to judge it.</summary>
    private const int SmallSize = 1024 * 1024;

    /// <summary>Seekable, read-only.</summary>
    /// <exception cref="FileNotFoundException">It is not there, may not be read, or is no regular file.</exception>
    public static Stream Open(string path) =>
        TryOpen(path)
        ?? throw new FileNotFoundException(Phrase.Of("input.cannot-open", path));

    /// <summary>Null where <see cref="Open"/> throws.</summary>
    public static Stream? TryOpen(string path)
    {
        try
        {
            var file = new FileStream(
                path, FileMode.Open, FileAccess.Read, FileShare.Read, 1,
                FileOptions.Asynchronous | FileOptions.SequentialScan);
            if (file.CanSeek && file.Length is 0 or > SmallSize)
            {
                return file;
            }

            using (file)
            {
                return file.CanSeek ? ReadWhole(file) : null;
            }
        }
        catch (Exception e)
            when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            return null;
        }
    }

    private static MemoryStream ReadWhole(FileStream file)
    {
        var octets = new byte[file.Length];
        // A file that became shorter meanwhile ends where it ends.
        var read = file.ReadAtLeast(octets, octets.Length, throwOnEndOfStream: false);
        return new MemoryStream(octets, 0, read, writable: false);
    }
}
