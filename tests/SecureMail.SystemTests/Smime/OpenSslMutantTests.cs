using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using SecureMail.Trust;
using Xunit.Abstractions;

namespace SecureMail.SystemTests.Smime;

/// <summary>
/// Mutants that we call valid, through <c>openssl cms</c>. Its reader of MIME takes less than ours, so it may refuse a
/// mutant as unreadable; what it reads must verify and be the same text.
/// </summary>
public sealed class OpenSslMutantTests(ITestOutputHelper output)
{
    private static readonly SeedMessages Seeds = SeedMessages.Shared;

    /// <summary>SECUREMAIL_FUZZ_OPENSSL sets how many, SECUREMAIL_FUZZ_SEED where the mutants begin.</summary>
    [Fact]
    public async Task OpenSSL_reads_the_same_text_of_every_valid_mutant_that_it_reads()
    {
        var wanted = (int)Number("SECUREMAIL_FUZZ_OPENSSL", 200);
        var number = Number("SECUREMAIL_FUZZ_SEED", 1);
        ConcurrentBag<string> failures = [];
        var (same, refused, taken) = (0, 0, 0);
        var folder = Directory.CreateTempSubdirectory("securemail-mutants-");
        try
        {
            await Parallel.ForAsync(
                0, Environment.ProcessorCount,
                async (_, stop) =>
                {
                    while (Volatile.Read(ref taken) < wanted)
                    {
                        var mine = Interlocked.Increment(ref number) - 1;
                        var seed = (int)(mine % (ulong)Seeds.Mails.Count);
                        var mutant = MailMutator.Mutate(Seeds.Mails[seed], mine);
                        byte[] digest;
                        using (var validation = await Seeds.Reader.ValidateAsync(mutant))
                        {
                            if (validation.Verdict != Verdict.Valid || Interlocked.Increment(ref taken) > wanted)
                            {
                                continue;
                            }

                            digest = validation.SignedBytesDigest!;
                        }

                        var file = Path.Combine(folder.FullName, mine.ToString(CultureInfo.InvariantCulture));
                        var (text, problem) = await ReadAsync(file, mutant, stop);
                        if (text is null && problem is null)
                        {
                            Interlocked.Increment(ref refused);
                        }
                        else if (text is not null && SHA256.HashData(Canonical(text)).AsSpan().SequenceEqual(digest))
                        {
                            Interlocked.Increment(ref same);
                        }
                        else
                        {
                            failures.Add($"mutant {mine} of {Seeds.Names[seed]}: {problem ?? "another text"}");
                        }
                    }
                });
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        output.WriteLine(
            $"{wanted} valid mutants through openssl cms: {same} read alike, {refused} not read, "
                + $"{failures.Count} otherwise");
        foreach (var failure in failures.Order(StringComparer.Ordinal).Take(100))
        {
            output.WriteLine(failure);
        }

        failures.Count.ShouldBe(0, "mutants that OpenSSL reads otherwise, listed above");
        same.ShouldBeGreaterThan(wanted / 2);
    }

    /// <summary>Removes signatures and envelopes until text is left. Text is null when OpenSSL does not read the
    /// message;
    /// the problem says what it found wrong in one that it reads.</summary>
    private static async Task<(byte[]? Text, string? Problem)> ReadAsync(
        string file, byte[] mail, CancellationToken stop)
    {
        await File.WriteAllBytesAsync(file, mail, stop);
        for (var layer = 0; layer < 6; layer++)
        {
            var next = $"{file}.{layer}";
            var (code, errors) = await RunAsync(
                stop, "-verify", "-in", file, "-CAfile", SeedMessages.RootFile, "-purpose", "any",
                "-attime", "1893456000",
                "-out", next);
            if (code != 0
                && errors.Contains("Verification failure", StringComparison.Ordinal)
                && !errors.Contains("content type not signed data", StringComparison.Ordinal)
                // OpenSSL reads no message whose digestAlgorithms holds an unknown one, or not that of the signer, who
                // names it again (RFC 5652 §5.1 allows both).
                && !errors.Contains("unknown digest algorithm", StringComparison.Ordinal)
                && !errors.Contains("no matching digest", StringComparison.Ordinal))
            {
                return (null, errors);
            }

            if (code != 0)
            {
                (code, errors) = await RunAsync(
                    stop, "-decrypt", "-in", file, "-recip", Seed("recipient.pem"), "-inkey", Seed("recipient-key.pem"),
                    "-out", next);
                if (code != 0)
                {
                    return (null, null);
                }
            }

            var text = await File.ReadAllBytesAsync(next, stop);
            var head = Encoding.Latin1.GetString(text, 0, Math.Min(200, text.Length));
            if (!head.Contains("multipart/signed", StringComparison.Ordinal)
                && !head.Contains("pkcs7-mime", StringComparison.Ordinal))
            {
                return (text, null);
            }

            file = next;
        }

        return (null, "more than six layers");
    }

    private static string Seed(string name) => Path.Combine(Path.GetDirectoryName(SeedMessages.RootFile)!, name);

    private static byte[] Canonical(byte[] text) =>
        Encoding.Latin1.GetBytes(Encoding.Latin1.GetString(text).ReplaceLineEndings("\r\n"));

    private static async Task<(int Code, string Errors)> RunAsync(CancellationToken stop, params string[] arguments)
    {
        using var process = System.Diagnostics.Process.Start(
            new System.Diagnostics.ProcessStartInfo("openssl", ["cms", .. arguments])
            {
                RedirectStandardError = true,
                RedirectStandardInput = true,
                UseShellExecute = false,
            })!;
        process.StandardInput.Close();
        var errors = await process.StandardError.ReadToEndAsync(stop);
        await process.WaitForExitAsync(stop);
        return (process.ExitCode, errors);
    }

    private static ulong Number(string variable, ulong otherwise) =>
        ulong.TryParse(
            Environment.GetEnvironmentVariable(variable), NumberStyles.None, CultureInfo.InvariantCulture,
            out var number)
            ? number
            : otherwise;
}
