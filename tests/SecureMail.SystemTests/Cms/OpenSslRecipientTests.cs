using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;

namespace SecureMail.SystemTests.Cms;

/// <summary>Every kind of recipient against the `openssl cms` command, both ways. X25519 is not among them: OpenSSL 3.0
/// has no CMS for it.</summary>
public sealed class OpenSslRecipientTests : IDisposable
{
    private static readonly byte[] Content = [.. Enumerable.Range(0, 150_000).Select(i => (byte)(i * 31 ^ i >> 7))];
    private static readonly Dictionary<string, RecipientKey> Keys = new()
    {
        ["rsa"] = new(TestPki.Shared.Issue("CN=Xa B", slot: 1).Certificate, TestPki.Key(TestKey.Rsa2048, 1)),
        ["p256"] = Agreement("CN=P-256", ECCurve.NamedCurves.nistP256, 1),
        ["p384"] = Agreement("CN=P-384", ECCurve.NamedCurves.nistP384, 2),
    };

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("openssl-recipients");

    public OpenSslRecipientTests()
    {
        File.WriteAllBytes(At("content"), Content);
        foreach (var (name, key) in Keys)
        {
            File.WriteAllText(At(name + ".pem"), key.Certificate.ExportCertificatePem());
            File.WriteAllText(At(name + ".key"), key.Key.ExportPkcs8PrivateKeyPem());
        }
    }

    public void Dispose() => _folder.Delete(recursive: true);

    public static TheoryData<string, KeyTransport, bool, ContentCipher> Written
    {
        get
        {
            var data = new TheoryData<string, KeyTransport, bool, ContentCipher>();
            foreach (var key in new[] { "rsa", "p256", "p384" })
            {
                foreach (var byKeyIdentifier in new[] { false, true })
                {
                    foreach (ContentCipher cipher in Enum.GetValues<ContentCipher>())
                    {
                        data.Add(key, KeyTransport.Pkcs1, byKeyIdentifier, cipher);
                    }
                }
            }
            data.Add("rsa", KeyTransport.OaepSha1, false, ContentCipher.Aes256Gcm);
            data.Add("rsa", KeyTransport.OaepSha256, true, ContentCipher.Aes256Gcm);
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Written))]
    public async Task OpenSSL_opens_what_we_encrypt_to_any_of_mixed_recipients(
        string key, KeyTransport transport, bool byKeyIdentifier, ContentCipher cipher)
    {
        EnvelopeRecipient[] recipients =
        [
            .. Keys.Values.Select(k => new EnvelopeRecipient(k.Certificate, transport, byKeyIdentifier)),
        ];
        await using (FileStream output = File.Create(At("encrypted.der")))
        {
            await CmsEnveloper.EncryptAsync(new MemoryStream(Content), output, recipients, cipher);
        }

        OpenSsl(
            "cms", "-decrypt", "-binary", "-inform", "DER", "-in", At("encrypted.der"), "-recip", At(key + ".pem"),
            "-inkey", At(key + ".key"), "-out", At("out"));
        File.ReadAllBytes(At("out")).ShouldBe(Content);
    }

    [Fact]
    public async Task OpenSSL_opens_what_was_sealed_once_for_two_destinations()
    {
        var ciphertext = new MemoryStream();
        using EncryptedContent once = await EncryptedContent.EncryptAsync(
            new MemoryStream(Content), ciphertext, ContentCipher.Aes256Gcm);
        // Heads of threes hold an empty originatorInfo, unless they came out right by themselves: of some of these they
        // do not.
        foreach ((var key, var byKeyIdentifier) in Keys.Keys.SelectMany(k => new[] { (k, false), (k, true) }))
        {
            File.WriteAllBytes(
                At("encrypted.der"),
                [
                    .. once.EncodePrefix(
                        [new EnvelopeRecipient(Keys[key].Certificate, byKeyIdentifier: byKeyIdentifier)],
                        alignToBase64: true),
                    .. ciphertext.ToArray(),
                    .. once.Suffix.Span,
                ]);
            OpenSsl(
                "cms", "-decrypt", "-binary", "-inform", "DER", "-in", At("encrypted.der"), "-recip", At(key + ".pem"),
                "-inkey", At(key + ".key"), "-out", At("out"));
            File.ReadAllBytes(At("out")).ShouldBe(Content);
        }
    }

    [Theory]
    [InlineData("-aes-256-gcm")]
    [InlineData("-aes-128-cbc")]
    public async Task We_open_what_OpenSSL_encrypts_to_mixed_recipients_a_password_and_a_shared_key(string cipher)
    {
        string[] password = cipher.EndsWith("cbc", StringComparison.Ordinal)
            ? ["-pwri_password", "mat-khau", "-secretkey", "000102030405060708090A0B0C0D0E0F", "-secretkeyid", "7465"]
            : [];
        foreach (var form in new string[][] { [], ["-stream"], ["-keyid"] })
        {
            OpenSsl([
                "cms",
                "-encrypt",
                "-binary",
                "-in",
                At("content"),
                cipher,
                .. form,
                .. password,
                "-outform",
                "DER",
                "-out",
                At("encrypted"),
                "-recip",
                At("p256.pem"),
                "-keyopt",
                "ecdh_kdf_md:sha256",
                "-recip",
                At("rsa.pem"),
                "-keyopt",
                "rsa_padding_mode:oaep",
                "-recip",
                At("p384.pem"),
            ]);
            foreach (RecipientKey key in Keys.Values)
            {
                using FileStream file = File.OpenRead(At("encrypted"));
                using DecryptedContent opened = await CmsDecryptor.DecryptAsync(file, [key]);
                using var copy = new MemoryStream();
                await opened.OpenContent().CopyToAsync(copy);
                copy.ToArray().ShouldBe(Content);
            }
        }
    }

    private string At(string name) => Path.Combine(_folder.FullName, name);

    private static RecipientKey Agreement(string subject, ECCurve curve, byte serial)
    {
        var key = ECDiffieHellman.Create(curve);
        var publicKey = new PublicKey(key);
        var request = new CertificateRequest(new X500DistinguishedName(subject), publicKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(publicKey, critical: false));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyAgreement, critical: true));
        TestIdentity ca = TestPki.Shared.Ca;
        return new RecipientKey(
            request.Create(
                ca.Certificate.SubjectName, TestPki.Generator(ca.Key), TestPki.Now.AddYears(-1),
                TestPki.Now.AddYears(20), [0x30, serial]),
            key);
    }

    private static void OpenSsl(params string[] arguments)
    {
        var start = new ProcessStartInfo("openssl", arguments)
        {
            UseShellExecute = false,
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        output.Wait();
        process.ExitCode.ShouldBe(0, error);
    }
}
