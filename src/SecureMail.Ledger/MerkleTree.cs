using System.Numerics;
using System.Security.Cryptography;

namespace SecureMail.Ledger;

/// <summary>
/// The hash tree of RFC 9162 §2.1 (the tree of RFC 6962), as pure functions: hashes, roots, and the verification of
/// proofs. The code has no state and no database. Peers, auditors and the gateway's own sequencer verify with it.
/// </summary>
public static class MerkleTree
{
    public const int HashSize = SHA256.HashSizeInBytes;

    /// <summary>The most hashes that a proof in a tree of 2^63 leaves can have.</summary>
    public const int MaxProofHashes = 64;

    /// <summary>SHA-256(0x00 || entry). The prefix keeps a leaf from being passed off as a node (RFC 9162
    /// §2.1.1).</summary>
    public static byte[] LeafHash(ReadOnlySpan<byte> entry)
    {
        if (entry.Length > LedgerEntry.MaxBytes)
        {
            throw new LedgerException(
                LedgerFault.TooLarge, $"A ledger entry is at most {LedgerEntry.MaxBytes} bytes.");
        }

        Span<byte> input = stackalloc byte[entry.Length + 1];
        input[0] = 0x00;
        entry.CopyTo(input[1..]);
        return SHA256.HashData(input);
    }

    /// <summary>SHA-256(0x01 || left || right).</summary>
    public static byte[] NodeHash(ReadOnlySpan<byte> left, ReadOnlySpan<byte> right)
    {
        Span<byte> input = stackalloc byte[1 + (2 * HashSize)];
        input[0] = 0x01;
        left.CopyTo(input[1..]);
        right.CopyTo(input[(1 + HashSize)..]);
        return SHA256.HashData(input);
    }

    /// <summary>The root of the empty tree: SHA-256 of nothing.</summary>
    public static byte[] EmptyRoot() => SHA256.HashData([]);

    /// <summary>Whether the leaf has that index in the tree of that size and root (RFC 9162 §2.1.3.2).</summary>
    public static bool VerifyInclusion(
        ReadOnlySpan<byte> leafHash, long index, long size, IReadOnlyList<byte[]> proof, ReadOnlySpan<byte> root)
    {
        if (index < 0 || index >= size || !WellFormed(proof))
        {
            return false;
        }

        var (fn, sn) = (index, size - 1);
        var r = leafHash.ToArray();
        foreach (var p in proof)
        {
            if (sn == 0)
            {
                return false;
            }

            if ((fn & 1) == 1 || fn == sn)
            {
                r = NodeHash(p, r);
                while ((fn & 1) == 0 && fn != 0)
                {
                    (fn, sn) = (fn >> 1, sn >> 1);
                }
            }
            else
            {
                r = NodeHash(r, p);
            }
            (fn, sn) = (fn >> 1, sn >> 1);
        }
        return sn == 0 && root.SequenceEqual(r);
    }

    /// <summary>Whether the tree (second) only appended to the tree (first) (RFC 9162 §2.1.4.2).</summary>
    /// <remarks>Equal sizes need equal roots and an empty proof. A tree without leaves is refused, because the gateway
    /// signs no checkpoint over it.</remarks>
    public static bool VerifyConsistency(
        long first, ReadOnlySpan<byte> firstRoot, long second, ReadOnlySpan<byte> secondRoot,
        IReadOnlyList<byte[]> proof)
    {
        if (first <= 0 || first > second || !WellFormed(proof))
        {
            return false;
        }

        if (first == second)
        {
            return proof.Count == 0 && firstRoot.SequenceEqual(secondRoot);
        }
        // Step 2: the root of a complete tree is not repeated in the proof.
        var path = BitOperations.IsPow2(first) ? [firstRoot.ToArray(), .. proof] : proof;
        if (path.Count == 0)
        {
            return false;
        }

        var (fn, sn) = (first - 1, second - 1);
        while ((fn & 1) == 1)
        {
            (fn, sn) = (fn >> 1, sn >> 1);
        }

        var (fr, sr) = (path[0], path[0]);
        foreach (var c in path.Skip(1))
        {
            if (sn == 0)
            {
                return false;
            }

            if ((fn & 1) == 1 || fn == sn)
            {
                fr = NodeHash(c, fr);
                sr = NodeHash(c, sr);
                while ((fn & 1) == 0 && fn != 0)
                {
                    (fn, sn) = (fn >> 1, sn >> 1);
                }
            }
            else
            {
                sr = NodeHash(sr, c);
            }
            (fn, sn) = (fn >> 1, sn >> 1);
        }
        return sn == 0 && firstRoot.SequenceEqual(fr) && secondRoot.SequenceEqual(sr);
    }

    private static bool WellFormed(IReadOnlyList<byte[]> proof) =>
        proof.Count <= MaxProofHashes && proof.All(hash => hash.Length == HashSize);
}
