using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using SecureMail.Cms;
using SecureMail.Libcrypto;

namespace SecureMail.Tests.Cms;

/// <summary>tests/vectors/cms/recipients: every kind of recipient as other programs write it, with the expected
/// outcome.</summary>
public sealed class RecipientVectorTests
{
    private const string Module = "cms/recipients";
    private static readonly JsonElement Cases = JsonDocument.Parse(Vectors.Read(Module, "cases.json")).RootElement;

    public static TheoryData<int, string> All => Vectors.Cases(Cases, "key");

    [Theory]
    [MemberData(nameof(All))]
    public async Task A_message_of_another_program_has_its_expected_outcome(int index, string name)
    {
        JsonElement expected = Cases[index];
        var cms = Vectors.Read(Module, expected.GetProperty("file").GetString()!);
        RecipientKey ours = KeyOf(expected.GetProperty("key").GetString()!);
        if (expected.GetProperty("error").GetString() is { } error)
        {
            (await Readers.FailureAsync(cms, ours)).ToString().ShouldBe(error, name);
            return;
        }
        using DecryptedContent opened = await CmsDecryptor.DecryptAsync(new MemoryStream(cms), [ours]);
        var algorithm = expected.GetProperty("algorithm").GetString()!;
        opened.Algorithm.ShouldBe(algorithm);
        opened.Authenticated.ShouldBe(algorithm.EndsWith("GCM", StringComparison.Ordinal));
        opened.HasWeakCipher.ShouldBe(algorithm.StartsWith("3DES", StringComparison.Ordinal));
        (await CmsSignedDataTests.BytesAsync(opened.OpenContent())).ShouldBe(Vectors.Read(Module, "content.txt"));
    }

    private static RecipientKey KeyOf(string name)
    {
        X509Certificate2 certificate = X509CertificateLoader.LoadCertificate(Vectors.Read(Module, name + ".pem"));
        var pem = File.ReadAllText(Path.Combine(Vectors.Folder(Module), name + ".key"));
        if (name == "x25519")
        {
            return new RecipientKey(
                certificate,
                X25519Key.FromPkcs8(
                    Convert.FromBase64String(string.Concat(pem.Split('\n').Where(l => !l.StartsWith('-'))))));
        }

        AsymmetricAlgorithm key = name == "rsa" ? RSA.Create() : ECDiffieHellman.Create();
        key.ImportFromPem(pem);
        return new RecipientKey(certificate, key);
    }
}
