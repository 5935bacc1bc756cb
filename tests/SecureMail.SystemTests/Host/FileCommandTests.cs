using SecureMail.Exchange;

namespace SecureMail.SystemTests.Host;

/// <summary>The file commands with keys on a token, and openssl as the outsider at the other end.</summary>
public sealed class FileCommandTests : IDisposable
{
    private const string Agency = "an-hoa";
    private readonly string _folder = Directory.CreateTempSubdirectory("smcli").FullName;

    public FileCommandTests()
    {
        _ = SoftHsm.Folder;
        File.WriteAllText(In("công văn.txt"), "V/v triệu tập hội nghị\n");
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static string Pki(string name) => Path.Combine(TwoGateways.Pki, name);

    private static string[] Trust =>
        [
            "--trust",
            Pki("root.pem"),
            "--intermediate",
            Pki("issuing.pem"),
            "--crl",
            Pki("root.crl.pem"),
            "--crl",
            Pki("issuing.crl.pem"),
        ];

    private static string[] Key(string name, string agency = Agency) =>
        [
            "--key",
            $"pkcs11:token={agency};object={name}?module-path={SoftHsm.Module}",
            "--pin-file",
            Pki($"agencies/{agency}.pin"),
        ];

    private string In(string name) => Path.Combine(_folder, name);

    private string Document => In("công văn.txt");

    /// <summary>The certificate on the token, as an outsider would have it from the directory.</summary>
    private static string Certificate(string name, string agency = Agency) => Pki($"agencies/{agency}.{name}.pem");

    [Fact]
    public async Task What_a_token_signed_is_verified_by_openssl_and_by_us()
    {
        var signed = await Executable.RunAsync(["sign", .. Key("sign"), "--chain", Pki("issuing.pem"), Document]);
        signed.Exit.ShouldBe(0, signed.Error);
        await SoftHsm.RunAsync(
            "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", Document + ".p7s", "-content", Document,
            "-CAfile", Pki("root.pem"), "-purpose", "any", "-out", In("verified"));
        (await File.ReadAllTextAsync(In("verified"))).ShouldBe(await File.ReadAllTextAsync(Document));

        var judged = await Executable.RunAsync([
            "verify",
            "--json",
            .. Trust,
            "--content",
            Document,
            Document + ".p7s",
        ]);
        judged.Json[0].GetProperty("verdict").GetString().ShouldBe("valid", judged.Output);
        await File.AppendAllTextAsync(Document, "thêm");
        var changed = await Executable.RunAsync([
            "verify",
            "--json",
            .. Trust,
            "--content",
            Document,
            Document + ".p7s",
        ]);
        (changed.Exit, changed.Json[0].GetProperty("signatures")[0].GetProperty("subIndication").GetString()).ShouldBe(
            (1, "HASH_FAILURE"));
    }

    [Theory]
    [InlineData("an-hoa")] // RSA
    [InlineData("binh-minh")] // P-256: the token agrees on the key, we derive and unwrap
    public async Task What_openssl_encrypted_the_token_opens_and_judges(string agency)
    {
        await SoftHsm.RunAsync(
            "openssl", "cms", "-encrypt", "-binary", "-aes-256-gcm", "-outform", "DER", "-in", Document, "-out",
            In("x.p7m"), Certificate("encrypt", agency));
        var opened = await Executable.RunAsync(["decrypt", .. Key("encrypt", agency), "--out", In("x"), In("x.p7m")]);
        opened.Exit.ShouldBe(0, opened.Error);
        (await File.ReadAllTextAsync(In("x"))).ShouldBe(await File.ReadAllTextAsync(Document));

        // Signed by the token, then encrypted by openssl: the signature is found inside, with the same token's other
        // key.
        (await Executable.RunAsync(["sign", .. Key("sign", agency), "--out", In("sig"), Document])).Exit.ShouldBe(0);
        var whole = await Executable.RunAsync(["verify", "--json", .. Trust, .. Key("encrypt", agency), In("x.p7m")]);
        (
            whole.Json[0].GetProperty("verdict").GetString(),
            whole.Json[0].GetProperty("encrypted").GetBoolean()).ShouldBe(("unsigned", true));
        // The token by itself names every key on it.
        string[] anyKey =
        [
            "--key",
            $"pkcs11:token={agency}?module-path={SoftHsm.Module}",
            .. Key("encrypt", agency)[2..],
        ];
        (await Executable.RunAsync(["decrypt", .. anyKey, "--out", In("y"), In("x.p7m")])).Exit.ShouldBe(0);
    }

    [Theory]
    [InlineData("an-hoa")]
    [InlineData("binh-minh")]
    public async Task What_we_encrypt_the_token_opens_in_every_form(string agency)
    {
        foreach (
            var form in (string[][])
                [
                    [],
                    ["--smime"],
                ])
        {
            var made = In("made" + form.Length);
            (
                await Executable.RunAsync([
                    "encrypt",
                    .. form,
                    "--to",
                    Certificate("encrypt", agency),
                    "--out",
                    made,
                    Document,
                ])
            ).Exit.ShouldBe(0);
            (
                await Executable.RunAsync(["decrypt", .. Key("encrypt", agency), "--out", made + ".out", made])
            ).Exit.ShouldBe(0);
        }

        (await File.ReadAllTextAsync(In("made0.out"))).ShouldBe(await File.ReadAllTextAsync(Document));
    }

    [Fact]
    public async Task What_we_encrypt_openssl_opens()
    {
        await SoftHsm.RunAsync(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", In("k.pem"), "-out", In("c.pem"),
            "-days", "3", "-subj", "/CN=Outsider");
        (await Executable.RunAsync("encrypt", "--to", In("c.pem"), "--out", In("gcm"), Document)).Exit.ShouldBe(0);
        await SoftHsm.RunAsync(
            "openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", In("gcm"), "-recip", In("c.pem"),
            "-inkey", In("k.pem"), "-out", In("gcm.out"));
        (await File.ReadAllTextAsync(In("gcm.out"))).ShouldBe(await File.ReadAllTextAsync(Document));
        (
            await Executable.RunAsync(
                "encrypt", "--cbc", "--smime", "--to", In("c.pem"), "--out", In("cbc.eml"), Document)
        ).Exit.ShouldBe(0);
        await SoftHsm.RunAsync(
            "openssl", "cms", "-decrypt", "-in", In("cbc.eml"), "-recip", In("c.pem"), "-inkey", In("k.pem"), "-out",
            In("cbc.out"));
        (await File.ReadAllTextAsync(In("cbc.out"))).ShouldContain("application/octet-stream");
    }

    [Fact]
    public async Task A_refused_pin_a_missing_token_and_a_missing_key_are_told_apart()
    {
        File.WriteAllText(In("pin"), "99999999");
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(In("pin"), UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }

        string Uri(string token, string key) => $"pkcs11:token={token};object={key}?module-path={SoftHsm.Module}";

        var pin = await Executable.RunAsync(
            "sign", "--key", Uri("cli-wrong-pin", "sign"), "--pin-file", In("pin"), Document);
        pin.Exit.ShouldBe(77);
        pin.ErrorLine.ShouldContain("PIN");
        pin.ErrorLine.ShouldNotContain("99999999");
        var token = await Executable.RunAsync(
            "sign", "--key", Uri("is-not-there", "sign"), "--pin-file", In("pin"), Document);
        token.Exit.ShouldBe(69);
        token.ErrorLine.ShouldContain("TOKEN_ABSENT");
        var key = await Executable.RunAsync(["sign", .. Key("is-not-there"), Document]);
        key.Exit.ShouldBe(69);
        key.ErrorLine.ShouldContain("KEY_ABSENT");
        var none = await Executable.RunAsync("sign", Document);
        none.Exit.ShouldBe(64);
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(In("pin"), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.OtherRead);
        }

        var open = await Executable.RunAsync(
            "sign", "--key", Uri("cli-wrong-pin", "sign"), "--pin-file", In("pin"), Document);
        open.Exit.ShouldBe(65);
        open.ErrorLine.ShouldContain("0600");
        File.Exists(Document + ".p7s").ShouldBeFalse();
    }

