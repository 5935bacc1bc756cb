using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace SecureMail.Cms;

/// <summary>
/// The memory that all spools of a process share beyond the unshared pieces of each spool. It bounds the memory of the
/// process, however many messages are processed at once. Pieces are pinned, so that the garbage collector leaves no
/// second copy of a secret. They are reused, because new memory costs more than the cipher does (the system clears
/// every page). Each piece is wiped when it is returned.
/// </summary>
internal static class SpoolMemory
{
    /// <summary>Bytes of content in a piece; the array is <see cref="TagSize"/> bytes longer.</summary>
    public const int PieceSize = 256 * 1024;

    /// <summary>Bytes of a tag of AES-GCM.</summary>
    public const int TagSize = 16;

    /// <summary>23 MiB. With the MiB of each spool it is enough for a message of 25 MB, which is what most servers
    /// allow.</summary>
    private const int SharedPieces = 92;

    private static readonly ConcurrentStack<byte[]> Free = new();
    private static int _reserved;

    /// <summary>A piece with undefined contents. A caller that keeps it beyond its unshared pieces reserves it with
    /// <see cref="TryReserve"/>.</summary>
    public static byte[] Rent() =>
        Free.TryPop(out var piece) ? piece : GC.AllocateUninitializedArray<byte>(PieceSize + TagSize, pinned: true);

    /// <summary>Reserves one piece of the shared memory; false when it is used up. <see cref="Return"/> releases the
    /// reservation.</summary>
    public static bool TryReserve()
    {
        if (Interlocked.Increment(ref _reserved) <= SharedPieces)
        {
            return true;
        }

        Interlocked.Decrement(ref _reserved);
        return false;
    }

    /// <summary>Pieces reserved now.</summary>
    public static int Reserved => Volatile.Read(ref _reserved);

    /// <summary>Releases the reservations of a spool that was not disposed. The garbage collector frees its
    /// pieces.</summary>
    public static void ReleaseReservations(int count) => Interlocked.Add(ref _reserved, -count);

    /// <summary>Takes a piece back and wipes its used bytes.</summary>
    /// <param name="reserved">The piece was reserved.</param>
    /// <param name="reuse">False when a reader may still be using the piece; it is not reused then.</param>
    public static void Return(byte[] piece, int used, bool reserved, bool reuse = true)
    {
        CryptographicOperations.ZeroMemory(piece.AsSpan(0, used));
        if (reserved)
        {
            Interlocked.Decrement(ref _reserved);
        }
        // With many threads the count may be out of date; a few pieces more or less are kept then.
        if (reuse && Free.Count < SharedPieces)
        {
            Free.Push(piece);
        }
    }
}
