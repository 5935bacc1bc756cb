using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SecureMail.Pkcs11;

namespace SecureMail.SystemTests.Pkcs11;

/// <summary>Token objects as other tools leave them: no CKA_ID, another than the certificate's, two keys
/// alike.</summary>
public sealed class OddTokenFixture : IAsyncLifetime
{
    internal TestIdentity Rsa { get; } = Issue("CN=RSA", RSA.Create(2048));

    internal TestIdentity Twice { get; } = Issue("CN=Twice", RSA.Create(2048));

    internal TestIdentity Wrong { get; } = Issue("CN=Wrong", RSA.Create(2048));

    internal TestIdentity Ec { get; } = Issue("CN=EC", ECDsa.Create(ECCurve.NamedCurves.nistP256));

    internal TestIdentity Hinted { get; } = Issue("CN=Hinted", ECDsa.Create(ECCurve.NamedCurves.nistP256));

    /// <summary>May agree on a secret and not sign.</summary>
    internal TestIdentity Agreeing { get; } = Issue(
        "CN=Agreeing", ECDsa.Create(ECCurve.NamedCurves.nistP256), X509KeyUsageFlags.KeyAgreement);

    internal TestIdentity Absent { get; } = Issue("CN=Absent", ECDsa.Create(ECCurve.NamedCurves.nistP256));

    internal TestIdentity Signing { get; } = Issue("CN=Signing", RSA.Create(2048));

    internal TestIdentity Decrypting { get; } = Issue(
        "CN=Decrypting", RSA.Create(2048), X509KeyUsageFlags.KeyEncipherment);

    public async Task InitializeAsync()
    {
        _ = SoftHsm.Folder;
        await WriteAsync(SoftHsm.OddToken, Rsa, "rsa-noid");
        await WriteCertificateAsync(SoftHsm.OddToken, Rsa, "elsewhere", "99");
        await WriteAsync(SoftHsm.OddToken, Ec, "ec-noid");
        await WriteObjectAsync(
            SoftHsm.OddToken, "privkey", ((ECDsa)Agreeing.Key).ExportECPrivateKey(), "agree-noid", null,
            "--usage-derive");
        await WriteAsync(SoftHsm.OddToken, Hinted, "ec-hinted", "31");
        // The public key object of another key lies under the id of this one.
        await WriteObjectAsync(
            SoftHsm.OddToken, "pubkey", ((ECDsa)Ec.Key).ExportSubjectPublicKeyInfo(), "ec-hinted", "31");
        await WriteAsync(SoftHsm.OddToken, Twice, "twice", "55");
        await WriteAsync(SoftHsm.OddToken, Twice, "twice", "55");
        await WriteAsync(SoftHsm.OddToken, Wrong, "wrong-cert", "44");
        await WriteCertificateAsync(SoftHsm.OddToken, Rsa, "wrong-cert", "44");
        await WriteAsync(SoftHsm.OneKeyToken, Signing, "a", "01");
        await WriteCertificateAsync(SoftHsm.OneKeyToken, Signing, "b", "02");
        await WriteAsync(SoftHsm.OneKeyToken, Decrypting, "c", "03");
        await WriteCertificateAsync(SoftHsm.OneKeyToken, Decrypting, "d", "04");
    }

    public Task DisposeAsync() => Task.CompletedTask;

    private static TestIdentity Issue(
        string subject, AsymmetricAlgorithm key, X509KeyUsageFlags usage = X509KeyUsageFlags.DigitalSignature) =>
        new(
            TestPki.Shared
                .Issue(
                    subject, usage: usage, notBefore: TestPki.Now.AddYears(-4), notAfter: TestPki.Now.AddYears(20),
                    publicKey: key is RSA rsa ? new PublicKey(rsa) : new PublicKey((ECDsa)key))
                .Certificate,
            key);

    private static Task WriteAsync(string token, TestIdentity identity, string label, string? id = null) =>
        WriteObjectAsync(
            token, "privkey",
            identity.Key is RSA rsa ? rsa.ExportRSAPrivateKey() : ((ECDsa)identity.Key).ExportECPrivateKey(), label,
            id, "--usage-sign", identity.Key is RSA ? "--usage-decrypt" : "--usage-derive");

    private static Task WriteCertificateAsync(string token, TestIdentity identity, string label, string id) =>
        WriteObjectAsync(token, "cert", identity.Certificate.RawData, label, id);

