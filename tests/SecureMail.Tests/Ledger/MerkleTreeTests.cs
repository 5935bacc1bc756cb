using System.Buffers.Binary;
using System.Security.Cryptography;
using SecureMail.Ledger;

namespace SecureMail.Tests.Ledger;

public class MerkleTreeTests
{
    private static byte[] Leaf(long index)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(bytes, index);
        return MerkleTree.LeafHash(bytes);
    }

    // The definition of RFC 9162 §2.1.1, as it stands there: the oracle for everything else here.
    private static byte[] Root(ReadOnlySpan<byte[]> leaves)
    {
        if (leaves.Length == 0)
        {
            return SHA256.HashData([]);
        }

        if (leaves.Length == 1)
        {
            return leaves[0];
        }

        var k = 1;
        while (k * 2 < leaves.Length)
        {
            k *= 2;
        }

        return MerkleTree.NodeHash(Root(leaves[..k]), Root(leaves[k..]));
    }

    private static List<byte[]> Hashes(byte[][] leaves, IEnumerable<(long Begin, long End)> ranges) =>
        [.. ranges.Select(range => Root(leaves.AsSpan((int)range.Begin..(int)range.End)))];

    // The test tree of the Certificate Transparency project's reference implementation: eight leaves, published roots.
    private static readonly string[] ReferenceLeaves =
    [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];

    private static readonly string[] ReferenceRoots =
    [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    [Fact]
    public void The_reference_trees_have_their_published_roots()
    {
        var frontier = new Frontier();
        Convert
            .ToHexStringLower(frontier.Root())
            .ShouldBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        foreach (var (leaf, root) in ReferenceLeaves.Zip(ReferenceRoots))
        {
            frontier.Append(MerkleTree.LeafHash(Convert.FromHexString(leaf)));
            Convert.ToHexStringLower(frontier.Root()).ShouldBe(root);
        }
    }

    [Fact]
    public void Every_inclusion_proof_up_to_seventy_leaves_holds_and_no_other_place_does()
    {
        var leaves = Enumerable.Range(0, 70).Select(i => Leaf(i)).ToArray();
        for (var size = 1; size <= leaves.Length; size++)
        {
            var root = Root(leaves.AsSpan(0, size));
            for (var index = 0; index < size; index++)
            {
                var proof = Hashes(leaves, TreeShape.Inclusion(index, size));
                MerkleTree.VerifyInclusion(leaves[index], index, size, proof, root).ShouldBeTrue();
                MerkleTree.VerifyInclusion(leaves[index], (index + 1) % (size + 1), size, proof, root).ShouldBeFalse();
                MerkleTree.VerifyInclusion(Leaf(1000), index, size, proof, root).ShouldBeFalse();
                MerkleTree.VerifyInclusion(leaves[index], index, size, [.. proof, root], root).ShouldBeFalse();
                if (proof.Count > 0)
                {
                    MerkleTree.VerifyInclusion(leaves[index], index, size, proof[1..], root).ShouldBeFalse();
                }
            }
        }
    }

    [Fact]
    public void Every_consistency_proof_up_to_seventy_leaves_holds_and_a_changed_one_does_not()
    {
        var leaves = Enumerable.Range(0, 70).Select(i => Leaf(i)).ToArray();
        var roots = Enumerable.Range(0, 71).Select(n => Root(leaves.AsSpan(0, n))).ToArray();
        for (var second = 1; second <= 70; second++)
        {
            for (var first = 1; first <= second; first++)
            {
                var proof = Hashes(leaves, TreeShape.Consistency(first, second));
                MerkleTree
                    .VerifyConsistency(first, roots[first], second, roots[second], proof)
                    .ShouldBeTrue($"{first} to {second}");
                MerkleTree.VerifyConsistency(first, roots[0], second, roots[second], proof).ShouldBeFalse();
                MerkleTree.VerifyConsistency(first, roots[first], second, roots[0], proof).ShouldBeFalse();
                MerkleTree
                    .VerifyConsistency(first, roots[first], second, roots[second], [.. proof, roots[0]])
                    .ShouldBeFalse();
                for (var i = 0; i < proof.Count; i++)
                {
                    byte[][] bent = [.. proof];
                    bent[i] = roots[0];
                    MerkleTree.VerifyConsistency(first, roots[first], second, roots[second], bent).ShouldBeFalse();
                }
            }
        }
    }

    [Fact]
    public void A_log_that_changed_one_old_entry_has_no_consistency_proof()
    {
        var before = Enumerable.Range(0, 40).Select(i => Leaf(i)).ToArray();
        byte[][] after = [.. before];
        after[3] = Leaf(1003);
        for (var first = 4; first < 40; first++)
        {
            var proof = Hashes(after, TreeShape.Consistency(first, 40));
            MerkleTree.VerifyConsistency(first, Root(before.AsSpan(0, first)), 40, Root(after), proof).ShouldBeFalse();
        }
    }

    [Fact]
    public void Proofs_hold_in_big_random_trees()
    {
        var random = new Random(20260301);
        for (var round = 0; round < 20; round++)
        {
            var size = random.Next(1000, 6000);
            var leaves = Enumerable.Range(0, size).Select(i => Leaf(i + round)).ToArray();
            var frontier = new Frontier();
            foreach (var leaf in leaves)
            {
                frontier.Append(leaf);
            }

            var root = Root(leaves);
            frontier.Root().ShouldBe(root);
            for (var i = 0; i < 20; i++)
            {
                var index = random.Next(size);
                MerkleTree
                    .VerifyInclusion(leaves[index], index, size, Hashes(leaves, TreeShape.Inclusion(index, size)), root)
                    .ShouldBeTrue();
                var first = random.Next(1, size + 1);
                MerkleTree
                    .VerifyConsistency(
                        first, Root(leaves.AsSpan(0, first)), size, root,
                        Hashes(leaves, TreeShape.Consistency(first, size)))
                    .ShouldBeTrue();
            }
        }
    }

    [Fact]
    public void Ranges_of_a_proof_are_made_of_stored_complete_subtrees()
    {
        var complete = new Dictionary<NodeId, byte[]>();
        var frontier = new Frontier();
        var leaves = Enumerable.Range(0, 100).Select(i => Leaf(i)).ToArray();
        foreach (var leaf in leaves)
        {
            complete[new NodeId(0, frontier.Size)] = leaf;
            frontier.Append(leaf, (id, hash) => complete.Add(id, hash));
        }
        for (var first = 1L; first <= 100; first++)
        {
            foreach (var (begin, end) in TreeShape.Consistency(first, 100).Concat(TreeShape.Inclusion(first - 1, 100)))
            {
                TreeShape
                    .Fold(TreeShape.Peaks(begin, end).Select(id => complete[id]))
                    .ShouldBe(Root(leaves.AsSpan((int)begin..(int)end)));
            }
        }
    }

    [Fact]
    public void Sizes_at_the_end_of_the_number_range_do_not_overflow()
    {
        var root = MerkleTree.EmptyRoot();
        TreeShape.Consistency(1, long.MaxValue).Count.ShouldBeLessThanOrEqualTo(MerkleTree.MaxProofHashes);
        TreeShape
            .Inclusion(long.MaxValue - 1, long.MaxValue)
            .Count.ShouldBeLessThanOrEqualTo(MerkleTree.MaxProofHashes);
        MerkleTree.VerifyInclusion(root, long.MaxValue - 1, long.MaxValue, [root], root).ShouldBeFalse();
        MerkleTree.VerifyConsistency(long.MaxValue - 1, root, long.MaxValue, root, [root, root]).ShouldBeFalse();
        MerkleTree.VerifyConsistency(0, root, 1, root, []).ShouldBeFalse();
        MerkleTree.VerifyConsistency(2, root, 1, root, []).ShouldBeFalse();
        MerkleTree.VerifyInclusion(root, 0, 1, Enumerable.Repeat(root, 65).ToList(), root).ShouldBeFalse();
    }
}
