using SecureMail.Host.Words;

namespace SecureMail.Host;

/// <summary>A file given on the command line.</summary>
internal static class InputFile
{
    /// <summary>Seekable, read-only.</summary>
    /// <exception cref="FileNotFoundException">It is not there, may not be read, or is no regular file.</exception>
    public static FileStream Open(string path) =>
        TryOpen(path)
        ?? throw new FileNotFoundException(Phrase.Of("input.cannot-open", path));

    /// <summary>Null where <see cref="Open"/> throws.</summary>
    public static FileStream? TryOpen(string path)
    {
        try
        {
            var file = new FileStream(
                path, FileMode.Open, FileAccess.Read, FileShare.Read, 1,
                FileOptions.Asynchronous | FileOptions.SequentialScan);
            if (file.CanSeek)
            {
                return file;
            }

            file.Dispose();
            return null;
        }
        catch (Exception e)
            when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            return null;
        }
    }
}
