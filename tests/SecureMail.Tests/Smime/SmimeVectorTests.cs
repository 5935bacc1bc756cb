using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using SecureMail.Cms;
using SecureMail.Smime;
using SecureMail.Trust;

namespace SecureMail.Tests.Smime;

/// <summary>S/MIME that openssl wrote, and what was done to it, with the verdict that must come out
/// (tests/vectors/smime, made by make.sh there).</summary>
public class SmimeVectorTests
{
    private static readonly string Folder = Vectors.Folder("smime");

    public static TheoryData<string, string, bool, string> Cases()
    {
        var data = new TheoryData<string, string, bool, string>();
        foreach (var line in File.ReadLines(Path.Combine(Folder, "expect.txt")))
        {
            var words = line.Split(' ');
            data.Add(words[0], words[1], bool.Parse(words[2]), words[3]);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task What_openssl_wrote_gets_its_verdict(string name, string verdict, bool encrypted, string code)
    {
        using var key = RSA.Create();
        key.ImportFromPem(await File.ReadAllTextAsync(Path.Combine(Folder, "recipient-key.pem")));
        using var recipient = X509CertificateLoader.LoadCertificateFromFile(Path.Combine(Folder, "recipient.pem"));
        var options = new ValidationOptions
        {
            Trust = TrustMaterial.Load([Path.Combine(Folder, "root.pem")]),
            At = new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero),
            CheckRevocation = false,
        };
        await using var file = File.OpenRead(Path.Combine(Folder, $"{name}.eml"));
        using var validation = await MessageValidator.ValidateAsync(file, [new RecipientKey(recipient, key)], options);
        JsonSerializer.Serialize(validation.Verdict).Trim('"').ShouldBe(verdict);
        validation.Encrypted.ShouldBe(encrypted);
        (validation.Problem ?? validation.Findings[0].Reason).Code.ShouldBe(code);
        if (verdict == "valid")
        {
            validation.Parts.ShouldHaveSingleItem().ReadText(1000).ShouldBe("Cong van so 36\r\n\r\nNoi dung.  \r\n");
        }
    }

    [Fact]
    public void Every_vector_has_its_verdict() =>
        Directory
            .GetFiles(Folder, "*.eml")
            .Select(f => Path.GetFileNameWithoutExtension(f))
            .ShouldBe(
                File.ReadLines(Path.Combine(Folder, "expect.txt")).Select(l => l.Split(' ')[0]), ignoreOrder: true);
}
