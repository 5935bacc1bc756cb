using System.Security.Cryptography;
using System.Text.Json;
using SecureMail.Mail;

namespace SecureMail.Tests.Mail;

/// <summary>Mail that other software wrote, with what must be read from it (tests/vectors/mail).</summary>
public class MailVectorTests
{
    public static TheoryData<string> Names() =>
        [.. Directory.GetFiles(FolderOf("mail"), "*.eml").Select(f => Path.GetFileNameWithoutExtension(f)).Order(StringComparer.Ordinal)];

    /// <summary>A folder of tests/vectors: from the build's output upwards, since deterministic builds know no source path.</summary>
    internal static string FolderOf(string module)
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var vectors = Path.Combine(folder.FullName, "tests", "vectors", module);
            if (Directory.Exists(vectors))
                return vectors;
        }

        throw new DirectoryNotFoundException($"tests/vectors/{module} is not above the build's output.");
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void What_others_write_is_read_as_they_meant_it(string name)
    {
        using var expected = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(FolderOf("mail"), $"{name}.json")));
        using var file = File.OpenRead(Path.Combine(FolderOf("mail"), $"{name}.eml"));
        var mail = MailMessage.Parse(file);
        mail.Subject.ShouldBe(expected.RootElement.GetProperty("subject").GetString());
        mail.Mailboxes("From").Select(m => $"{m.DisplayName}|{m.Address}").ShouldBe(expected.RootElement.GetProperty("from").EnumerateArray().Select(e => e.GetString()!));
        var leaves = mail.Root.DescendantsAndSelf().Where(p => p.Children.Count == 0).ToList();
        var parts = expected.RootElement.GetProperty("parts").EnumerateArray().ToList();
        leaves.Count.ShouldBe(parts.Count);
        foreach (var (leaf, part) in leaves.Zip(parts))
        {
            leaf.ContentType.MediaType.ShouldBe(part.GetProperty("type").GetString());
            leaf.FileName.ShouldBe(part.GetProperty("fileName").GetString());
            using var body = leaf.OpenDecoded();
            Convert.ToHexStringLower(SHA256.HashData(body)).ShouldBe(part.GetProperty("sha256").GetString());
        }
    }
}
