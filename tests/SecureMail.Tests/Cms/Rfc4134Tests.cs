using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using SecureMail.Cms;
using SecureMail.Smime;
using SecureMail.Trust;

namespace SecureMail.Tests.Cms;

/// <summary>RFC 4134's examples: CMS as it was written in 1999, with DSA, SHA-1, triple DES, RC2, indefinite lengths,
/// and attributes of every kind.</summary>
public sealed class Rfc4134Tests
{
    private const string Folder = "cms/rfc4134";

    private static readonly JsonElement Expected = JsonDocument.Parse(Vectors.Read(Folder, "cases.json")).RootElement;
    private static readonly ValidationOptions Options = new()
    {
        Trust = TrustMaterial.Load([At("carl-rsa.cer")], [], [At("carl-rsa.crl")]),
        At = Expected.GetProperty("at").GetDateTimeOffset(),
    };

    public static TheoryData<int, string> Signed => Vectors.Cases(Expected.GetProperty("signed"));

    public static TheoryData<int, string> Encrypted => Vectors.Cases(Expected.GetProperty("encrypted"));

    public static TheoryData<int, string> Messages => Vectors.Cases(Expected.GetProperty("messages"));

    [Theory]
    [MemberData(nameof(Signed))]
    public async Task A_signature_is_read_and_verified(int index, string file)
    {
        JsonElement expected = Expected.GetProperty("signed")[index];
        using CmsSignedData data = await CmsSignedData.ReadAsync(new MemoryStream(Vectors.Read(Folder, file)));
        var content = Vectors.Read(Folder, "content.bin");
        data.HasContent.ShouldBe(expected.GetProperty("attached").GetBoolean());
        if (data.HasContent)
        {
            (await CmsSignedDataTests.BytesAsync(data.OpenContent())).ShouldBe(content);
        }

        data.Certificates.Count.ShouldBe(expected.GetProperty("certificates").GetInt32());
        data.Crls.Count.ShouldBe(expected.GetProperty("crls").GetInt32());
        data.Signers.Select(s => s.DigestAlgorithm?.Name).ShouldAllBe(d => d == "SHA1");
        data.Signers.SelectMany(s => s.SignedAttributes)
            .Select(a => a.Oid)
            .ShouldBe(Texts(expected, "signedAttributes"));
        data.Signers.SelectMany(s => s.UnsignedAttributes)
            .Select(a => a.Oid)
            .ShouldBe(Texts(expected, "unsignedAttributes"));
        IReadOnlyList<SignatureFinding> findings = await SignatureValidator.ValidateAsync(
            data, data.HasContent ? null : new MemoryStream(content), Options);
        findings
            .Select(f => $"{f.Reason.Code} {(f.Intact ? "intact" : "not intact")}")
            .ShouldBe(Texts(expected, "findings"));
        (await SignatureValidator.ValidateAsync(data, new MemoryStream([.. content, 0]), Options)).ShouldAllBe(f =>
            !f.Intact && f.Indication != Indication.TotalPassed);
    }

    [Theory]
    [MemberData(nameof(Encrypted))]
    public async Task An_encrypted_message_decrypts_or_has_its_expected_error(int index, string file)
    {
        JsonElement expected = Expected.GetProperty("encrypted")[index];
        var cms = new MemoryStream(Vectors.Read(Folder, file));
        if (expected.TryGetProperty("error", out JsonElement error))
        {
            (await Readers.FailureAsync(cms.ToArray(), Bob())).ToString().ShouldBe(error.GetString());
            return;
        }
        using DecryptedContent opened = await CmsDecryptor.DecryptAsync(cms, [Bob()]);
        opened.Algorithm.ShouldBe(expected.GetProperty("algorithm").GetString());
        opened.HasWeakCipher.ShouldBeTrue();
        opened.Authenticated.ShouldBeFalse();
        (await CmsSignedDataTests.BytesAsync(opened.OpenContent())).ShouldBe(Vectors.Read(Folder, "content.bin"));
    }

    [Theory]
    [MemberData(nameof(Messages))]
    public async Task A_whole_message_has_its_verdict(int index, string file)
    {
        JsonElement expected = Expected.GetProperty("messages")[index];
        using MessageValidation judgement = await MessageValidator.ValidateAsync(
            new MemoryStream(Vectors.Read(Folder, file)), [Bob()], Options);
        JsonSerializer.Serialize(judgement.Verdict).Trim('"').ShouldBe(expected.GetProperty("verdict").GetString());
        judgement.Encrypted.ShouldBe(expected.GetProperty("encrypted").GetBoolean());
        judgement.Findings.Select(f => f.Reason.Code).ShouldBe(Texts(expected, "findings"));
        judgement.EnvelopeFindings.Select(f => f.Code).ShouldBe(Texts(expected, "envelopeFindings"));
    }

    [Fact]
    public async Task Capabilities_with_unknown_parameters_are_read()
    {
        using CmsSignedData data = await CmsSignedData.ReadAsync(new MemoryStream(Vectors.Read(Folder, "4.10.bin")));
        CmsAttribute attribute = data.Signers[0].SignedAttributes.Single(a => a.Oid == "1.2.840.113549.1.9.15");
        SmimeCapabilities.TryRead(attribute.Values[0])!.Algorithms.ShouldBe(["1.2.3.4.5.6", "1.2.3.4.5.6.77"]);
    }

    [Fact]
    public void Every_example_has_an_outcome()
    {
        IEnumerable<string> listed = new[] { "signed", "encrypted", "messages" }
            .SelectMany(k => Expected.GetProperty(k).EnumerateArray())
            .Select(c => c.GetProperty("file").GetString()!);
        Directory
            .GetFiles(Vectors.Folder(Folder))
            .Select(f => Path.GetFileName(f))
            .Where(f => char.IsAsciiDigit(f[0]))
            .ShouldBe(listed, ignoreOrder: true);
    }

    private static RecipientKey Bob()
    {
        var key = RSA.Create();
        key.ImportPkcs8PrivateKey(Vectors.Read(Folder, "bob.p8"), out _);
        return new RecipientKey(X509CertificateLoader.LoadCertificate(Vectors.Read(Folder, "bob.cer")), key);
    }

    private static string At(string name) => Path.Combine(Vectors.Folder(Folder), name);

    private static string[] Texts(JsonElement element, string name) =>
        element.TryGetProperty(name, out JsonElement list)
            ? [.. list.EnumerateArray().Select(v => v.GetString()!)]
            : [];
}
