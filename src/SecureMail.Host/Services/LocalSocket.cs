using System.Diagnostics;
using System.Net.Sockets;
using System.Runtime.Versioning;
using System.Text;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Hosting;
using SecureMail.Storage;

namespace SecureMail.Host.Services;

/// <summary>
/// The Unix socket on which the running gateway answers its own machine: <c>DIR/run/securemail.sock</c>. Who may open
/// it is decided by the file's mode and group, so nothing else is asked there.
/// </summary>
/// <remarks>
/// The socket is bound under the umask of <see cref="FileCreation"/>, so it is the account's alone until it is given
/// to the group. The folder on the way to it can be traversed and not listed; everything else in the data folder is
/// closed.
/// </remarks>
internal sealed class LocalSocket(DatabaseOptions options) : IHostedService
{
    /// <summary>Whose members may use the socket, where the machine has the group.</summary>
    private const string Group = "securemail";

    // sockaddr_un.sun_path holds 108 bytes with its NUL.
    private const int LongestPath = 107;

    private const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode Traversed = Owner | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    private const UnixFileMode OwnerAndGroup =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite;

    /// <summary>Where the gateway of a data folder listens.</summary>
    public static string PathOf(string dataFolder)
    {
        var path = Path.Combine(Path.GetFullPath(dataFolder), "run", "securemail.sock");
        return Encoding.UTF8.GetByteCount(path) <= LongestPath
            ? path
            : Path.Combine(PrivateCluster.ShortFolderOf(dataFolder) + "-run", "securemail.sock");
    }

    /// <summary>A connection to the socket at a path.</summary>
    /// <exception cref="SocketException">Nobody listens there, or this account may not open it.</exception>
    public static async ValueTask<Stream> ConnectAsync(string path, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Whether a request came over the socket, and not over a port.</summary>
    public static bool IsUsedBy(IFeatureCollection request) => request.Get<Mark>() is not null;

    /// <summary>Adds the socket to what the server listens on.</summary>
    public static void Listen(KestrelServerOptions kestrel, string dataFolder) =>
        kestrel.ListenUnixSocket(
            PathOf(dataFolder),
            socket =>
            {
                socket.Protocols = HttpProtocols.Http1;
                socket.Use(next => connection =>
                {
                    connection.Features.Set(new Mark());
                    return next(connection);
                });
            });

    /// <summary>Makes the folder, and removes the socket of a process that was killed. It runs before the server binds
    /// and after <see cref="ServingNode"/> took the folder, so no living process listens there.</summary>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        if (OperatingSystem.IsWindows())
        {
            throw new PlatformNotSupportedException();
        }

        var path = PathOf(options.DataFolder);
        var folder = Path.GetDirectoryName(path)!;
        var parent = Path.GetDirectoryName(folder)!;
        Directory.CreateDirectory(folder);
        if (parent == Path.GetFullPath(options.DataFolder))
        {
            Close(parent, folder);
        }
        else
        {
            // Another user may have made this name under /tmp. Then the folder is not ours, and this fails.
            File.SetUnixFileMode(parent, Traversed);
        }

        File.SetUnixFileMode(folder, Traversed);

        File.Delete(path);
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Gives the bound socket to its group.</summary>
    public static async Task ShareAsync(string dataFolder, CancellationToken cancellationToken)
    {
        if (OperatingSystem.IsWindows())
        {
            throw new PlatformNotSupportedException();
        }

        var path = PathOf(dataFolder);
        // A machine without the group, or an account that is not in it: the socket is the account's own.
        using var process = Process.Start(
            new ProcessStartInfo("chgrp", ["--", Group, path])
            {
                RedirectStandardError = true,
                UseShellExecute = false,
            });
        if (process is not null)
        {
            await process.StandardError.ReadToEndAsync(cancellationToken);
            await process.WaitForExitAsync(cancellationToken);
        }

        File.SetUnixFileMode(path, OwnerAndGroup);
    }

    /// <summary>Lets others pass through the data folder to the socket, and to nothing else in it.</summary>
    [UnsupportedOSPlatform("windows")]
    private static void Close(string data, string open)
    {
        foreach (var entry in new DirectoryInfo(data).EnumerateFileSystemInfos())
        {
            var shared = entry.UnixFileMode & ~Owner;
            if (entry.FullName != open && entry.LinkTarget is null && shared != UnixFileMode.None)
            {
                entry.UnixFileMode &= Owner;
            }
        }

        var own = new DirectoryInfo(data);
        own.UnixFileMode = (own.UnixFileMode & Owner) | (Traversed & ~Owner);
    }

    private sealed class Mark;
}