    private static async Task WriteObjectAsync(
        string token, string type, byte[] der, string label, string? id, params string[] more)
    {
        var file = Path.Combine(SoftHsm.Folder, Guid.NewGuid().ToString("N"));
        await File.WriteAllBytesAsync(file, der);
        string[] named = id is null ? [] : ["--id", id];
        await SoftHsm.ToolAsync(token, ["--write-object", file, "--type", type, "--label", label, .. named, .. more]);
        File.Delete(file);
    }
}

[Collection("tokens")]
public sealed class KeyMatchingTests(OddTokenFixture odd) : IClassFixture<OddTokenFixture>
{
    private static readonly byte[] Message = Encoding.UTF8.GetBytes("Công văn số 36-HD/VPTW");

    [Theory]
    [InlineData("pkcs11:object=rsa-noid")]
    [InlineData("pkcs11:")]
    public void An_RSA_key_without_id_is_that_of_the_certificate_with_its_modulus(string uri)
    {
        using var token = TokenFixture.Open(token: SoftHsm.OddToken);
        using var key = (RSA)token.OpenKeyFor(odd.Rsa.Certificate, Pkcs11Uri.Parse(uri));
        RequireSigns(key, odd.Rsa);
        using var decrypting = (RSA)token.OpenKeyFor(
            odd.Rsa.Certificate, Pkcs11Uri.Parse(uri), Pkcs11KeyUse.Decryption);
        decrypting.Decrypt(odd.Rsa.Rsa.Encrypt(Message, RSAEncryptionPadding.OaepSHA1), RSAEncryptionPadding.OaepSHA1)
            .ShouldBe(Message);
    }

    [Fact]
    public void A_certificate_under_another_id_is_found_by_the_key()
    {
        using var token = TokenFixture.Open(token: SoftHsm.OddToken);
        token.CertificateOf(TokenFixture.Key("rsa-noid"))!.RawData.ShouldBe(odd.Rsa.Certificate.RawData);
        var (certificate, key) = token.OpenSigner(TokenFixture.Key("rsa-noid"));
        certificate!.RawData.ShouldBe(odd.Rsa.Certificate.RawData);
        RequireSigns((RSA)key, odd.Rsa);
        key.Dispose();
    }

    [Theory]
    [InlineData("pkcs11:object=ec-noid")]
    [InlineData("pkcs11:")]
    public void An_EC_key_that_tells_nothing_is_proven_by_a_trial(string uri)
    {
        using var token = TokenFixture.Open(token: SoftHsm.OddToken);
        using (var key = (ECDsa)token.OpenKeyFor(odd.Ec.Certificate, Pkcs11Uri.Parse(uri)))
        {
            RequireSigns(key, odd.Ec);
        }

        using var agreement = (ECDiffieHellman)token.OpenKeyFor(
            odd.Ec.Certificate, Pkcs11Uri.Parse(uri), Pkcs11KeyUse.Decryption);
        using var other = ECDiffieHellman.Create(ECCurve.NamedCurves.nistP256);
        using var theirs = other.PublicKey;
        using var ours = odd.Ec.Certificate.PublicKey.GetECDiffieHellmanPublicKey()!;
        using var oursPublic = ours.PublicKey;
        agreement.DeriveRawSecretAgreement(theirs).ShouldBe(other.DeriveRawSecretAgreement(oursPublic));
        Should
            .Throw<Pkcs11Exception>(() => token.OpenEcdsa(TokenFixture.Key("ec-noid")))
            .Code.ShouldBe("PUBLIC_KEY_ABSENT");
    }

    [Theory]
    [InlineData("pkcs11:object=agree-noid")]
    [InlineData("pkcs11:")]
    public void A_key_that_may_not_sign_is_proven_by_agreeing_on_a_secret(string uri)
    {
        using var token = TokenFixture.Open(token: SoftHsm.OddToken);
        using var key = (ECDiffieHellman)token.OpenKeyFor(
            odd.Agreeing.Certificate, Pkcs11Uri.Parse(uri), Pkcs11KeyUse.Decryption);
        using var other = ECDiffieHellman.Create(ECCurve.NamedCurves.nistP256);
        using var theirs = other.PublicKey;
        using var ours = odd.Agreeing.Certificate.PublicKey.GetECDiffieHellmanPublicKey()!;
        using var oursPublic = ours.PublicKey;
        key.DeriveRawSecretAgreement(theirs).ShouldBe(other.DeriveRawSecretAgreement(oursPublic));
        Should
            .Throw<Pkcs11Exception>(() =>
                token.OpenKeyFor(
                    odd.Absent.Certificate, TokenFixture.Key("agree-noid"), Pkcs11KeyUse.Decryption))
            .Code.ShouldBe("KEY_OF_ANOTHER_CERTIFICATE");
    }

