using System.Runtime.InteropServices;

namespace SecureMail.Host;

/// <summary>The modes of the files that this process makes.</summary>
internal static class FileCreation
{
    // Group and others get no permission.
    private const uint OwnersAlone = 0b000_111_111;

    /// <summary>Sets the umask to 077: whatever this process or a program that it starts creates from now on is open to
    /// its own account alone, whatever umask the process was started with.</summary>
    public static void OwnerOnly()
    {
        if (!OperatingSystem.IsWindows())
        {
            _ = SetMask(OwnersAlone);
        }
    }

    [DllImport("libc", EntryPoint = "umask")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern uint SetMask(uint mask);
}
