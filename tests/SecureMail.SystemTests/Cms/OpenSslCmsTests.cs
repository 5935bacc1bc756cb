using System.Diagnostics;
using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
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

    public static TheoryData<TestKey, SignatureScheme, string> Algorithms =>
        new()
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
        var request = new SigningRequest(
            signer.Certificate, [Pki.Ca.Certificate], new HashAlgorithmName(digest), scheme, TestPki.Now);

        File.WriteAllBytes(
            At("detached.der"), await CmsSigner.SignDetachedAsync(new MemoryStream(Content), request, signer.Key));
        OpenSsl(
            "cms", "-verify", "-binary", "-inform", "DER", "-in", At("detached.der"), "-content", At("content"),
            "-CAfile", At("root.pem"), "-no_check_time", "-out", At("out"));
        File.ReadAllBytes(At("out")).ShouldBe(Content);

        foreach (Stream source in new Stream[] { new MemoryStream(Content), new UnseekableStream(Content) })
        {
            await using (FileStream output = File.Create(At("attached.der")))
            {
                await CmsSigner.SignAttachedAsync(source, output, request, signer.Key);
            }

            OpenSsl(
                "cms", "-verify", "-binary", "-inform", "DER", "-in", At("attached.der"), "-CAfile", At("root.pem"),
                "-no_check_time", "-out", At("out"));
            File.ReadAllBytes(At("out")).ShouldBe(Content);
        }

        File.WriteAllBytes(At("content"), [1, .. Content]);
        Should.Throw<OpenSslRefused>(() =>
            OpenSsl(
                "cms", "-verify", "-binary", "-inform", "DER", "-in", At("detached.der"), "-content", At("content"),
                "-CAfile", At("root.pem"), "-no_check_time", "-out", At("out")));
    }

    [Theory]
    [MemberData(nameof(Algorithms))]
    public async Task We_verify_what_OpenSSL_signs(TestKey key, SignatureScheme scheme, string digest)
    {
        TestIdentity signer = Pki.Issue("CN=Van thu", ["vanthu@a.vn"], key);
        WriteIdentity("signer", signer);
        string[] common =
        [
            "cms",
            "-sign",
            "-binary",
            "-in",
            At("content"),
            "-signer",
            At("signer.pem"),
            "-inkey",
            At("signer.key"),
            "-certfile",
            At("ca.pem"),
            "-md",
            digest,
            "-out",
            At("signed"),
            .. scheme == SignatureScheme.RsaPss ? new[] { "-keyopt", "rsa_padding_mode:pss" } : [],
        ];
        foreach (
            var form in new string[][]
            {
                ["-outform", "DER"],
                ["-outform", "PEM"],
                ["-outform", "DER", "-nodetach"],
                ["-outform", "PEM", "-nodetach"],
                ["-outform", "DER", "-nodetach", "-stream"],
                ["-outform", "DER", "-nodetach", "-keyid"],
            })
        {
            // OpenSSL 3.0 fails to write its own PSS parameters when it streams.
            if (scheme == SignatureScheme.RsaPss && form.Contains("-stream"))
            {
                continue;
            }

            OpenSsl([.. common, .. form]);
            using FileStream file = File.OpenRead(At("signed"));
            using CmsSignedData data = await CmsSignedData.ReadAsync(file);
            data.HasContent.ShouldBe(form.Contains("-nodetach"));
            var options = new ValidationOptions
            {
                Trust = new TrustMaterial([Pki.Root.Certificate], [], Pki.Crls()),
                At = TestPki.Now,
                ClockTolerance = TimeSpan.FromDays(36500),
            };
            SignatureFinding finding = (
                await SignatureValidator.ValidateAsync(
                    data, data.HasContent ? null : new MemoryStream(Content), options)
            ).ShouldHaveSingleItem();
            finding.Indication.ShouldBe(Indication.TotalPassed, finding.Reason.En);
            finding.Signer.Emails.ShouldBe(["vanthu@a.vn"]);
            // What OpenSSL announces by default: the AES-CBC ciphers, and old ones, some with a parameter.
            SmimeCapabilities theirs = finding.Capabilities.ShouldNotBeNull();
            (theirs.Algorithms[0], theirs.Has("1.2.840.113549.3.7"), CipherChoice.For([theirs]).Cipher).ShouldBe(
                ("2.16.840.1.101.3.4.1.42", true, ContentCipher.Aes256Cbc));
        }
    }

    [Fact]
    public async Task OpenSSL_shows_what_we_announce()
    {
        TestIdentity signer = Pki.Issue("CN=Van thu", ["vanthu@a.vn"]);
        var request = new SigningRequest(
            signer.Certificate, [Pki.Ca.Certificate], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1, TestPki.Now)
        {
            Attributes = [SmimeCapabilities.Ours.Attribute],
        };
        File.WriteAllBytes(
            At("detached.der"), await CmsSigner.SignDetachedAsync(new MemoryStream(Content), request, signer.Key));
        var shown = OpenSsl("cms", "-cmsout", "-noout", "-print", "-inform", "DER", "-in", At("detached.der"));
        var attribute = shown[shown.IndexOf("S/MIME Capabilities (1.2.840.113549.1.9.15)", StringComparison.Ordinal)..];
        foreach (var name in new[] { ":aes-256-gcm", ":aes-128-gcm", ":aes-256-cbc", ":aes-128-cbc" })
        {
            attribute.ShouldContain(name);
        }

        OpenSsl(
            "cms", "-verify", "-binary", "-inform", "DER", "-in", At("detached.der"), "-content", At("content"),
            "-CAfile", At("root.pem"), "-no_check_time", "-out", At("out"));
    }

    [Theory]
    [InlineData("-2")]
    [InlineData("-1")]
    [InlineData("0")]
    [InlineData("20")]
    public async Task PSS_is_verified_with_any_salt_and_only_with_the_parameters_it_was_made_with(string salt)
    {
        TestIdentity signer = Pki.Issue("CN=Van thu", ["vanthu@a.vn"]);
        WriteIdentity("signer", signer);
        foreach (var mask in new[] { "sha256", "sha512" })
        {
            OpenSsl(
                "cms", "-sign", "-binary", "-in", At("content"), "-signer", At("signer.pem"), "-inkey",
                At("signer.key"), "-md", "sha256", "-outform", "DER", "-out", At("signed"), "-keyopt",
                "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:" + salt, "-keyopt", "rsa_mgf1_md:" + mask);
            (await VerifyAsync(At("signed"))).ShouldHaveSingleItem().Intact.ShouldBeTrue();
        }
    }

    [Fact]
    public async Task A_key_for_PSS_alone_signs_by_PSS_within_its_parameters_alone()
    {
        // .NET has no such key: OpenSSL makes it and its self-signed certificate, with parameters and without.
        foreach (
            var parameters in new string[][]
            {
                [],
                [
                    "-pkeyopt",
                    "rsa_pss_keygen_md:sha256",
                    "-pkeyopt",
                    "rsa_pss_keygen_mgf1_md:sha256",
                    "-pkeyopt",
                    "rsa_pss_keygen_saltlen:32",
                ],
            })
        {
            OpenSsl([
                "genpkey",
                "-algorithm",
                "RSA-PSS",
                "-pkeyopt",
                "rsa_keygen_bits:2048",
                .. parameters,
                "-out",
                At("pss.key"),
            ]);
            OpenSsl(
                "req", "-new", "-x509", "-key", At("pss.key"), "-sha256", "-subj", "/CN=PSS", "-days", "30", "-out",
                At("pss.pem"));
            OpenSsl(
                "cms", "-sign", "-binary", "-in", At("content"), "-signer", At("pss.pem"), "-inkey", At("pss.key"),
                "-md", "sha256", "-outform", "DER", "-out", At("signed"), "-keyopt", "rsa_pss_saltlen:32");
            (await VerifyAsync(At("signed"))).ShouldHaveSingleItem().Intact.ShouldBeTrue();

            using X509Certificate2 certificate = X509CertificateLoader.LoadCertificateFromFile(At("pss.pem"));
            Should
                .Throw<CmsException>(() =>
                    PreparedSignature.Prepare(
                        new SigningRequest(certificate, [], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1, null),
                        new byte[32]))
                .Error.ShouldBe(CmsError.CertificateNotUsable);
            var other = new SigningRequest(certificate, [], HashAlgorithmName.SHA384, SignatureScheme.RsaPss, null);
            if (parameters.Length == 0)
            {
                PreparedSignature.Prepare(other, new byte[48]).Scheme.ShouldBe(SignatureScheme.RsaPss);
            }
            else
            {
                Should
                    .Throw<CmsException>(() => PreparedSignature.Prepare(other, new byte[48]))
                    .Error.ShouldBe(CmsError.CertificateNotUsable);
            }
            // What the key signs through us, OpenSSL takes.
            using var key = RSA.Create();
            key.ImportRSAPrivateKey(InnerKey(File.ReadAllText(At("pss.key"))), out _);
            var request = new SigningRequest(certificate, [], HashAlgorithmName.SHA256, SignatureScheme.RsaPss, null);
            File.WriteAllBytes(At("ours"), await CmsSigner.SignDetachedAsync(new MemoryStream(Content), request, key));
            OpenSsl(
                "cms", "-verify", "-binary", "-inform", "DER", "-in", At("ours"), "-content", At("content"),
                "-noverify", "-out", At("out"));
        }
    }

    [Fact]
    public async Task Several_signers_and_CAdES_go_both_ways()
    {
        TestIdentity rsa = Pki.Issue("CN=Van thu", ["vanthu@a.vn"]);
        TestIdentity ec = Pki.Issue("CN=Bi thu", ["bithu@a.vn"], TestKey.P384);
        WriteIdentity("rsa", rsa);
        WriteIdentity("ec", ec);
        OpenSsl(
            "cms", "-sign", "-cades", "-binary", "-in", At("content"), "-signer", At("rsa.pem"), "-inkey",
            At("rsa.key"), "-signer", At("ec.pem"), "-inkey", At("ec.key"), "-outform", "DER", "-out", At("signed"));
        IReadOnlyList<SignerVerification> theirs = await VerifyAsync(At("signed"));
        theirs.Count.ShouldBe(2);
        theirs.ShouldAllBe(v => v.Intact && v.Signer.SignedAttributes.Any(a => a.Oid == "1.2.840.113549.1.9.16.2.47"));

        // Our signer beside theirs, and theirs beside ours.
        TestIdentity third = Pki.Issue("CN=Chanh van phong", ["cvp@a.vn"], slot: 4);
        WriteIdentity("third", third);
        var ours = await CmsSigner.SignDetachedAsync(
            new MemoryStream(Content),
            new SigningRequest(
                third.Certificate, [Pki.Ca.Certificate], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1,
                TestPki.Now),
            third.Key);
        File.WriteAllBytes(At("joined"), CmsSigner.Join(File.ReadAllBytes(At("signed")), ours));
        (await VerifyAsync(At("joined"))).Count(v => v.Intact).ShouldBe(3);
        OpenSsl(
            "cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", At("joined"), "-content", At("content"),
            "-CAfile", At("root.pem"), "-certfile", At("ca.pem"), "-no_check_time", "-out", At("out"));
        File.WriteAllBytes(At("ours"), ours);
        OpenSsl(
            "cms", "-resign", "-binary", "-inform", "DER", "-in", At("ours"), "-signer", At("ec.pem"), "-inkey",
            At("ec.key"), "-outform", "DER", "-out", At("resigned"));
        (await VerifyAsync(At("resigned"))).Count(v => v.Intact).ShouldBe(2);
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
            {
                await CmsEnveloper.EncryptAsync(source, output, [other.Certificate, Recipient.Certificate], cipher);
            }

            OpenSsl(
                "cms", "-decrypt", "-binary", "-inform", "DER", "-in", At("encrypted.der"), "-recip",
                At("recipient.pem"), "-inkey", At("recipient.key"), "-out", At("out"));
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
        foreach (
            var form in new string[][]
            {
                ["-outform", "DER"],
                ["-outform", "PEM"],
                ["-outform", "DER", "-stream"],
                ["-outform", "DER", "-keyid"],
            })
        {
            foreach (
                var padding in new string[][]
                {
                    [],
                    ["-keyopt", "rsa_padding_mode:oaep"],
                    ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"],
                })
            {
                OpenSsl([
                    "cms",
                    "-encrypt",
                    "-binary",
                    "-in",
                    At("content"),
                    cipher,
                    .. form,
                    "-out",
                    At("encrypted"),
                    "-recip",
                    At("recipient.pem"),
                    .. padding,
                ]);
                using FileStream file = File.OpenRead(At("encrypted"));
                using DecryptedContent opened = await CmsDecryptor.DecryptAsync(
                    file, [new RecipientKey(Recipient.Certificate, Recipient.Rsa)]);
                opened.Algorithm.ShouldBe(algorithm);
                opened.Authenticated.ShouldBe(authenticated);
                using var copy = new MemoryStream();
                await opened.OpenContent().CopyToAsync(copy);
                copy.ToArray().ShouldBe(Content);
            }
        }
    }

    private static async Task<IReadOnlyList<SignerVerification>> VerifyAsync(string path)
    {
        await using FileStream file = File.OpenRead(path);
        using CmsSignedData data = await CmsSignedData.ReadAsync(file);
        return await data.VerifyAsync(new MemoryStream(Content));
    }

    /// <summary>The key inside a PKCS#8 for RSASSA-PSS, which .NET does not open.</summary>
    private static byte[] InnerKey(string pem)
    {
        PemFields fields = PemEncoding.Find(pem);
        AsnReader info = new AsnReader(
            Convert.FromBase64String(pem[fields.Base64Data]), AsnEncodingRules.DER).ReadSequence();
        info.ReadInteger();
        info.ReadSequence();
        return info.ReadOctetString();
    }

    private string At(string name) => Path.Combine(_folder.FullName, name);

    private void WriteIdentity(string name, TestIdentity identity)
    {
        File.WriteAllText(At(name + ".pem"), identity.Certificate.ExportCertificatePem());
        File.WriteAllText(At(name + ".key"), identity.Key.ExportPkcs8PrivateKeyPem());
    }

    private static string OpenSsl(params string[] arguments)
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
        if (process.ExitCode != 0)
        {
            throw new OpenSslRefused(error);
        }

        return output.Result;
    }

    private sealed class OpenSslRefused(string message) : Exception(message);

    private sealed class UnseekableStream(byte[] data) : MemoryStream(data)
    {
        public override bool CanSeek => false;
    }
}