    [Fact]
    public void What_lies_under_the_id_of_a_key_proves_nothing_against_a_trial()
    {
        using var token = TokenFixture.Open(token: SoftHsm.OddToken);
        using var key = (ECDsa)token.OpenKeyFor(odd.Hinted.Certificate, TokenFixture.Key("ec-hinted"));
        RequireSigns(key, odd.Hinted);
        Should
            .Throw<Pkcs11Exception>(() => token.OpenKeyFor(odd.Ec.Certificate, TokenFixture.Key("ec-hinted")))
            .Code.ShouldBe("KEY_OF_ANOTHER_CERTIFICATE");
    }

    [Fact]
    public void A_certificate_of_another_key_is_refused()
    {
        using var token = TokenFixture.Open(token: SoftHsm.OddToken);
        foreach (var uri in new[] { "pkcs11:", "pkcs11:object=ec-noid", "pkcs11:object=rsa-noid" })
        {
            foreach (var use in Enum.GetValues<Pkcs11KeyUse>())
            {
                Should
                    .Throw<Pkcs11Exception>(() => token.OpenKeyFor(odd.Absent.Certificate, Pkcs11Uri.Parse(uri), use))
                    .Code.ShouldBe("KEY_OF_ANOTHER_CERTIFICATE");
            }
        }

        Should
            .Throw<Pkcs11Exception>(() => token.OpenSigner(TokenFixture.Key("wrong-cert")))
            .Code.ShouldBe("CERTIFICATE_OF_ANOTHER_KEY");
        token.OpenKeyOf(odd.Absent.Certificate).ShouldBeNull();
    }

    [Fact]
    public void Two_keys_alike_are_ambiguous()
    {
        using var token = TokenFixture.Open(token: SoftHsm.OddToken);
        foreach (var uri in new[] { "pkcs11:", "pkcs11:object=twice", "pkcs11:id=%55" })
        {
            Should
                .Throw<Pkcs11Exception>(() => token.OpenKeyFor(odd.Twice.Certificate, Pkcs11Uri.Parse(uri)))
                .Fault.ShouldBe(Pkcs11Fault.Ambiguous);
        }

        foreach (var uri in new[] { "pkcs11:object=twice", "pkcs11:id=%55" })
        {
            Should
                .Throw<Pkcs11Exception>(() => token.OpenSigner(Pkcs11Uri.Parse(uri)))
                .Fault.ShouldBe(Pkcs11Fault.Ambiguous);
        }

        // Of all keys on the token only one has a certificate.
        var (certificate, key) = token.OpenSigner(Pkcs11Uri.Parse("pkcs11:"));
        certificate!.RawData.ShouldBe(odd.Rsa.Certificate.RawData);
        key.Dispose();
    }

    [Fact]
    public void A_URI_that_names_the_token_only_signs_with_the_one_key_for_signing_and_decrypts_with_all()
    {
        using var token = TokenFixture.Open(token: SoftHsm.OneKeyToken);
        var (certificate, key) = token.OpenSigner(Pkcs11Uri.Parse("pkcs11:"));
        certificate!.RawData.ShouldBe(odd.Signing.Certificate.RawData);
        RequireSigns((RSA)key, odd.Signing);
        key.Dispose();
        var recipients = token.OpenRecipients(Pkcs11Uri.Parse("pkcs11:"));
        recipients.Select(r => r.Certificate.Subject).ShouldBe(["CN=Signing", "CN=Decrypting"], ignoreOrder: true);
        foreach (var (own, opened) in recipients)
        {
            using var rsa = own.GetRSAPublicKey()!;
            ((RSA)opened)
                .Decrypt(rsa.Encrypt(Message, RSAEncryptionPadding.Pkcs1), RSAEncryptionPadding.Pkcs1)
                .ShouldBe(Message);
            opened.Dispose();
        }

        using var oddToken = TokenFixture.Open(token: SoftHsm.OddToken);
        oddToken
            .OpenRecipients(Pkcs11Uri.Parse("pkcs11:"))
            .ShouldContain(r => r.Certificate.RawData.SequenceEqual(odd.Rsa.Certificate.RawData));
    }

