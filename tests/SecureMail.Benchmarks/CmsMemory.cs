using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;

namespace SecureMail.Benchmarks;

/// <summary>
/// Peak memory of each operation, each in a process of its own that does it once, from a file to a file. The figure is
/// VmHWM of the whole process, its runtime included; what a size costs is the difference to 10 KB, and that is what the
/// goals are about.
/// </summary>
internal static class CmsMemory
{
    public const string Command = "--measure-memory";

    private const int MoreAllowed = 32;
    private const int MoreAllowedForEight = 256;
    private static readonly (string Label, int Octets)[] Sizes =
    [
        ("10k", 10_000),
        ("25m", 25_000_000),
        ("200m", 200_000_000),
    ];
    private static readonly string[] Operations =
    [
        "sign",
        "verify",
        "encrypt",
        "decrypt",
        "sign-encrypt",
        "decrypt-verify",
    ];

    public static IEnumerable<string> Names =>
        [.. Operations.SelectMany(o => Sizes.Select(s => $"cms.memory.{o}.{s.Label}")), "cms.memory.eight.200m"];

    /// <summary>Measures the rows wanted; a goal needs the figure for 10 KB, which is measured for it.</summary>
    public static async IAsyncEnumerable<Peak> RunAsync(Func<string, bool> wanted)
    {
        var folder = Directory.CreateTempSubdirectory("securemail-bench-");
        try
        {
            using var materials = new Materials();
            await SaveAsync(materials, folder.FullName);
            foreach (var operation in Operations)
            {
                var smallest = new Lazy<Task<double>>(() =>
                    MeasureAsync(materials, folder.FullName, operation, Sizes[0].Octets));
                foreach (var (label, octets) in Sizes)
                {
                    var name = $"cms.memory.{operation}.{label}";
                    if (!wanted(name))
                    {
                        continue;
                    }

                    var mib =
                        octets == Sizes[0].Octets
                            ? await smallest.Value
                            : await MeasureAsync(materials, folder.FullName, operation, octets);
                    yield return new Peak(
                        name, mib, octets == Sizes[0].Octets ? null : await smallest.Value + MoreAllowed);
                }
            }

            if (wanted("cms.memory.eight.200m"))
            {
                var alone = await MeasureAsync(materials, folder.FullName, "decrypt-verify", Sizes[0].Octets);
                yield return new Peak(
                    "cms.memory.eight.200m", await MeasureAsync(materials, folder.FullName, "eight", Sizes[^1].Octets),
                    alone + MoreAllowedForEight);
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <summary>The measured process: does one operation, prints its own peak in KiB.</summary>
    public static async Task MeasureHereAsync(string folder, string operation)
    {
        using var materials = Materials.Load(folder);
        var our = new OurCms(materials);
        var input = Path.Combine(folder, "input");
        await using (var source = File.OpenRead(input))
        await using (var output = File.Create(Path.Combine(folder, "output")))
        {
            await (
                operation switch
                {
                    "sign" => our.SignAsync(source, output),
                    "verify" => OurCms.VerifyAsync(source),
                    "encrypt" => our.EncryptAsync(source, output),
                    "decrypt" => our.DecryptAsync(source),
                    "sign-encrypt" => our.SignEncryptTextAsync(() => File.OpenRead(input), output),
                    "decrypt-verify" => our.DecryptVerifyTextAsync(source),
                    "eight" => Task.WhenAll(
                        Enumerable
                            .Range(0, 8)
                            .Select(_ =>
                                Task.Run(async () =>
                                {
                                    await using var own = File.OpenRead(input);
                                    await our.DecryptVerifyTextAsync(own);
                                }))),
                    _ => throw new ArgumentException("There is no such operation.", nameof(operation)),
                });
        }

        var peak = File.ReadLines("/proc/self/status").Single(l => l.StartsWith("VmHWM:", StringComparison.Ordinal));
        Console.WriteLine(peak.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]);
    }

    private static async Task<double> MeasureAsync(Materials materials, string folder, string operation, int octets)
    {
        await PrepareAsync(new OurCms(materials), folder, operation, octets);
        var start = new ProcessStartInfo(Environment.ProcessPath!)
        {
            RedirectStandardOutput = true,
            UseShellExecute = false,
        };
        // Started by "dotnet securemail-bench.dll" or by its own executable.
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet")
        {
            start.ArgumentList.Add(typeof(CmsMemory).Assembly.Location);
        }

        foreach (var argument in new[] { Command, folder, operation })
        {
            start.ArgumentList.Add(argument);
        }

        using var process = Process.Start(start)!;
        var printed = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"Measuring {operation} at {octets} octets failed.");
        }

        return long.Parse(printed, CultureInfo.InvariantCulture) / 1024.0;
    }

    private static async Task PrepareAsync(OurCms our, string folder, string operation, int octets)
    {
        var content = Path.Combine(folder, "content");
        await using (var file = File.Create(content))
        {
            var piece = new byte[100_000];
            for (var left = octets; left > 0; left -= piece.Length)
            {
                RandomNumberGenerator.Fill(piece);
                await file.WriteAsync(piece.AsMemory(0, Math.Min(left, piece.Length)));
            }
        }

        await using var source = File.OpenRead(content);
        await using var input = File.Create(Path.Combine(folder, "input"));
        await (
            operation switch
            {
                "verify" => our.SignAsync(source, input),
                "decrypt" => our.EncryptAsync(source, input),
                "decrypt-verify" or "eight" => our.SignEncryptTextAsync(() => File.OpenRead(content), input),
                _ => source.CopyToAsync(input),
            });
    }

    private static async Task SaveAsync(Materials materials, string folder)
    {
        foreach (var (name, octets) in materials.Save())
        {
            await File.WriteAllBytesAsync(Path.Combine(folder, name), octets);
        }
    }
}

/// <summary>Peak memory in MiB, and what it may be; no goal for the smallest size, which the others are held
/// against.</summary>
internal sealed record Peak(string Name, double Mib, double? Goal);
