namespace SecureMail.TestKit.Mutators;

/// <summary>Changes one sample in one way. Another sample gives pieces to put in. The same numbers of
/// <paramref name="random"/> give the same bytes.</summary>
internal delegate byte[] Mutator(byte[] sample, byte[] other, Random random);

/// <summary>The mutators that fuzz targets choose from, and what a mutant of a corpus is.</summary>
internal static class Mutation
{
    private const int LargestMutant = 256 * 1024;

    /// <summary>A sample of the corpus after one to four changes, each by one of the mutators.</summary>
    public static byte[] Of(IReadOnlyList<byte[]> corpus, IReadOnlyList<Mutator> mutators, Random random)
    {
        var mutant = corpus[random.Next(corpus.Count)];
        for (var changes = 1 + random.Next(4); changes > 0; changes--)
        {
            var other = corpus[random.Next(corpus.Count)];
            var changed = mutators[random.Next(mutators.Count)](mutant, other, random);
            mutant = changed.Length <= LargestMutant ? changed : mutant;
        }

        return mutant;
    }
}
