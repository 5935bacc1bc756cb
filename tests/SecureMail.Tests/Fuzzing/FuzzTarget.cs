using SecureMail.TestKit.Mutators;

namespace SecureMail.Tests.Fuzzing;

/// <summary>Reads one input as the product does, and holds what must be true of everything that is read.</summary>
/// <returns>A few words on what was read, such as its kind or how many parts it has: an input with words that no input
/// had before is kept and mutated further. Null: it was refused without an exception.</returns>
/// <exception cref="RefusedException">The input was refused, and for what.</exception>
/// <exception cref="Exception">Those that the target lists: the input was refused. Any other is a bug.</exception>
internal delegate string? FuzzRead(byte[] input);

/// <summary>The parser answered that it refuses the input, with a reason. Inputs of another reason are kept
/// too.</summary>
internal sealed class RefusedException(string reason) : Exception(reason);

/// <summary>One parser of hostile input: its corpus, its mutators and what must be true of what it reads.</summary>
/// <param name="Name">The folder of its corpus under tests/vectors/fuzz.</param>
/// <param name="Parses">What is parsed, for the list of targets.</param>
/// <param name="Start">Makes the reader, with the keys and the folder for files that it needs.</param>
internal sealed record FuzzTarget(string Name, string Parses, Func<string, FuzzRead> Start)
{
    /// <summary>The exceptions that the parser documents.</summary>
    public Type[] Refusals { get; init; } = [];

    public Mutator[] Mutators { get; init; } = [OctetMutator.Mutate];

    /// <summary>Further samples: files under tests/vectors, each as "folder/pattern".</summary>
    public string[] Vectors { get; init; } = [];

    /// <summary>Mutants in the fast suite. The parser must accept some of them and refuse others.</summary>
    public int Mutants { get; init; } = 1500;

    /// <summary>Whether no input is refused, because the answer "unknown" is one of those that are read.</summary>
    public bool ReadsEverything { get; init; }

    /// <summary>Bytes that one input may make us allocate, beside 128 for each of its own: far below what a hostile
    /// length could claim.</summary>
    public long MaxAllocated { get; init; } = 4 << 20;

    public string CorpusFolder => Path.Combine(TestKit.Vectors.Folder("fuzz"), Name);

    /// <summary>The committed corpus, without its list of outcomes.</summary>
    public IEnumerable<string> CorpusFiles =>
        Directory
            .GetFiles(CorpusFolder)
            .Where(f => Path.GetFileName(f) != FuzzTargets.Outcomes)
            .Order(StringComparer.Ordinal);

    /// <summary>The corpus and the vectors that are samples too.</summary>
    public IReadOnlyList<byte[]> Samples() =>
        [
            .. CorpusFiles
                .Concat(
                    Vectors.SelectMany(v =>
                        Directory
                            .GetFiles(TestKit.Vectors.Folder(Path.GetDirectoryName(v)!), Path.GetFileName(v))
                            .Order(StringComparer.Ordinal)))
                .Select(File.ReadAllBytes),
        ];

    public override string ToString() => Name;
}
