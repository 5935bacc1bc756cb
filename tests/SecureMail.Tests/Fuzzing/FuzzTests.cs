using System.Globalization;
using Xunit.Abstractions;

namespace SecureMail.Tests.Fuzzing;

/// <summary>
/// Every fuzz target for a moment, with a fixed seed. scripts/fuzz runs one of them, or each, for as long as is asked:
/// SECUREMAIL_FUZZ_TARGET, _SEED, _COUNT, _SECONDS, _REPLAY (a file, instead of mutants) and _FOLDER (for what is said
/// and for inputs that fail).
/// </summary>
public sealed class FuzzTests(ITestOutputHelper output)
{
    private static readonly string? Folder = Setting("FOLDER");

    public static TheoryData<string> Names => [.. FuzzTargets.All.Select(t => t.Name)];

    public static TheoryData<string> Chosen =>
        [.. FuzzTargets.All.Select(t => t.Name).Where(n => Setting("TARGET") is not { } name || name == n)];

    [Theory]
    [MemberData(nameof(Chosen))]
    public void Mutants_are_read_or_refused_as_the_parser_documents(string name)
    {
        var target = FuzzTargets.Find(name);
        using var run = new FuzzRun(target);
        if (Setting("REPLAY") is { } file)
        {
            var (isAccepted, outcome) = run.Read(File.ReadAllBytes(file));
            Say($"{name}: {(isAccepted ? "accepted" : "refused")} {outcome}");
            return;
        }

        var seed = Number("SEED", 1);
        var seconds = Number("SECONDS", 0);
        var count = Number("COUNT", seconds > 0 ? int.MaxValue : target.Mutants);
        try
        {
            run.Run(seed, count, seconds > 0 ? TimeSpan.FromSeconds(seconds) : TimeSpan.MaxValue);
        }
        catch (FuzzFailure failure)
        {
            Say($"{name}: FAILED, {failure.FileName}: {failure.InnerException!.Message.ReplaceLineEndings(" ")}");
            if (Folder is not null)
            {
                File.WriteAllBytes(Path.Combine(Folder, failure.FileName), failure.Input);
            }

            throw;
        }

        Say(
            $"{name}: seed {seed}, {run.Mutants} mutants, {run.Accepted} accepted, {run.Refused} refused, "
            + $"{run.Outcomes} outcomes, {run.Mutants / run.Took.TotalSeconds:F0} a second");
        // A target that refuses everything at the first byte, or takes everything, tests nothing.
        if (run.Mutants >= target.Mutants)
        {
            run.Accepted.ShouldBeGreaterThan(0);
            run.Outcomes.ShouldBeGreaterThan(2);
            (run.Refused > 0).ShouldBe(!target.ReadsEverything);
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void The_corpus_has_the_outcomes_that_stand_beside_it(string name)
    {
        var target = FuzzTargets.Find(name);
        using var run = new FuzzRun(target);
        string[] outcomes =
        [
            .. target.CorpusFiles.Select(f =>
                $"{(run.Read(File.ReadAllBytes(f)).IsAccepted ? "accepted" : "refused")} {Path.GetFileName(f)}"),
        ];
        outcomes.Count(o => o.StartsWith("accepted ", StringComparison.Ordinal)).ShouldBeGreaterThan(0);
        outcomes.ShouldBe(File.ReadAllLines(Path.Combine(target.CorpusFolder, FuzzTargets.Outcomes)));
    }

    [Fact]
    public void Every_target_has_a_corpus_and_stands_in_the_page()
    {
        FuzzTargets.All.Select(t => t.Name).ShouldBeUnique();
        Directory
            .GetDirectories(Vectors.Folder("fuzz"))
            .Select(f => Path.GetFileName(f))
            .ShouldBe(FuzzTargets.All.Select(t => t.Name), ignoreOrder: true);
        var page = File.ReadAllText(Path.Combine(Repository.Root, "docs", "fuzzing.md"));
        FuzzTargets.All.ShouldAllBe(t => page.Contains($"| `{t.Name}` | {t.Parses} |", StringComparison.Ordinal));
    }

    [Fact]
    public void The_same_seed_gives_the_same_mutants_and_a_failure_names_the_one_that_failed()
    {
        var first = FailureOf(seed: 7);
        FailureOf(seed: 7).Input.ShouldBe(first.Input);
        FailureOf(seed: 8).Input.ShouldNotBe(first.Input);
        first.Message.ShouldContain("seed 7, mutant 40");

        static FuzzFailure FailureOf(int seed)
        {
            var read = 0;
            var samples = FuzzTargets.Find("mime").Samples().Count;
            var target = FuzzTargets.Find("mime") with
            {
                Start = _ => _ => read++ < samples + 40 ? "read" : throw new InvalidDataException("a bug"),
            };
            using var run = new FuzzRun(target);
            return Should.Throw<FuzzFailure>(() => run.Run(seed, 100, TimeSpan.MaxValue));
        }
    }

    [Fact]
    public void A_mutant_with_a_new_outcome_is_mutated_further()
    {
        // Eight steps, each of which only a mutant of the step before reaches.
        var target = FuzzTargets.Find("mime") with
        {
            Vectors = [],
            Start = _ => input => $"{input.AsSpan().Count((byte)0xFE) / 8}",
        };
        using var run = new FuzzRun(target);
        run.Run(1, 4000, TimeSpan.MaxValue);
        run.Outcomes.ShouldBeGreaterThan(8);
    }

    [Fact]
    public void An_input_that_makes_us_allocate_too_much_fails()
    {
        var target = FuzzTargets.Find("verifier-key") with
        {
            Start = _ => _ => $"{GC.AllocateUninitializedArray<byte>(5 << 20).Length}",
        };
        using var run = new FuzzRun(target);
        Should.Throw<FuzzFailure>(() => run.Run(1, 1, TimeSpan.MaxValue));
    }

    private void Say(string line)
    {
        output.WriteLine(line);
        if (Folder is not null)
        {
            File.AppendAllLines(Path.Combine(Folder, "report.txt"), [line]);
        }
    }

    private static string? Setting(string name) =>
        Environment.GetEnvironmentVariable($"SECUREMAIL_FUZZ_{name}") is { Length: > 0 } value ? value : null;

    private static int Number(string name, int otherwise) =>
        Setting(name) is { } text ? int.Parse(text, CultureInfo.InvariantCulture) : otherwise;
}
