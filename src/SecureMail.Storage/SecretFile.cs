using System.Security.Cryptography;

namespace SecureMail.Storage;

/// <summary>Files that hold a key or a PIN: read only when nobody but their owner may.</summary>
public static class SecretFile
{
    /// <exception cref="SecretFileException">The file's mode lets a group or everyone in.</exception>
    public static void RequirePrivate(string path)
    {
        const UnixFileMode Others =
            UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;
        if (!OperatingSystem.IsWindows() && (File.GetUnixFileMode(path) & Others) != UnixFileMode.None)
        {
            throw new SecretFileException(
                SecretFileFault.OpenToOthers, path, $"The secret file {path} is open to others: set its mode to 0600.");
        }
    }

    /// <summary>A PIN or password: the file's octets without a line end behind them, in an array that the caller
    /// wipes.</summary>
    /// <exception cref="SecretFileException">The file is open to others.</exception>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    public static byte[] ReadPin(string path)
    {
        RequirePrivate(path);
        return ReadLine(path);
    }

    /// <summary>The same, whoever may read the file.</summary>
    public static byte[] ReadLine(string path)
    {
        var octets = File.ReadAllBytes(path);
        var pin = octets.AsSpan().TrimEnd("\r\n"u8).ToArray();
        CryptographicOperations.ZeroMemory(octets);
        return pin;
    }
}
