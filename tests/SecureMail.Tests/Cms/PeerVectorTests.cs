using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using SecureMail.Cms;
using SecureMail.Trust;

namespace SecureMail.Tests.Cms;

/// <summary>tests/vectors/cms/peers: messages of other programs with the same content, read without those
/// programs.</summary>
public sealed class PeerVectorTests
{
    private const string Folder = "cms/peers";

    private static readonly JsonElement Cases = JsonDocument.Parse(Vectors.Read(Folder, "cases.json")).RootElement;
    private static readonly byte[] Content = Vectors.Read("cms", "content.txt");

    public static TheoryData<int, string> Signed => Vectors.Cases(Cases.GetProperty("signed"));

    public static TheoryData<int, string> Encrypted => Vectors.Cases(Cases.GetProperty("encrypted"));

    [Theory]
    [MemberData(nameof(Signed))]
    public async Task Every_signer_of_a_peer_is_good_and_is_bad_over_other_content(int index, string file)
    {
        JsonElement expected = Cases.GetProperty("signed")[index];
        using CmsSignedData data = await CmsSignedData.ReadAsync(new MemoryStream(Vectors.Read(Folder, file)));
        data.HasContent.ShouldBe(expected.GetProperty("attached").GetBoolean());
        data.Signers.Select(s => $"{s.SignatureAlgorithm!.Scheme} {s.DigestAlgorithm!.Value.Name}")
            .ShouldBe(expected.GetProperty("signers").EnumerateArray().Select(s => s.GetString()!), ignoreOrder: true);
        var options = new ValidationOptions
        {
            Trust = TrustMaterial.Load([At("root.pem")], [], [At("root.crl")]),
            At = Cases.GetProperty("at").GetDateTimeOffset(),
        };
        foreach (
            SignatureFinding finding in await SignatureValidator.ValidateAsync(
                data, data.HasContent ? null : new MemoryStream(Content), options))
        {
            finding.Reason.Code.ShouldBe("valid");
        }

        if (data.HasContent)
        {
            (await CmsSignedDataTests.BytesAsync(data.OpenContent())).ShouldBe(Content);
        }

        (await SignatureValidator.ValidateAsync(data, new MemoryStream([.. Content, 0]), options)).ShouldAllBe(f =>
            f.Indication == Indication.TotalFailed && !f.Intact);
    }

    [Theory]
    [MemberData(nameof(Encrypted))]
    public async Task A_message_encrypted_by_a_peer_decrypts(int index, string file)
    {
        using var key = RSA.Create();
        key.ImportFromPem(await File.ReadAllTextAsync(At("recipient.key")));
        RecipientKey[] keys = [new(X509CertificateLoader.LoadCertificateFromFile(At("recipient.pem")), key)];
        using DecryptedContent opened = await CmsDecryptor.DecryptAsync(
            new MemoryStream(Vectors.Read(Folder, file)), keys);
        opened.Algorithm.ShouldBe(Cases.GetProperty("encrypted")[index].GetProperty("algorithm").GetString());
        (await CmsSignedDataTests.BytesAsync(opened.OpenContent())).ShouldBe(Content);
    }

    [Fact]
    public void Every_vector_has_an_outcome()
    {
        IEnumerable<string> listed = Cases
            .GetProperty("signed")
            .EnumerateArray()
            .Concat(Cases.GetProperty("encrypted").EnumerateArray())
            .Select(c => c.GetProperty("file").GetString()!);
        Directory
            .GetFiles(Vectors.Folder(Folder))
            .Select(f => Path.GetFileName(f))
            .Where(f => f is not ("root.pem" or "recipient.pem") && Path.GetExtension(f) is ".der" or ".ber" or ".pem")
            .Except(["root.pem", "recipient.pem"])
            .ShouldBe(listed, ignoreOrder: true);
    }

    private static string At(string name) => Path.Combine(Vectors.Folder(Folder), name);
}
