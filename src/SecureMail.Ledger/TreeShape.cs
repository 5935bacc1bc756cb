using System.Numerics;

namespace SecureMail.Ledger;

/// <summary>A complete subtree: the hash over leaves [Index·2^Level, (Index+1)·2^Level). Level 0 is a leaf.</summary>
public readonly record struct NodeId(int Level, long Index);

/// <summary>
/// Which complete subtrees make up a range, a proof or a root. Only complete subtrees are stored, because they never
/// change. The hashes at the right edge of the tree are folded from them when they are needed.
/// </summary>
public static class TreeShape
{
    /// <summary>
    /// The complete subtrees of the leaves [begin, end), left to right. Folded from the right they give the hash of the
    /// range. <paramref name="begin"/> is a multiple of the largest power of two that fits, as in every range of a
    /// proof.
    /// </summary>
    public static List<NodeId> Peaks(long begin, long end)
    {
        var peaks = new List<NodeId>();
        while (begin < end)
        {
            var level = BitOperations.Log2((ulong)(end - begin));
            peaks.Add(new NodeId(level, begin >> level));
            begin += 1L << level;
        }
        return peaks;
    }

    /// <summary>The ranges whose hashes are PATH(index, D[size]) of RFC 9162 §2.1.3.1, from the leaf upwards.</summary>
    public static List<(long Begin, long End)> Inclusion(long index, long size)
    {
        var ranges = new List<(long, long)>();
        var (begin, end) = (0L, size);
        while (end - begin > 1)
        {
            var middle = begin + LargestPowerOfTwoBelow(end - begin);
            if (index < middle)
            {
                ranges.Add((middle, end));
                end = middle;
            }
            else
            {
                ranges.Add((begin, middle));
                begin = middle;
            }
        }
        ranges.Reverse();
        return ranges;
    }

    /// <summary>The ranges whose hashes are PROOF(first, D[second]) of RFC 9162 §2.1.4.1. 0 &lt; first ≤
    /// second.</summary>
    public static List<(long Begin, long End)> Consistency(long first, long second)
    {
        var ranges = new List<(long, long)>();
        var (begin, end) = (0L, second);
        var old = first; // the end of the old tree
        var whole = true; // SUBPROOF's b: the current subtree is the whole old tree, whose root the verifier has
        while (old != end)
        {
            var middle = begin + LargestPowerOfTwoBelow(end - begin);
            if (old <= middle)
            {
                ranges.Add((middle, end));
                end = middle;
            }
            else
            {
                ranges.Add((begin, middle));
                begin = middle;
                whole = false;
            }
        }
        if (!whole)
        {
            ranges.Add((begin, end));
        }

        ranges.Reverse();
        return ranges;
    }

    /// <summary>The hash of neighbouring complete subtrees, folded from the right (RFC 9162 §2.1.1).</summary>
    public static byte[] Fold(IEnumerable<byte[]> peaksLeftToRight)
    {
        byte[]? hash = null;
        foreach (var peak in peaksLeftToRight.Reverse())
        {
            hash = hash is null ? peak : MerkleTree.NodeHash(peak, hash);
        }

        return hash ?? MerkleTree.EmptyRoot();
    }

    private static long LargestPowerOfTwoBelow(long n) => 1L << BitOperations.Log2((ulong)(n - 1));
}

/// <summary>
/// The right edge of a growing tree: one hash for each set bit of its size. Appending a leaf costs two hashes on
/// average. The root costs as many hashes as there are set bits. No other part of the tree is needed for either.
/// </summary>
public sealed class Frontier
{
    private readonly List<byte[]> _peaks;

    public Frontier(long size, IEnumerable<byte[]> peaksLeftToRight)
    {
        Size = size;
        _peaks = [.. peaksLeftToRight];
        if (_peaks.Count != BitOperations.PopCount((ulong)size))
        {
            throw new ArgumentException("There is one peak for each set bit of the size.");
        }
    }

    public Frontier()
        : this(0, []) { }

    public long Size { get; private set; }

    /// <summary>Appends a leaf.</summary>
    /// <param name="completed">Called for each subtree of level 1 and up that the leaf completes, the lowest
    /// first.</param>
    public void Append(byte[] leafHash, Action<NodeId, byte[]>? completed = null)
    {
        var index = Size++;
        var hash = leafHash;
        for (var level = 1; (index & 1) == 1; level++)
        {
            hash = MerkleTree.NodeHash(_peaks[^1], hash);
            _peaks.RemoveAt(_peaks.Count - 1);
            index >>= 1;
            completed?.Invoke(new NodeId(level, index), hash);
        }
        _peaks.Add(hash);
    }

    public byte[] Root() => TreeShape.Fold(_peaks);
}
