using SecureMail.Host.Words;

namespace SecureMail.Host;

/// <summary>
/// A file that a command makes: it is there whole, or not at all. Written under another name in the same folder,
/// readable by its owner alone, and renamed when everything is on disk. <c>-</c> is standard output.
/// </summary>
internal static class OutputFile
{
    /// <summary>Refuses before any work, or any PIN, is spent on it.</summary>
    /// <exception cref="UsageException">The file exists, and it was not said that it may be replaced.</exception>
    /// <exception cref="DirectoryNotFoundException">Its folder does not.</exception>
    public static void RequireFree(string path, bool force)
    {
        if (IsStream(path))
        {
            return;
        }

        if (Directory.Exists(path) || (!force && File.Exists(path)))
        {
            throw new UsageException(Phrase.Of("output.exists", path));
        }

        if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder && !Directory.Exists(folder))
        {
            throw new DirectoryNotFoundException(Phrase.Of("output.no-folder", folder));
        }
    }

    /// <param name="write">Writes the content; when it throws, nothing is left.</param>
    public static async Task WriteAsync(string path, bool force, Func<Stream, Task> write)
    {
        if (IsStream(path))
        {
            await using var stream =
                path == "-" ? Console.OpenStandardOutput() : new FileStream(path, FileMode.Open, FileAccess.Write);
            await write(stream);
            return;
        }

        var full = Path.GetFullPath(path);
        var unfinished = Path.Combine(Path.GetDirectoryName(full)!, $".{Guid.NewGuid():N}.tmp");
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        try
        {
            await using (var file = new FileStream(unfinished, options))
            {
                await write(file);
                file.Flush(flushToDisk: true);
            }

            // The commit point: before it there is no output file, after it there is a whole one.
            File.Move(unfinished, full, overwrite: force);
        }
        catch
        {
            File.Delete(unfinished);
            throw;
        }
    }

    // A device is written to, never replaced by a file.
    private static bool IsStream(string path) =>
        path == "-" || (!OperatingSystem.IsWindows() && path.StartsWith("/dev/", StringComparison.Ordinal));
}
