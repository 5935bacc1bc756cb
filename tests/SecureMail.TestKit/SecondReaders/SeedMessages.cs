using System.Security.Cryptography;
using System.Text.Json;

namespace SecureMail.TestKit;

/// <summary>The 25 messages of tests/vectors/smime/seeds, in the order of their names, and what is to be read of
/// them.</summary>
internal sealed class SeedMessages
{
    private static readonly string Folder = Path.Combine(Vectors.Folder("smime"), "seeds");

    private SeedMessages()
    {
        using var expected = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Folder, "expect.json")));
        foreach (var file in Directory.GetFiles(Folder, "*.eml").Order(StringComparer.Ordinal))
        {
            var name = Path.GetFileNameWithoutExtension(file);
            Names.Add(name);
            Mails.Add(File.ReadAllBytes(file));
            Expected.Add(ReadExpected(expected.RootElement.GetProperty(name)));
        }
    }

    public static SeedMessages Shared { get; } = new();

    public static string RootFile => Path.Combine(Folder, "root.pem");

    /// <summary>Reads them, and what is made of them.</summary>
    public OurReader Reader { get; } = new(Folder);

    public List<string> Names { get; } = [];

    public List<byte[]> Mails { get; } = [];

    /// <summary>Signers by SHA-256 of their certificates; leaves as Python's email package read them when the seeds
    /// were
    /// made, with their line ends as they are.</summary>
    public List<(string[] Signers, string[] Leaves)> Expected { get; } = [];

    private static (string[] Signers, string[] Leaves) ReadExpected(JsonElement expected) =>
        (
            [
                .. expected.GetProperty("signers").EnumerateArray()
                    .Select(s => OurReader.Certificate(Folder, s.GetString()!).RawData)
                    .Select(s => Convert.ToHexStringLower(SHA256.HashData(s)))
                    .Order(StringComparer.Ordinal),
            ],
            [.. expected.GetProperty("leaves").EnumerateArray().Select(l => $"{l[0].GetString()} {l[1].GetString()}")]);
}
