using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Tests;
using SecureMail.Trust;

namespace SecureMail.SystemTests.Cms;

/// <summary>Our CMS against the `openssl cms` command, both ways, in every algorithm and form.</summary>
public sealed class OpenSslCmsTests : IDisposable
{
    private static readonly TestPki Pki = new("Interop");
    private static readonly byte[] Content = [.. Enumerable.Range(0, 150_000).Select(i => (byte)(i * 31 ^ i >> 7))];
    private static readonly TestIdentity Recipient = Pki.Issue("CN=Xa B", slot: 1);

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("openssl-cms");

    public OpenSslCmsTests()
    {
        File.WriteAllBytes(At("content"), Content);
        File.WriteAllText(At("root.pem"), Pki.Root.Certificate.ExportCertificatePem());
        File.WriteAllText(At("ca.pem"), Pki.Ca.Certificate.ExportCertificatePem());
        WriteIdentity("recipient", Recipient);
    }

    public void Dispose() => _folder.Delete(recursive: true);

    public static TheoryData<TestKey, SignatureScheme, string> Algorithms => new()
    {
        { TestKey.Rsa2048, SignatureScheme.RsaPkcs1, "SHA256" },
        { TestKey.Rsa2048, SignatureScheme.RsaPkcs1, "SHA512" },
        { TestKey.Rsa2048, SignatureScheme.RsaPss, "SHA256" },
        { TestKey.Rsa2048, SignatureScheme.RsaPss, "SHA384" },
        { TestKey.P256, SignatureScheme.Ecdsa, "SHA256" },
        { TestKey.P384, SignatureScheme.Ecdsa, "SHA384" },
    };

    [Theory]
    [MemberData(nameof(Algorithms))]
    public async Task OpenSSL_verifies_what_we_sign(TestKey key, SignatureScheme scheme, string digest)
    {
        TestIdentity signer = Pki.Issue("CN=Van thu", ["vanthu@a.vn"], key);
        var request = new SigningRequest(signer.Certificate, [Pki.Ca.Certificate], new HashAlgorithmName(digest), scheme, TestPki.Now);

        File.WriteAllBytes(At("detached.der"), await CmsSigner.SignDetachedAsync(new MemoryStream(Content), request, signer.Key));
        OpenSsl("cms", "-verify", "-binary", "-inform", "DER", "-in", At("detached.der"), "-content", At("content"), "-CAfile", At("root.pem"), "-no_check_time", "-out", At("out"));
        File.ReadAllBytes(At("out")).ShouldBe(Content);

        foreach (Stream source in new Stream[] { new MemoryStream(Content), new UnseekableStream(Content) })
        {
            await using (FileStream output = File.Create(At("attached.der")))
                await CmsSigner.SignAttachedAsync(source, output, request, signer.Key);
            OpenSsl("cms", "-verify", "-binary", "-inform", "DER", "-in", At("attached.der"), "-CAfile", At("root.pem"), "-no_check_time", "-out", At("out"));
            File.ReadAllBytes(At("out")).ShouldBe(Content);
        }

        File.WriteAllBytes(At("content"), [1, .. Content]);
        Should.Throw<OpenSslRefused>(() => OpenSsl("cms", "-verify", "-binary", "-inform", "DER", "-in", At("detached.der"), "-content", At("content"), "-CAfile", At("root.pem"), "-no_check_time", "-out", At("out")));
    }

