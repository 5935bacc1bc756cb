using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using SecureMail.Cms;
using SecureMail.Trust;

namespace SecureMail.Tests.Cms;

/// <summary>tests/vectors/cms: messages of OpenSSL with their expected outcome.</summary>
public sealed class CmsVectorTests
{
    private static readonly string Folder = Vectors.Folder("cms");
    private static readonly JsonElement Cases = JsonDocument.Parse(Vectors.Read("cms", "cases.json")).RootElement;

    public static TheoryData<int, string> Signed => Vectors.Cases(Cases.GetProperty("signed"));

    public static TheoryData<int, string> Encrypted => Vectors.Cases(Cases.GetProperty("encrypted"));

    [Theory]
    [MemberData(nameof(Signed))]
    public async Task A_signature_of_OpenSSL_has_its_expected_outcome(int index, string file)
    {
        JsonElement expected = Cases.GetProperty("signed")[index];
        using CmsSignedData data = await CmsSignedData.ReadAsync(new MemoryStream(Vectors.Read("cms", file)));
        MemoryStream? content = Text(expected, "content") is { } name
            ? new MemoryStream(Vectors.Read("cms", name))
            : null;
        var options = new ValidationOptions
        {
            Trust = TrustMaterial.Load(
                [Path.Combine(Folder, "root.pem")], [Path.Combine(Folder, "ca.pem")],
                [Path.Combine(Folder, "root.crl"), Path.Combine(Folder, "ca.crl")]),
            At = Cases.GetProperty("at").GetDateTimeOffset(),
        };
        IReadOnlyList<SignatureFinding> findings = await SignatureValidator.ValidateAsync(data, content, options);
        findings.Count.ShouldBe(expected.TryGetProperty("signers", out JsonElement signers) ? signers.GetInt32() : 1);
        findings.ShouldAllBe(f => f.Reason.Code == Text(expected, "reason"));
        JsonSerializer.Serialize(Verdicts.Of(FileState.Read, findings)).ShouldBe($"\"{Text(expected, "verdict")}\"");
        if (Text(expected, "digest") is { } digest)
        {
            findings[0].DigestAlgorithm.ShouldBe(digest);
        }

        if (data.HasContent)
        {
            (await CmsSignedDataTests.BytesAsync(data.OpenContent())).ShouldBe(Vectors.Read("cms", "content.txt"));
        }
    }

    [Theory]
    [MemberData(nameof(Encrypted))]
    public async Task A_message_encrypted_by_OpenSSL_has_its_expected_outcome(int index, string file)
    {
        JsonElement expected = Cases.GetProperty("encrypted")[index];
        using var key = RSA.Create();
        key.ImportFromPem(File.ReadAllText(Path.Combine(Folder, "recipient.key")));
        RecipientKey[] keys =
        [
            new(X509CertificateLoader.LoadCertificateFromFile(Path.Combine(Folder, "recipient.pem")), key),
        ];
        var cms = new MemoryStream(Vectors.Read("cms", file));
        if (Text(expected, "error") is { } error)
        {
            (await Should.ThrowAsync<CmsException>(() => CmsDecryptor.DecryptAsync(cms, keys)))
                .Error.ToString()
                .ShouldBe(error);
            return;
        }
        using DecryptedContent opened = await CmsDecryptor.DecryptAsync(cms, keys);
        opened.Algorithm.ShouldBe(Text(expected, "algorithm"));
        (await CmsSignedDataTests.BytesAsync(opened.OpenContent())).ShouldBe(Vectors.Read("cms", "content.txt"));
    }

    private static string? Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out JsonElement value) ? value.GetString() : null;
}
