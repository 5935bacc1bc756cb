using System.Security.Cryptography;
using System.Text;
using SecureMail.Storage;

namespace SecureMail.FaultTests;

/// <summary>A small file system of its own, in memory, and a ballast file on it: full when the test says so. Needs
/// root, or sudo that asks nothing.</summary>
internal sealed class SmallVolume : IDisposable
{
    private readonly string? _cluster;

    private SmallVolume(string folder, string? cluster) => (Folder, _cluster) = (folder, cluster);

    public string Folder { get; }

    public long Free => new DriveInfo(Folder).AvailableFreeSpace;

    private string Ballast => Path.Combine(Folder, "ballast");

    public static SmallVolume Mount(string folder, int mebibytes, string mode = "1777", string? cluster = null)
    {
        Directory.CreateDirectory(folder);
        As(
            "mount", "-t", "tmpfs", "-o", $"size={mebibytes}m,mode={mode},uid={Id("-u")},gid={Id("-g")}", "tmpfs",
            folder);
        return new SmallVolume(folder, cluster);
    }

    /// <summary>Where a private cluster of this data folder lies, made a volume: <see cref="PrivateCluster"/> finds it
    /// empty.</summary>
    public static SmallVolume MountForCluster(string dataFolder, int mebibytes)
    {
        var name = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Path.GetFullPath(dataFolder))))[
            ..12
        ];
        return Mount(
            Environment.IsPrivilegedProcess ? $"/var/lib/securemail/{name}" : dataFolder, mebibytes, "0700",
            dataFolder);
    }

    /// <summary>Leaves so much room and no more.</summary>
    public void LeaveFree(long octets)
    {
        using var file = new FileStream(Ballast, FileMode.Append);
        var block = new byte[64 * 1024];
        while (Free > octets)
        {
            file.Write(block, 0, (int)Math.Min(block.Length, Math.Max(4096, Free - octets)));
            file.Flush();
        }
    }

    public void MakeRoom() => File.Delete(Ballast);

    public void Resize(int mebibytes) => As("mount", "-o", $"remount,size={mebibytes}m", Folder);

    public void Dispose()
    {
        // Lazily: a process that is still ending may have a file open on it.
        As("umount", "-l", Folder);
        if (Directory.Exists(Folder))
        {
            Directory.Delete(Folder, recursive: true);
        }

        if (_cluster is not null)
        {
            PrivateCluster.DeleteFiles(_cluster);
        }
    }

    private static string Id(string which) => SoftHsm.RunAsync("id", which).GetAwaiter().GetResult().Trim();

    private static void As(string program, params string[] arguments)
    {
        if (Environment.IsPrivilegedProcess)
        {
            SoftHsm.RunAsync(program, arguments).GetAwaiter().GetResult();
        }
        else
        {
            SoftHsm.RunAsync("sudo", ["-n", program, .. arguments]).GetAwaiter().GetResult();
        }
    }
}
