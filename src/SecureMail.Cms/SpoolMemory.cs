using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace SecureMail.Cms;

/// <summary>
/// The memory that all spools of a process share beyond what each has of its own, so that the sum is bounded however
/// many messages are on their way. Pieces are pinned, so the garbage collector leaves no second copy of a secret
/// behind, and used again, since fresh memory costs more than the cipher does: the system clears every page of it. Each
/// is wiped when it comes back.
/// </summary>
internal static class SpoolMemory
{
    /// <summary>Content that a piece holds; the array has <see cref="Extra"/> more for a tag.</summary>
    public const int PieceSize = 256 * 1024;

    public const int Extra = 16;

    /// <summary>23 MiB, and with the one that a spool has of its own the mail of 25 MB that most servers
    /// allow.</summary>
    private const int SharedPieces = 92;

    private static readonly ConcurrentStack<byte[]> Free = new();
    private static int _taken;

    /// <summary>A piece, its contents undefined. What it may be kept for is the caller's to answer: see
    /// <see cref="TryTakeShare"/>.</summary>
    public static byte[] Rent() =>
        Free.TryPop(out var piece) ? piece : GC.AllocateUninitializedArray<byte>(PieceSize + Extra, pinned: true);

    /// <summary>Whether one more piece may be kept in memory for all to share; <see cref="Return"/> gives the share
    /// back.</summary>
    public static bool TryTakeShare()
    {
        if (Interlocked.Increment(ref _taken) <= SharedPieces)
        {
            return true;
        }

        Interlocked.Decrement(ref _taken);
        return false;
    }

    /// <summary>Pieces kept on a share at this moment.</summary>
    public static int Taken => Volatile.Read(ref _taken);

    /// <summary>Gives back the shares of a spool that nobody disposed; its pieces are the collector's by
    /// then.</summary>
    public static void GiveBack(int shares) => Interlocked.Add(ref _taken, -shares);

    /// <summary>Takes a piece back and wipes what was used of it.</summary>
    /// <param name="shared">It was kept on a share.</param>
    /// <param name="reuse">False when somebody may still be reading it: then nobody else gets it.</param>
    public static void Return(byte[] piece, int used, bool shared, bool reuse = true)
    {
        CryptographicOperations.ZeroMemory(piece.AsSpan(0, used));
        if (shared)
        {
            Interlocked.Decrement(ref _taken);
        }
        // The count is of another moment when many threads come at once: a piece more or less is kept.
        if (reuse && Free.Count < SharedPieces)
        {
            Free.Push(piece);
        }
    }
}