    [Theory]
    [MemberData(nameof(Algorithms))]
    public async Task We_verify_what_OpenSSL_signs(TestKey key, SignatureScheme scheme, string digest)
    {
        TestIdentity signer = Pki.Issue("CN=Van thu", ["vanthu@a.vn"], key);
        WriteIdentity("signer", signer);
        string[] common = ["cms", "-sign", "-binary", "-in", At("content"), "-signer", At("signer.pem"), "-inkey", At("signer.key"), "-certfile", At("ca.pem"), "-md", digest, "-out", At("signed"),
            .. scheme == SignatureScheme.RsaPss ? new[] { "-keyopt", "rsa_padding_mode:pss" } : []];
        foreach (string[] form in new string[][] { ["-outform", "DER"], ["-outform", "PEM"], ["-outform", "DER", "-nodetach"], ["-outform", "PEM", "-nodetach"], ["-outform", "DER", "-nodetach", "-stream"], ["-outform", "DER", "-nodetach", "-keyid"] })
        {
            // OpenSSL 3.0 fails to write its own PSS parameters when it streams.
            if (scheme == SignatureScheme.RsaPss && form.Contains("-stream"))
                continue;
            OpenSsl([.. common, .. form]);
            using FileStream file = File.OpenRead(At("signed"));
            using CmsSignedData data = await CmsSignedData.ReadAsync(file);
            data.HasContent.ShouldBe(form.Contains("-nodetach"));
            var options = new JudgeOptions { Trust = new TrustMaterial([Pki.Root.Certificate], [], Pki.Crls()), At = TestPki.Now, ClockTolerance = TimeSpan.FromDays(36500) };
            SignatureFinding finding = (await SignatureJudge.JudgeAsync(data, data.HasContent ? null : new MemoryStream(Content), options)).ShouldHaveSingleItem();
            finding.Indication.ShouldBe(Indication.TotalPassed, finding.Reason.En);
            finding.Signer.Emails.ShouldBe(["vanthu@a.vn"]);
        }
    }

    [Theory]
    [InlineData(ContentCipher.Aes256Gcm)]
    [InlineData(ContentCipher.Aes256Cbc)]
    public async Task OpenSSL_opens_what_we_encrypt(ContentCipher cipher)
    {
        TestIdentity other = Pki.Issue("CN=Xa C");
        foreach (Stream source in new Stream[] { new MemoryStream(Content), new UnseekableStream(Content) })
        {
            await using (FileStream output = File.Create(At("encrypted.der")))
                await CmsEnveloper.EncryptAsync(source, output, [other.Certificate, Recipient.Certificate], cipher);
            OpenSsl("cms", "-decrypt", "-binary", "-inform", "DER", "-in", At("encrypted.der"), "-recip", At("recipient.pem"), "-inkey", At("recipient.key"), "-out", At("out"));
            File.ReadAllBytes(At("out")).ShouldBe(Content);
        }
    }

    [Theory]
    [InlineData("-aes-128-cbc", "AES-128-CBC", false)]
    [InlineData("-aes-256-cbc", "AES-256-CBC", false)]
    [InlineData("-aes-128-gcm", "AES-128-GCM", true)]
    [InlineData("-aes-256-gcm", "AES-256-GCM", true)]
    public async Task We_open_what_OpenSSL_encrypts(string cipher, string algorithm, bool authenticated)
    {
        foreach (string[] form in new string[][] { ["-outform", "DER"], ["-outform", "PEM"], ["-outform", "DER", "-stream"], ["-outform", "DER", "-keyid"] })
        {
            foreach (string[] padding in new string[][] { [], ["-keyopt", "rsa_padding_mode:oaep"], ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"] })
            {
                OpenSsl(["cms", "-encrypt", "-binary", "-in", At("content"), cipher, .. form, "-out", At("encrypted"), "-recip", At("recipient.pem"), .. padding]);
                using FileStream file = File.OpenRead(At("encrypted"));
                using CmsOpened opened = await CmsDecryptor.DecryptAsync(file, [new RecipientKey(Recipient.Certificate, Recipient.Rsa)]);
                opened.Algorithm.ShouldBe(algorithm);
                opened.Authenticated.ShouldBe(authenticated);
                using var copy = new MemoryStream();
                await opened.OpenContent().CopyToAsync(copy);
                copy.ToArray().ShouldBe(Content);
            }
        }
    }

    private string At(string name) => Path.Combine(_folder.FullName, name);

    private void WriteIdentity(string name, TestIdentity identity)
    {
        File.WriteAllText(At(name + ".pem"), identity.Certificate.ExportCertificatePem());
        File.WriteAllText(At(name + ".key"), identity.Key.ExportPkcs8PrivateKeyPem());
    }

    private static void OpenSsl(params string[] arguments)
    {
        var start = new ProcessStartInfo("openssl", arguments) { UseShellExecute = false, RedirectStandardError = true, RedirectStandardOutput = true };
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        output.Wait();
        if (process.ExitCode != 0)
            throw new OpenSslRefused(error);
    }

    private sealed class OpenSslRefused(string message) : Exception(message);

    private sealed class UnseekableStream(byte[] data) : MemoryStream(data)
    {
        public override bool CanSeek => false;
    }
}
