using System.Net;
using System.Net.Sockets;

namespace SecureMail.TestKit;

/// <summary>
/// Ports to listen on later: a gateway's port stands in the directory before the gateway listens. Each process has a
/// block of a thousand for itself, which the lock of a file holds while it runs, so that no two runs choose the same.
/// All of them are below the ports that the kernel gives to outgoing connections.
/// </summary>
internal static class TestPorts
{
    private const int First = 10_000;
    private const int BlockSize = 1_000;
    private const int Blocks = 20;

    private static readonly (FileStream Lock, int First) Block = TakeBlock();

    private static int _last = -1;

    /// <summary>A port that nobody listens on. It comes again only after a thousand others.</summary>
    public static int Next()
    {
        for (var tries = 0; tries < BlockSize; tries++)
        {
            var port = Block.First + ((Interlocked.Increment(ref _last) & int.MaxValue) % BlockSize);
            try
            {
                using var listener = new TcpListener(IPAddress.Loopback, port);
                listener.Start();
                return port;
            }
            catch (SocketException)
            {
                // A program that is no test has it.
            }
        }

        throw new InvalidOperationException($"No port is free from {Block.First} on.");
    }

    private static (FileStream Lock, int First) TakeBlock()
    {
        var folder = Directory.CreateDirectory(Path.Combine(Path.GetTempPath(), "securemail-test-ports")).FullName;
        for (var block = 0; block < Blocks; block++)
        {
            try
            {
                var file = new FileStream(
                    Path.Combine(folder, $"{block}.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
                return (file, First + (block * BlockSize));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Another run has it.
            }
        }

        throw new InvalidOperationException($"{Blocks} runs of tests hold all ports; see {folder}.");
    }
}
