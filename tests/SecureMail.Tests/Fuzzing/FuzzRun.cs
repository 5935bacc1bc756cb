using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;
using SecureMail.TestKit.Mutators;

namespace SecureMail.Tests.Fuzzing;

/// <summary>
/// Gives a target mutants of its corpus, one after the other. A mutant whose outcome is new, by the words of the reader
/// or by the exception and its message, joins the corpus in memory, so that later mutants go further than the files do.
/// The same seed and corpus give the same mutants.
/// </summary>
internal sealed partial class FuzzRun : IDisposable
{
    private const int MostKept = 2000;
    private const int LargestKept = 64 * 1024;

    private readonly FuzzTarget _target;
    private readonly string _folder = Directory.CreateTempSubdirectory("smfuzz").FullName;
    private readonly FuzzRead _read;
    private readonly List<byte[]> _corpus;
    private readonly HashSet<string> _outcomes = new(StringComparer.Ordinal);

    public FuzzRun(FuzzTarget target)
    {
        _target = target;
        _read = target.Start(_folder);
        _corpus = [.. target.Samples()];
    }

    public int Mutants { get; private set; }

    public int Accepted { get; private set; }

    public int Refused => Mutants - Accepted;

    /// <summary>How many outcomes there were that differ.</summary>
    public int Outcomes => _outcomes.Count;

    public TimeSpan Took { get; private set; }

    /// <summary>Reads mutants until there were enough or the time is over.</summary>
    /// <exception cref="FuzzFailure">The target failed.</exception>
    public void Run(int seed, int count, TimeSpan time)
    {
        foreach (var sample in _corpus.ToArray())
        {
            Note(sample, seed, -1);
        }

        var started = Stopwatch.GetTimestamp();
        for (var number = 0; number < count && Stopwatch.GetElapsedTime(started) < time; number++)
        {
            var mutant = Mutation.Of(_corpus, _target.Mutators, new Random(HashOf(seed, number)));
            var (isAccepted, isNew) = Note(mutant, seed, number);
            Mutants++;
            Accepted += isAccepted ? 1 : 0;
            if (isNew && mutant.Length <= LargestKept && _corpus.Count < MostKept)
            {
                _corpus.Add(mutant);
            }
        }

        Took = Stopwatch.GetElapsedTime(started);
    }

    /// <summary>What becomes of one input: "accepted" or "refused" with the reason behind it.</summary>
    /// <exception cref="Exception">The target failed.</exception>
    public (bool IsAccepted, string Outcome) Read(byte[] input)
    {
        using var limit = new TimeLimit($"fuzz target {_target.Name}");
        // What a target reads lies in memory, so that nothing waits and everything runs on this thread. The counter of
        // the thread does not include what other tests allocate.
        var before = GC.GetAllocatedBytesForCurrentThread();
        (bool, string) outcome;
        try
        {
            outcome = _read(input) is { } words ? (true, words) : (false, "");
        }
        catch (Exception e) when (e is RefusedException || _target.Refusals.Contains(e.GetType()))
        {
            outcome = (false, Describe(e));
        }

        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBeLessThan(
            _target.MaxAllocated + (128L * input.Length), "bytes allocated");
        return outcome;
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private (bool IsAccepted, bool IsNew) Note(byte[] input, int seed, int number)
    {
        try
        {
            var (isAccepted, outcome) = Read(input);
            return (isAccepted, _outcomes.Add($"{isAccepted} {outcome}"));
        }
        catch (Exception e)
        {
            throw new FuzzFailure(_target.Name, seed, number, input, e);
        }
    }

    /// <summary>The exception and what caused it. Digits and what is quoted are left out, because they differ by
    /// themselves from mutant to mutant.</summary>
    private static string Describe(Exception e)
    {
        var text = new StringBuilder();
        for (var cause = e; cause is not null; cause = cause.InnerException)
        {
            text.Append(cause.GetType().Name).Append(' ').Append(cause.Message).Append(';');
        }

        return Particulars().Replace(text.ToString(), "");
    }

    [GeneratedRegex("[0-9]+|'[^']*'|\"[^\"]*\"")]
    private static partial Regex Particulars();

    /// <summary>A number for each mutant (MurmurHash3's finaliser), so that mutants of neighbouring seeds
    /// differ.</summary>
    private static int HashOf(int seed, int number)
    {
        var hash = (((ulong)(uint)seed << 32) | (uint)number) + 0x9E3779B97F4A7C15;
        hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCD;
        hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53;
        return (int)(hash ^ (hash >> 33));
    }
}

/// <summary>A target failed on a mutant, whose seed and number are named.</summary>
/// <param name="number">-1: a file of the corpus itself.</param>
internal sealed class FuzzFailure(string target, int seed, int number, byte[] input, Exception inner)
    : Exception(
        $"target {target}, seed {seed}, mutant {number}, {input.Length} bytes: "
            + Convert.ToHexString(input.AsSpan(0, Math.Min(input.Length, 4096))),
        inner)
{
    public byte[] Input => input;

    public string FileName => $"{target}-{seed}-{number}";
}
