using System.Security.Cryptography;
using System.Text.Json;
using SecureMail.Mail.Mime;

namespace SecureMail.Tests.Mail;

/// <summary>Mail that other software wrote, with what must be read from it (tests/vectors/mail).</summary>
public class MailVectorTests
{
    public static TheoryData<string> Names() =>
        [
            .. Directory
                .GetFiles(Vectors.Folder("mail"), "*.eml")
                .Select(f => Path.GetFileNameWithoutExtension(f))
                .Order(StringComparer.Ordinal),
        ];

    [Theory]
    [MemberData(nameof(Names))]
    public void What_others_write_is_read_as_they_meant_it(string name)
    {
        using var expected = JsonDocument.Parse(
            File.ReadAllBytes(Path.Combine(Vectors.Folder("mail"), $"{name}.json")));
        using var file = File.OpenRead(Path.Combine(Vectors.Folder("mail"), $"{name}.eml"));
        var mail = MailMessage.Parse(file);
        mail.Subject.ShouldBe(expected.RootElement.GetProperty("subject").GetString());
        mail.Mailboxes("From")
            .Select(m => $"{m.DisplayName}|{m.Address}")
            .ShouldBe(expected.RootElement.GetProperty("from").EnumerateArray().Select(e => e.GetString()!));
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
