using System.Globalization;

namespace SecureMail.Storage;

/// <summary>
/// The lock that lets one process at a time serve a data folder. The kernel releases the lock when the process ends,
/// for whatever reason. The holder therefore knows that no process still works under the leases of an earlier holder,
/// and need not wait for them to expire.
/// </summary>
public sealed class ServingLock : IDisposable
{
    private readonly FileStream _file;

    private ServingLock(FileStream file, string node) => (_file, Node) = (file, node);

    /// <summary>The name of the node that serves this folder. It stays the same for a folder and differs between
    /// folders.</summary>
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
            // There is no name yet, or a crash cut the name off while it was written. A cut-off name was never used.
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
