using System.Security.Cryptography;

namespace SecureMail.Storage;

/// <summary>Reads files that hold a key or a PIN, if only their owner has access.</summary>
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

    /// <summary>Reads a PIN or password: the bytes of the file without the line end behind them. The caller wipes the
    /// array.</summary>
    /// <exception cref="SecretFileException">The file is open to others.</exception>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    public static byte[] ReadPin(string path)
    {
        RequirePrivate(path);
        return ReadLine(path);
    }

    /// <summary>Does the same without looking at the mode of the file.</summary>
    public static byte[] ReadLine(string path)
    {
        var bytes = File.ReadAllBytes(path);
        var pin = bytes.AsSpan().TrimEnd("\r\n"u8).ToArray();
        CryptographicOperations.ZeroMemory(bytes);
        return pin;
    }
}