    [Fact]
    public void A_key_without_id_is_found_again_when_sessions_died()
    {
        using var token = TokenFixture.Open(token: SoftHsm.OddToken);
        using var rsa = (RSA)token.OpenKeyFor(odd.Rsa.Certificate, Pkcs11Uri.Parse("pkcs11:"));
        using var ec = (ECDsa)token.OpenKeyFor(odd.Ec.Certificate, Pkcs11Uri.Parse("pkcs11:"));
        using (var module = Pkcs11Module.Open(SoftHsm.Module))
        {
            module.Functions.FinalizeModule();
            module.Functions.Initialize().ShouldBe(Ckr.Ok);
        }

        RequireSigns(rsa, odd.Rsa);
        RequireSigns(ec, odd.Ec);
    }

    [Fact]
    public void OAEP_parameters_that_the_token_lacks_are_named()
    {
        using var token = TokenFixture.Open(token: SoftHsm.OddToken);
        using var key = (RSA)token.OpenKeyFor(
            odd.Rsa.Certificate, TokenFixture.Key("rsa-noid"), Pkcs11KeyUse.Decryption);
        var data = odd.Rsa.Rsa.Encrypt(Message, RSAEncryptionPadding.OaepSHA1);
        Pkcs11Token.DecryptOaep(key, HashAlgorithmName.SHA1, HashAlgorithmName.SHA1, [], data).ShouldBe(Message);
        var refused = Should.Throw<Pkcs11Exception>(() =>
            Pkcs11Token.DecryptOaep(key, HashAlgorithmName.SHA256, HashAlgorithmName.SHA1, [], data));
        refused.Fault.ShouldBe(Pkcs11Fault.MechanismUnsupported);
        refused.Message.ShouldContain("CKM_RSA_PKCS_OAEP, hash SHA256, MGF1 with SHA1");
    }

    [Theory]
    [InlineData(";object=ec-noid", true)]
    [InlineData("", true)]
    [InlineData(";object=rsa-noid", false)]
    public async Task The_command_signs_with_the_key_of_the_certificate_given_and_with_no_other(
        string named, bool isItsKey)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("matching");
        try
        {
            string In(string name) => Path.Combine(folder.FullName, name);
            // As an authority hands it out: with the certificates of the authority, in any order.
            X509Certificate2Collection bag = [TestPki.Shared.Ca.Certificate, odd.Ec.Certificate];
            await File.WriteAllBytesAsync(In("ec.p7b"), bag.Export(X509ContentType.Pkcs7)!);
            await File.WriteAllBytesAsync(In("document"), Message);
            await File.WriteAllTextAsync(In("pin"), "\uFEFF" + SoftHsm.Pin + "\r\n", new UTF8Encoding(false));
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(In("pin"), UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }

            var answer = await Executable.RunAsync(
                "sign", "--key",
                $"pkcs11:token={Uri.EscapeDataString(SoftHsm.OddToken)}{named}?module-path={SoftHsm.Module}",
                "--pin-file", In("pin"), "--cert", In("ec.p7b"), "--out", In("signed"), In("document"));
            answer.Exit.ShouldBe(isItsKey ? 0 : 69, answer.Error);
            File.Exists(In("signed")).ShouldBe(isItsKey);
            if (!isItsKey)
            {
                answer.ErrorLine.ShouldContain("KEY_OF_ANOTHER_CERTIFICATE");
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void No_try_of_a_PIN_is_spent_on_a_byte_order_mark()
    {
        foreach (var pin in new Func<byte[]>[]
        {
            () => [0xEF, 0xBB, 0xBF, .. Encoding.UTF8.GetBytes(SoftHsm.Pin)],
            () => [0xFF, 0xFE, .. Encoding.Unicode.GetBytes(SoftHsm.Pin + "\r\n")],
            () => [0xFE, 0xFF, .. Encoding.BigEndianUnicode.GetBytes(SoftHsm.Pin)],
        })
        {
            using var token = TokenFixture.Open(pin, SoftHsm.OddToken);
            using var key = token.OpenRsa(TokenFixture.Key("rsa-noid"));
            token.PinRefused.ShouldBeFalse();
        }
    }

    private static void RequireSigns(RSA key, TestIdentity identity)
    {
        var signature = key.SignData(Message, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        identity.Rsa.VerifyData(Message, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1).ShouldBeTrue();
    }

    private static void RequireSigns(ECDsa key, TestIdentity identity) =>
        ((ECDsa)identity.Key)
            .VerifyData(Message, key.SignData(Message, HashAlgorithmName.SHA256), HashAlgorithmName.SHA256)
            .ShouldBeTrue();
}
