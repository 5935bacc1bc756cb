namespace SecureMail.Tests.Host;

/// <summary>sign, encrypt and decrypt with keys from files; with tokens they are in the system tests.</summary>
public sealed class FileCommandTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("smcli").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static string Cms(string name) => Path.Combine(Vectors.Folder("cms"), name);

    private static string Smime(string name) => Path.Combine(Vectors.Folder("smime"), name);

    private string In(string name) => Path.Combine(_folder, name);

    private string[] CmsKey() => P12File.Make(_folder, Cms("recipient.pem"), Cms("recipient.key"));

    private string[] SmimeKey() => P12File.Make(_folder, Smime("recipient.pem"), Smime("recipient-key.pem"));

    [Theory]
    [InlineData("enveloped-gcm256.der")]
    [InlineData("enveloped-gcm128-stream.ber")]
    [InlineData("enveloped-oaep-sha256.der")]
    public async Task Authenticated_content_is_written_as_it_was_encrypted(string name)
    {
        var answer = await Executable.RunAsync(["decrypt", .. CmsKey(), "--out", In("out"), Cms(name)]);
        answer.Exit.ShouldBe(0, answer.Error);
        (await File.ReadAllBytesAsync(In("out"))).ShouldBe(Vectors.Read("cms", "content.txt"));
        if (!OperatingSystem.IsWindows())
        {
            File.GetUnixFileMode(In("out")).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }
    }

    [Theory]
    [InlineData("encrypted-gcm.eml")]
    [InlineData("encrypted-cbc.eml")]
    public async Task The_inner_entity_of_mail_is_written_where_a_tag_or_a_signature_proves_it(string name)
    {
        (await Executable.RunAsync(["decrypt", .. SmimeKey(), "--out", In("inner.eml"), Smime(name)])).Exit.ShouldBe(0);
        (await File.ReadAllTextAsync(In("inner.eml"))).ShouldContain("multipart/signed");
    }

    [Fact]
    public async Task Content_that_nothing_proves_unchanged_is_not_written()
    {
        var refused = await Executable.RunAsync([
            "decrypt",
            .. CmsKey(),
            "--out",
            In("out"),
            Cms("enveloped-cbc256.der"),
        ]);
        refused.Exit.ShouldBe(2);
        refused.ErrorLine.ShouldContain("CBC");
        File.Exists(In("out")).ShouldBeFalse();
    }

    [Theory]
    [InlineData("enveloped-gcm256-changed-tag.der", 65)]
    [InlineData("enveloped-others.der", 2)]
    [InlineData("enveloped-des3.der", 2)]
    [InlineData("attached-rsa.pem", 65)]
    [InlineData("content.txt", 65)]
    [InlineData("is-not-there.der", 66)]
    public async Task What_does_not_open_leaves_no_file(string name, int exit)
    {
        var answer = await Executable.RunAsync(["decrypt", .. CmsKey(), "--out", In("out"), Cms(name)]);
        answer.Exit.ShouldBe(exit);
        answer.ErrorLine.ShouldContain(" / ");
        answer.Output.ShouldBeEmpty();
        Directory.GetFiles(_folder).Select(Path.GetFileName).Order().ShouldBe(["key.p12", "password"]);
    }

    [Theory]
    [InlineData("rsa", "rsa-oaep-sha1.der")]
    [InlineData("p256", "p256-sha256kdf.der")]
    [InlineData("p384", "p384-sha384kdf.der")]
    [InlineData("x25519", "x25519-hkdf-sha256.der")]
    public async Task A_key_of_any_kind_in_a_PEM_file_opens_what_others_and_we_encrypt_to_it(string key, string theirs)
    {
        string Recipients(string name) => Path.Combine(Vectors.Folder("cms/recipients"), name);
        string[] keyOptions = ["--key", Recipients(key + ".key"), "--cert", Recipients(key + ".pem")];
        var answer = await Executable.RunAsync(["decrypt", .. keyOptions, "--out", In("theirs"), Recipients(theirs)]);
        answer.Exit.ShouldBe(0, answer.Error);
        (await File.ReadAllBytesAsync(In("theirs"))).ShouldBe(Vectors.Read("cms/recipients", "content.txt"));

        var written = await Executable.RunAsync(
            "encrypt", "--to", Recipients(key + ".pem"), "--out", In("ours.p7m"), Recipients("content.txt"));
        written.Exit.ShouldBe(0, written.Error);
        (await Executable.RunAsync(["decrypt", .. keyOptions, "--out", In("ours"), In("ours.p7m")])).Exit.ShouldBe(0);
        (await File.ReadAllBytesAsync(In("ours"))).ShouldBe(Vectors.Read("cms/recipients", "content.txt"));
    }

    public static TheoryData<string, byte[], string> Editors =>
        new()
        {
            { "UTF-8", [0xEF, 0xBB, 0xBF], "utf-8" },
            { "UTF-16", [0xFF, 0xFE], "utf-16" },
            { "UTF-16 big endian", [0xFE, 0xFF], "utf-16BE" },
        };

    [Theory]
    [MemberData(nameof(Editors))]
    public async Task Keys_certificates_and_passwords_are_read_as_an_editor_leaves_them(
        string name, byte[] mark, string encoding)
    {
        string Recipients(string file) => Path.Combine(Vectors.Folder("cms/recipients"), file);
        void Write(string file, string text) =>
            File.WriteAllBytes(In(file), [.. mark, .. System.Text.Encoding.GetEncoding(encoding).GetBytes(text)]);

        // A note around the key, another certificate before the key's own, and line ends of Windows.
        var pem =
            "This key is not ENCRYPTED\n"
            + File.ReadAllText(Recipients("p256.pem"))
            + File.ReadAllText(Recipients("rsa.pem"))
            + File.ReadAllText(Recipients("rsa.key"));
        Write("key.pem", pem.ReplaceLineEndings("\r\n"));
        var byKey = await Executable.RunAsync(
            "decrypt", "--key", In("key.pem"), "--out", In("by-key"), Recipients("rsa-oaep-two-hashes.der"));
        byKey.Exit.ShouldBe(0, name + byKey.Error);
        (await File.ReadAllBytesAsync(In("by-key"))).ShouldBe(Vectors.Read("cms/recipients", "content.txt"));

        var p12 = CmsKey();
        var password = Array.IndexOf(p12, "--p12-password-file") + 1;
        Write("noted", (await File.ReadAllTextAsync(p12[password])).TrimEnd('\r', '\n') + "\r\n");
        p12[password] = In("noted");
        var byPassword = await Executable.RunAsync(
            ["decrypt", .. p12, "--out", In("by-password"), Cms("enveloped-gcm256.der")]);
        byPassword.Exit.ShouldBe(0, name + byPassword.Error);
    }

    [Theory]
    [InlineData("rsa-oaep-sha512-mgf1-sha384.der", 2)] // CBC: opened, and kept back because nothing proves it
    [InlineData("rsa-oaep-sha384-mgf1-sha1-label.der", 0)]
    [InlineData("rsa-oaep-sha224.der", 0)]
    [InlineData("rsa-oaep-other-label.der", 65)]
    [InlineData("rsa-issuer-bmp.der", 0)]
    public async Task A_key_in_PKCS12_opens_every_legal_OAEP_and_every_spelling_of_its_name(string name, int exit)
    {
        string Recipients(string file) => Path.Combine(Vectors.Folder("cms/recipients"), file);
        var key = P12File.Make(_folder, Recipients("rsa.pem"), Recipients("rsa.key"));
        var answer = await Executable.RunAsync(["decrypt", .. key, "--out", In("out"), Recipients(name)]);
        answer.Exit.ShouldBe(exit, answer.Error);
        if (exit == 0)
        {
            (await File.ReadAllBytesAsync(In("out"))).ShouldBe(Vectors.Read("cms/recipients", "content.txt"));
        }
    }

    [Fact]
    public async Task A_PEM_key_of_another_certificate_is_refused()
    {
        string Recipients(string file) => Path.Combine(Vectors.Folder("cms/recipients"), file);
        var answer = await Executable.RunAsync(
            "decrypt", "--key", Cms("recipient.key"), "--cert", Recipients("rsa.pem"), "--out", In("out"),
            Recipients("rsa-pkcs1.der"));
        answer.Exit.ShouldBe(65);
        File.Exists(In("out")).ShouldBeFalse();
    }

    [Fact]
    public async Task An_output_that_exists_is_replaced_only_by_force()
    {
        await File.WriteAllTextAsync(In("out"), "giữ lại");
        (
            await Executable.RunAsync(["decrypt", .. CmsKey(), "--out", In("out"), Cms("enveloped-gcm256.der")])
        ).Exit.ShouldBe(64);
        (await File.ReadAllTextAsync(In("out"))).ShouldBe("giữ lại");
        (
            await Executable.RunAsync([
                "decrypt",
                .. CmsKey(),
                "--force",
                "--out",
                In("out"),
                Cms("enveloped-gcm256-changed-tag.der"),
            ])
        ).Exit.ShouldBe(65);
        (await File.ReadAllTextAsync(In("out"))).ShouldBe("giữ lại");
        (
            await Executable.RunAsync([
                "decrypt",
                .. CmsKey(),
                "--force",
                "--out",
                In("out"),
                Cms("enveloped-gcm256.der"),
            ])
        ).Exit.ShouldBe(0);
        (await File.ReadAllBytesAsync(In("out"))).ShouldBe(Vectors.Read("cms", "content.txt"));
    }

    [Fact]
    public async Task Standard_output_takes_the_content_and_nothing_else()
    {
        var answer = await Executable.RunAsync(["decrypt", .. CmsKey(), "--out", "-", Cms("enveloped-gcm256.der")]);
        answer.Output.ShouldBe(System.Text.Encoding.UTF8.GetString(Vectors.Read("cms", "content.txt")));
        answer.Error.ShouldBeEmpty();
    }

    [Fact]
    public async Task A_wrong_password_is_told_from_nothing_and_said_in_one_line()
    {
        var key = CmsKey();
        await File.WriteAllTextAsync(In("password"), "sai");
        var answer = await Executable.RunAsync(["decrypt", .. key, "--out", In("out"), Cms("enveloped-gcm256.der")]);
        answer.Exit.ShouldBe(65);
        answer.ErrorLine.ShouldContain("mật khẩu");
        answer.ErrorLine.ShouldNotContain("sai\"");
    }

    [Theory]
    [InlineData("--pss")]
    [InlineData("--json")]
    public async Task What_is_signed_verifies_and_encrypts_and_opens_again(string option)
    {
        var document = In("công văn.docx");
        await File.WriteAllBytesAsync(document, Vectors.Read("cms", "content.txt"));
        var key = Signer();
        var signed = await Executable.RunAsync(["sign", option, .. key, document]);
        signed.Exit.ShouldBe(0, signed.Error);
        var judged = await Executable.RunAsync(
            "verify", "--json", "--no-revocation", "--trust", In("signer.pem"), "--content", document,
            document + ".p7s");
        judged.Json[0].GetProperty("verdict").GetString().ShouldBe("valid", judged.Output);
        judged.Json[0].GetProperty("signatures")[0].GetProperty("claimedTime").GetString().ShouldNotBeNull();

        (await Executable.RunAsync("encrypt", "--to", In("signer.pem"), document)).Exit.ShouldBe(0);
        (await Executable.RunAsync(["decrypt", .. key, "--out", In("opened"), document + ".p7m"])).Exit.ShouldBe(0);
        (await File.ReadAllBytesAsync(In("opened"))).ShouldBe(await File.ReadAllBytesAsync(document));

        (await Executable.RunAsync("encrypt", "--smime", "--to", In("signer.pem"), document)).Exit.ShouldBe(0);
        (await Executable.RunAsync(["decrypt", .. key, "--out", In("opened.eml"), document + ".eml"])).Exit.ShouldBe(0);
        (await File.ReadAllTextAsync(In("opened.eml"))).ShouldContain(
            Convert.ToBase64String(Vectors.Read("cms", "content.txt"))[..40]);
    }

    [Fact]
    public async Task A_certificate_out_of_date_neither_signs_nor_is_encrypted_to()
    {
        var key = Signer(TimeProvider.System.GetUtcNow().AddDays(-1));
        await File.WriteAllTextAsync(In("x.txt"), "x");
        foreach (
            var arguments in (string[][])
                [
                    ["sign", .. key, In("x.txt")],
                    ["encrypt", "--to", In("signer.pem"), In("x.txt")],
                ])
        {
            var answer = await Executable.RunAsync(arguments);
            answer.Exit.ShouldBe(77);
            answer.ErrorLine.ShouldContain("hiệu lực");
        }

        (File.Exists(In("x.txt.p7s")) || File.Exists(In("x.txt.p7m"))).ShouldBeFalse();
    }

    [Theory]
    [InlineData("verify")]
    [InlineData("sign")]
    [InlineData("encrypt")]
    [InlineData("decrypt")]
    public async Task Help_shows_an_example(string command)
    {
        var answer = await Executable.RunAsync(command, "--help");
        answer.Exit.ShouldBe(0);
        answer.Output.ShouldContain($"Ví dụ / example: securemail {command}");
    }

    /// <summary>A key of today with a certificate that may do everything, as files; the arguments that name
    /// it.</summary>
    private string[] Signer(DateTimeOffset? notAfter = null)
    {
        var now = TimeProvider.System.GetUtcNow();
        using var key = System.Security.Cryptography.RSA.Create(2048);
        var request = TestPki.Request("CN=Văn thư", key);
        using var certificate = request.CreateSelfSigned(now.AddDays(-2), notAfter ?? now.AddDays(2));
        File.WriteAllText(In("signer.pem"), certificate.ExportCertificatePem());
        File.WriteAllText(In("signer.key"), key.ExportPkcs8PrivateKeyPem());
        return P12File.Make(_folder, In("signer.pem"), In("signer.key"));
    }
}
