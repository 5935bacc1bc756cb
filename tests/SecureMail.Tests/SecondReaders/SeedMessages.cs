using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Trust;

namespace SecureMail.Tests.SecondReaders;

/// <summary>The 25 messages of tests/vectors/smime/seeds, in the order of their names, and our reading of a
/// message by the certificates of a folder.</summary>
internal sealed class SeedMessages
{
    private static readonly string Folder = Path.Combine(Vectors.Folder("smime"), "seeds");

    private readonly ValidationOptions _options;
    private readonly IReadOnlyList<RecipientKey> _keys;

    /// <param name="folder">A folder with root.pem, recipient.pem and recipient-key.pem; with expect.json its messages are
    /// read.</param>
    public SeedMessages(string folder)
    {
        RecipientKeyPem = File.ReadAllText(Path.Combine(folder, "recipient-key.pem"));
        var key = RSA.Create();
        key.ImportFromPem(RecipientKeyPem);
        _keys = [new RecipientKey(Certificate(folder, "recipient"), key)];
        _options = new ValidationOptions
        {
            Trust = new TrustMaterial([Certificate(folder, "root")]),
            At = new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero),
            CheckRevocation = false,
        };
        if (folder != Folder)
        {
            return;
        }

        using var expected = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Folder, "expect.json")));
        foreach (var file in Directory.GetFiles(Folder, "*.eml").Order(StringComparer.Ordinal))
        {
            var name = Path.GetFileNameWithoutExtension(file);
            Names.Add(name);
            Mails.Add(File.ReadAllBytes(file));
            Expected.Add(ReadExpected(expected.RootElement.GetProperty(name)));
        }
    }

    public static SeedMessages Shared { get; } = new(Folder);

    public static string RootFile => Path.Combine(Folder, "root.pem");

    public List<string> Names { get; } = [];

    public List<byte[]> Mails { get; } = [];

    /// <summary>Signers by SHA-256 of their certificates; leaves as Python's email package read them when the seeds were
    /// made, with their line ends as they are.</summary>
    public List<(string[] Signers, string[] Leaves)> Expected { get; } = [];

    public string RecipientKeyPem { get; }

    /// <summary>Validates a message. The reading is null unless the verdict is valid.</summary>
    public async Task<(Verdict Verdict, Reading? Reading)> ReadAsync(byte[] mail)
    {
        using var validation = await ValidateAsync(mail);
        if (validation.Verdict != Verdict.Valid)
        {
            return (validation.Verdict, null);
        }

        var leaves = validation.Parts.Select(p => Reading.Leaf(p.ContentType.MediaType, Decoded(p))).ToList();
        var signers = validation
            .Findings.Select(f => Convert.ToHexStringLower(SHA256.HashData(f.SignerCertificate!.RawData)))
            .Order(StringComparer.Ordinal)
            .ToList();
        return (validation.Verdict, new Reading(signers, leaves));
    }

    public Task<MessageValidation> ValidateAsync(byte[] mail) =>
        MessageValidator.ValidateAsync(new MemoryStream(mail, writable: false), _keys, _options);

    public static byte[] Decoded(MimePart part)
    {
        using var body = part.OpenDecoded();
        var memory = new MemoryStream();
        body.CopyTo(memory);
        return memory.ToArray();
    }

    private static X509Certificate2 Certificate(string folder, string name) =>
        X509CertificateLoader.LoadCertificateFromFile(Path.Combine(folder, $"{name}.pem"));

    private static (string[] Signers, string[] Leaves) ReadExpected(JsonElement expected) =>
        (
            [
                .. expected.GetProperty("signers").EnumerateArray()
                    .Select(s => Convert.ToHexStringLower(SHA256.HashData(Certificate(Folder, s.GetString()!).RawData)))
                    .Order(StringComparer.Ordinal),
            ],
            [.. expected.GetProperty("leaves").EnumerateArray().Select(l => $"{l[0].GetString()} {l[1].GetString()}")]);
}
