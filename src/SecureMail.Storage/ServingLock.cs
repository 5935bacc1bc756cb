using System.Globalization;

namespace SecureMail.Storage;

/// <summary>
/// A data folder is served by one process at a time. The lock is the kernel's and goes with the process, however that
/// ends; so whoever holds it knows that what an earlier holder had under way is nobody's any more, and need not wait
/// for its leases.
/// </summary>
public sealed class ServingLock : IDisposable
{
    private readonly FileStream _file;

    private ServingLock(FileStream file, string node) => (_file, Node) = (file, node);

    /// <summary>The name of the node that serves this folder, the same each time, another for every folder.</summary>
    public string Node { get; }

    /// <exception cref="StorageUnavailableException">Another process serves this folder.</exception>
    public static ServingLock Take(string dataFolder)
    {
        Directory.CreateDirectory(dataFolder);
        FileStream file;
        try
        {
            file = new FileStream(
                Path.Combine(dataFolder, "node"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e)
        {
            throw new StorageUnavailableException(
                StorageFault.FolderServed, [dataFolder],
                $"Another process serves {dataFolder}; each node needs a folder of its own.", e);
        }

        using var reader = new StreamReader(file, leaveOpen: true);
        var node = reader.ReadToEnd().Trim();
        if (!Guid.TryParse(node, out _))
        {
            // No name yet, or a crash while it was written: nobody has used a name that is not whole.
            node = Guid.CreateVersion7().ToString();
            file.SetLength(0);
            using var writer = new StreamWriter(file, leaveOpen: true);
            writer.Write(string.Create(CultureInfo.InvariantCulture, $"{node}\n"));
            writer.Flush();
            file.Flush(flushToDisk: true);
        }

        return new ServingLock(file, node);
    }

    public void Dispose() => _file.Dispose();
}
