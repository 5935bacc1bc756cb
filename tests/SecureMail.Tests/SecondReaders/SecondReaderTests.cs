using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using SecureMail.Trust;
using Xunit.Abstractions;

namespace SecureMail.Tests.SecondReaders;

/// <summary>
/// Whatever we call valid, MimeKit and BouncyCastle read to the same text and signers. The mutants are numbered;
/// scripts/fuzz runs more of them.
/// </summary>
public sealed class SecondReaderTests(ITestOutputHelper output)
{
    private const ulong DefaultSeed = 1;

    private static readonly SeedMessages Seeds = SeedMessages.Shared;

    [Fact]
    public async Task Every_seed_is_valid_and_read_alike_by_three_readers()
    {
        Seeds.Names.Count.ShouldBe(25);
        for (var i = 0; i < Seeds.Names.Count; i++)
        {
            var (verdict, ours) = await Seeds.Reader.ReadAsync(Seeds.Mails[i]);
            verdict.ShouldBe(Verdict.Valid, Seeds.Names[i]);
            var (signers, leaves) = Seeds.Expected[i];
            ours!.Signers.ShouldBe(signers, Seeds.Names[i]);
            ours.Leaves.ShouldBe(leaves, Seeds.Names[i]);
            var theirs = new SecondReader(Seeds.Reader.RecipientKeyPem).Read(Seeds.Mails[i]);
            Difference(Seeds.Names[i], ours, theirs).ShouldBeNull();
        }
    }

    /// <summary>SECUREMAIL_FUZZ_MUTANTS sets how many, or SECUREMAIL_FUZZ_SECONDS for how long; SECUREMAIL_FUZZ_SEED
    /// the number of the first; SECUREMAIL_FUZZ_FOLDER where mutants that fail are written.</summary>
    [Fact]
    public async Task No_mutant_that_we_call_valid_is_read_otherwise()
    {
        var count = Number("SECUREMAIL_FUZZ_MUTANTS", 20_000);
        var first = Number("SECUREMAIL_FUZZ_SEED", DefaultSeed);
        ConcurrentBag<string> failures = [];
        ConcurrentDictionary<Verdict, int> verdicts = [];
        var slowest = (Time: TimeSpan.Zero, Number: 0UL);
        var largest = (Octets: 0, Number: 0UL);
        Lock gate = new();
        var reader = new SecondReader(Seeds.Reader.RecipientKeyPem);
        var seconds = Number("SECUREMAIL_FUZZ_SECONDS", 0);
        using var end = new CancellationTokenSource(
            seconds == 0 ? Timeout.InfiniteTimeSpan : TimeSpan.FromSeconds(seconds));
        var done = 0;
        var running = Parallel.ForAsync(
            0L, seconds == 0 ? (long)count : long.MaxValue, end.Token,
            async (i, _) =>
            {
                Interlocked.Increment(ref done);
                var number = first + (ulong)i;
                var seed = (int)(number % (ulong)Seeds.Mails.Count);
                var mutant = MailMutator.Mutate(Seeds.Mails[seed], number);
                var started = Stopwatch.GetTimestamp();
                try
                {
                    var (verdict, ours) = await Seeds.Reader.ReadAsync(mutant);
                    var took = Stopwatch.GetElapsedTime(started);
                    verdicts.AddOrUpdate(verdict, 1, (_, n) => n + 1);
                    lock (gate)
                    {
                        slowest = took > slowest.Time ? (took, number) : slowest;
                        largest = mutant.Length > largest.Octets ? (mutant.Length, number) : largest;
                    }

                    if (ours is not null && Judge(seed, mutant, ours, reader) is { } difference)
                    {
                        failures.Add($"mutant {number} of {Seeds.Names[seed]}: {difference}");
                    }
                }
                catch (Exception e)
                {
                    failures.Add($"mutant {number} of {Seeds.Names[seed]}: {e}");
                }
            });
        try
        {
            await running;
        }
        catch (OperationCanceledException) when (end.IsCancellationRequested)
        {
            // The time is over.
        }

        var total = string.Join(", ", verdicts.OrderBy(v => v.Key).Select(v => $"{v.Key} {v.Value}"));
        output.WriteLine(
            $"{done} mutants from {first}: {total}; slowest {slowest.Time.TotalMilliseconds:F0} ms (mutant "
            + $"{slowest.Number}), largest {largest.Octets} octets (mutant {largest.Number}); failures "
            + $"{failures.Count}");
        if (Environment.GetEnvironmentVariable("SECUREMAIL_FUZZ_FOLDER") is { Length: > 0 } folder)
        {
            foreach (var number in failures.Select(f => ulong.Parse(f.Split(' ')[1], CultureInfo.InvariantCulture)))
            {
                var seed = (int)(number % (ulong)Seeds.Mails.Count);
                File.WriteAllBytes(
                    Path.Combine(folder, $"{number}-{Seeds.Names[seed]}.eml"),
                    MailMutator.Mutate(Seeds.Mails[seed], number));
            }
        }

        foreach (var failure in failures.Order(StringComparer.Ordinal).Take(200))
        {
            output.WriteLine(failure);
        }

        verdicts.GetValueOrDefault(Verdict.Valid).ShouldBeGreaterThan(done / 50, "mutants that stay valid");
        failures.Count.ShouldBe(0, "mutants that are read otherwise, listed above");
    }

    /// <summary>Null: the mutant is read as the seed is, by us and by the second reader.</summary>
    private static string? Judge(int seed, byte[] mutant, Reading ours, SecondReader reader)
    {
        var (signers, leaves) = Seeds.Expected[seed];
        // A layer may be lost where the same signer signed the layer inside, too.
        if (!ours.Signers.Distinct().SequenceEqual(signers.Distinct()) || !ours.Leaves.SequenceEqual(leaves))
        {
            return $"false accept: {ours}";
        }

        if (DifferenceOf(ours, mutant, reader) is not { } difference)
        {
            return null;
        }

        // What is listed as known is undone. Then nothing may differ.
        var undone = KnownDifferences.Undo(mutant);
        return undone.AsSpan().SequenceEqual(mutant) ? difference : DifferenceOf(ours, undone, reader);
    }

    private static string? DifferenceOf(Reading ours, byte[] mail, SecondReader reader)
    {
        try
        {
            return Difference("", ours, reader.Read(mail));
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            return $"the second reader fails: {e.GetType()} {e.Message}";
        }
    }

    private static string? Difference(string name, Reading ours, Reading? theirs) =>
        ours.ToString() == theirs?.ToString() ? null : $"{name}\nours   {ours}\ntheirs {theirs?.ToString() ?? "none"}";

    private static ulong Number(string variable, ulong otherwise) =>
        ulong.TryParse(
            Environment.GetEnvironmentVariable(variable), NumberStyles.None, CultureInfo.InvariantCulture,
            out var number)
            ? number
            : otherwise;
}