    [Fact]
    public async Task A_signature_over_mail_saved_with_a_token_is_refused_after_one_changed_octet()
    {
        // What scripts/demo shows: the entity inside an encrypted message, checked by openssl, then changed.
        await SoftHsm.RunAsync(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", In("k.pem"), "-out", In("c.pem"),
            "-days", "3", "-subj", "/CN=Outsider", "-addext", "subjectAltName=email:vanthu@xa.test");
        await SoftHsm.RunAsync(
            "openssl", "cms", "-sign", "-in", Document, "-signer", In("c.pem"), "-inkey", In("k.pem"), "-out",
            In("signed.eml"));
        await SoftHsm.RunAsync(
            "openssl", "cms", "-encrypt", "-aes-256-cbc", "-in", In("signed.eml"), "-from", "vanthu@xa.test", "-to",
            "x@y.test", "-subject", "x", "-out", In("mail.eml"), Certificate("encrypt"));
        var opened = await Executable.RunAsync([
            "decrypt",
            .. Key("encrypt"),
            "--out",
            In("inner.eml"),
            In("mail.eml"),
        ]);
        opened.Exit.ShouldBe(0, opened.Error);
        await SoftHsm.RunAsync(
            "openssl", "cms", "-verify", "-in", In("inner.eml"), "-CAfile", In("c.pem"), "-purpose", "any", "-out",
            In("verified"));

        string[] verify =
        [
            "verify",
            "--json",
            "--trust",
            In("c.pem"),
            "--no-revocation",
            .. Key("encrypt"),
            In("mail.eml"),
        ];
        (await Executable.RunAsync(verify)).Json[0].GetProperty("verdict").GetString().ShouldBe("valid");
        var mail = await File.ReadAllTextAsync(In("mail.eml"));
        var at = mail.Length / 2;
        while (!char.IsAsciiLetterLower(mail[at]))
        {
            at++;
        }

        await File.WriteAllTextAsync(In("mail.eml"), $"{mail[..at]}{(mail[at] == 'a' ? 'b' : 'a')}{mail[(at + 1)..]}");
        (await Executable.RunAsync(verify)).Exit.ShouldNotBe(0);
        (
            await Executable.RunAsync(["decrypt", .. Key("encrypt"), "--out", In("again.eml"), In("mail.eml")])
        ).Exit.ShouldNotBe(0);
        File.Exists(In("again.eml")).ShouldBeFalse();
    }
}
