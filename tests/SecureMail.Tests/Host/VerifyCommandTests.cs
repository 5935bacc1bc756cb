using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;

namespace SecureMail.Tests.Host;

/// <summary>The contract of <c>securemail verify</c> (CLI.md), asked of the program itself.</summary>
public sealed class VerifyCommandTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("smcli").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static string Smime(string name) => Path.Combine(Vectors.Folder("smime"), name);

    private static string Cms(string name) => Path.Combine(Vectors.Folder("cms"), name);

    private static readonly string[] SmimeTrust =
    [
        "--trust",
        Smime("root.pem"),
        "--no-revocation",
        "--at",
        "2030-01-01T00:00:00Z",
    ];

    private static readonly string[] CmsTrust =
    [
        "--trust",
        Cms("root.pem"),
        "--crl",
        Cms("root.crl"),
        "--crl",
        Cms("ca.crl"),
        "--at",
        "2027-01-01T07:00:00+07:00",
    ];

    private string File(string name, string text)
    {
        var path = Path.Combine(_folder, name);
        System.IO.File.WriteAllText(path, text);
        return path;
    }

    [Theory]
    [InlineData("signed.eml", "valid", 0)]
    [InlineData("wrong-sender.eml", "wrong-sender", 1)]
    [InlineData("beside-unsigned.eml", "partial", 1)]
    [InlineData("not-for-us.eml", "indeterminate", 2)]
    [InlineData("signed-sha1.eml", "untrusted", 1)]
    [InlineData("altered.eml", "invalid", 1)]
    [InlineData("../mail/python-modern-nfc.eml", "unsigned", 1)]
    [InlineData("recipient.pem", "unreadable", 65)]
    [InlineData("is-not-there.eml", "unreadable", 66)]
    public async Task Every_verdict_has_its_exit_code_and_its_json(string name, string verdict, int exit)
    {
        var answer = await Executable.RunAsync(["verify", "--json", .. SmimeTrust, Smime(name)]);
        answer.Exit.ShouldBe(exit);
        answer.Error.ShouldBeEmpty();
        var json = answer.Json.ShouldHaveSingleItem();
        json.EnumerateObject()
            .Select(p => p.Name)
            .ShouldBe(["file", "format", "verdict", "encrypted", "summary", "signatures", "error", "envelopeFindings",
                "headerFindings"]);
        json.GetProperty("file").GetString().ShouldBe(Smime(name));
        json.GetProperty("verdict").GetString().ShouldBe(verdict);
        json.GetProperty("format").GetString().ShouldBe(verdict == "unreadable" ? "unknown" : "mime");
        json.GetProperty("encrypted").GetBoolean().ShouldBe(name == "not-for-us.eml");
        json.GetProperty("summary").GetProperty("vi").GetString().ShouldNotBeNullOrEmpty();
        json.GetProperty("summary").GetProperty("en").GetString().ShouldNotBeNullOrEmpty();
        json.GetProperty("error")
            .ValueKind.ShouldBe(verdict is "unreadable" or "indeterminate" ? JsonValueKind.Object : JsonValueKind.Null);
        foreach (var signature in json.GetProperty("signatures").EnumerateArray())
        {
            signature
                .EnumerateObject()
                .Select(p => p.Name)
                .ShouldBe([
                    "indication",
                    "subIndication",
                    "reason",
                    "intact",
                    "trusted",
                    "coversWhole",
                    "signerIsSender",
                    "changesAfterSigning",
                    "signer",
                    "digestAlgorithm",
                    "claimedTime",
                    "provenTime",
                    "path",
                ]);
            signature
                .GetProperty("signer")
                .EnumerateObject()
                .Select(p => p.Name)
                .ShouldBe(["subject", "emails", "issuer", "serial"]);
            signature.GetProperty("provenTime").ValueKind.ShouldBe(JsonValueKind.Null);
        }
    }

    [Fact]
    public async Task Every_mail_that_openssl_made_gets_its_verdict_in_one_run_with_a_key_from_a_file()
    {
        string[][] expected =
        [
            .. (await System.IO.File.ReadAllLinesAsync(Smime("expect.txt"))).Select(l => l.Split(' ')),
        ];
        var answer = await Executable.RunAsync([
            "verify",
            "--json",
            .. SmimeTrust,
            .. P12(Smime("recipient.pem"), Smime("recipient-key.pem")),
            .. expected.Select(e => Smime(e[0] + ".eml")),
        ]);
        answer
            .Json.Select(j =>
                $"{Path.GetFileNameWithoutExtension(j.GetProperty("file").GetString())} "
                    + $"{j.GetProperty("verdict").GetString()} {j.GetProperty("encrypted").GetRawText()}"
            )
            .ShouldBe(expected.Select(e => string.Join(' ', e[..3])));
        answer.Exit.ShouldBe(1, "some are found wanting, and that comes first of what is there");
    }

    [Fact]
    public async Task Every_signature_in_cms_gets_its_verdict()
    {
        using var cases = JsonDocument.Parse(Vectors.Read("cms", "cases.json"));
        foreach (
            var group in cases
                .RootElement.GetProperty("signed")
                .EnumerateArray()
                .GroupBy(c => c.TryGetProperty("content", out var content) ? content.GetString() : null))
        {
            string[] content = group.Key is null ? [] : ["--content", Cms(group.Key)];
            var answer = await Executable.RunAsync([
                "verify",
                "--json",
                .. CmsTrust,
                .. content,
                .. group.Select(c => Cms(c.GetProperty("file").GetString()!)),
            ]);
            answer.Error.ShouldBeEmpty();
            foreach (var (json, wanted) in answer.Json.Zip(group, (j, c) => (j, c)))
            {
                var name = wanted.GetProperty("file").GetString();
                json.GetProperty("format").GetString().ShouldBe("cms", name);
                json.GetProperty("verdict").GetString().ShouldBe(wanted.GetProperty("verdict").GetString(), name);
                json.GetProperty("signatures")[0]
                    .GetProperty("reason")
                    .GetProperty("code")
                    .GetString()
                    .ShouldBe(wanted.GetProperty("reason").GetString(), name);
                json.GetProperty("signatures")[0]
                    .GetProperty("signerIsSender")
                    .ValueKind.ShouldBe(JsonValueKind.Null, name);
                if (wanted.TryGetProperty("digest", out var digest))
                {
                    json.GetProperty("signatures")[0]
                        .GetProperty("digestAlgorithm")
                        .GetString()
                        .ShouldBe(digest.GetString(), name);
                }
            }
        }
    }

    [Fact]
    public async Task Encrypted_cms_is_judged_by_what_is_inside()
    {
        using var cases = JsonDocument.Parse(Vectors.Read("cms", "cases.json"));
        var encrypted = cases.RootElement.GetProperty("encrypted").EnumerateArray().ToList();
        var answer = await Executable.RunAsync([
            "verify",
            "--json",
            .. CmsTrust,
            .. P12(Cms("recipient.pem"), Cms("recipient.key")),
            .. encrypted.Select(c => Cms(c.GetProperty("file").GetString()!)),
        ]);
        answer.Json.Count.ShouldBe(encrypted.Count);
        foreach (var (json, wanted) in answer.Json.Zip(encrypted))
        {
            json.GetProperty("encrypted").GetBoolean().ShouldBeTrue();
            json.GetProperty("verdict")
                .GetString()
                .ShouldBe(
                    wanted.GetProperty("error").GetString() switch
                    {
                        null => "unsigned",
                        "NotForUs" => "indeterminate",
                        _ => "unreadable",
                    },
                    wanted.GetRawText());
        }
    }

    [Theory]
    [InlineData(0, "signed.eml", "signed.eml")]
    [InlineData(2, "signed.eml", "not-for-us.eml")]
    [InlineData(1, "not-for-us.eml", "altered.eml", "signed.eml")]
    [InlineData(65, "altered.eml", "recipient.pem")]
    [InlineData(66, "recipient.pem", "is-not-there.eml", "signed.eml")]
    public async Task Several_files_answer_the_gravest_code(int exit, params string[] names)
    {
        var answer = await Executable.RunAsync(["verify", "--json", .. SmimeTrust, .. names.Select(Smime)]);
        answer.Exit.ShouldBe(exit);
        answer.Json.Count.ShouldBe(names.Length);
    }

    [Fact]
    public async Task A_person_reads_verdict_signer_path_and_time_in_vietnamese_first()
    {
        var answer = await Executable.RunAsync(["verify", .. SmimeTrust, Smime("signed.eml")]);
        answer.Exit.ShouldBe(0);
        var lines = answer.Output.Split('\n');
        lines[0].ShouldContain("HỢP LỆ / valid");
        lines[1].ShouldStartWith("  Chữ ký hợp lệ");
        answer.Output.ShouldContain("CN=sender");
        answer.Output.ShouldContain("CN=sender ← CN=Vector Root");
        answer.Output.ShouldContain("+07:00");
    }

    [Fact]
    public async Task Signatures_in_pdf_are_left_open_and_never_valid()
    {
        var signed = File(
            "signed.pdf",
            "%PDF-1.7\n1 0 obj\n<</Type/Sig/Filter/Adobe.PPKLite/ByteRange[0 10 20 30]/Contents<00>>>\nendobj\n");
        var plain = File("plain.pdf", "%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\n");
        var answer = await Executable.RunAsync(["verify", "--json", .. SmimeTrust, signed, plain]);
        answer.Exit.ShouldBe(1);
        answer
            .Json.Select(j => (j.GetProperty("format").GetString(), j.GetProperty("verdict").GetString()))
            .ShouldBe([("pdf", "indeterminate"), ("pdf", "unsigned")]);
        answer.Json[0].GetProperty("error").GetProperty("code").GetString().ShouldBe("pdf-not-judged");
    }

    [Fact]
    public async Task Ocsp_is_said_not_to_be_read_and_json_stays_json()
    {
        var answer = await Executable.RunAsync([
            "verify",
            "--json",
            .. SmimeTrust,
            "--ocsp",
            Smime("root.pem"),
            Smime("signed.eml"),
        ]);
        answer.Exit.ShouldBe(0);
        answer.ErrorLine.ShouldContain("OCSP");
        answer.Json.ShouldHaveSingleItem();
    }

    public static TheoryData<string[], int> Misuses =>
        new()
        {
            { ["verify"], 64 },
            { ["verify", "--nonsense", "x"], 64 },
            { ["verify", .. SmimeTrust[..3], "--at", "2030-01-01T00:00:00", Smime("signed.eml")], 64 },
            { ["verify", .. SmimeTrust[..3], "--at", "hôm qua", Smime("signed.eml")], 64 },
            { ["verify", .. SmimeTrust, "--key", "pkcs11:token=x", "--p12", "y", Smime("signed.eml")], 64 },
            { ["verify", .. SmimeTrust, "--key", "no URI", Smime("signed.eml")], 64 },
            { ["verify", "--trust", Smime("is-not-there.pem"), Smime("signed.eml")], 66 },
            { ["verify", .. SmimeTrust, "--crl", Smime("is-not-there.crl"), Smime("signed.eml")], 66 },
            { ["verify", .. SmimeTrust, "--content", Smime("is-not-there"), Smime("signed.eml")], 66 },
            { ["verify", .. SmimeTrust, "--p12", Smime("is-not-there"), Smime("signed.eml")], 66 },
            { ["verify", "--trust", Smime("signed.eml"), Smime("signed.eml")], 65 },
            { ["verify", .. SmimeTrust, "--crl", Smime("root.pem"), Smime("signed.eml")], 65 },
            {
                [
                    "verify",
                    .. SmimeTrust,
                    "--p12",
                    Smime("root.pem"),
                    "--p12-password-file",
                    Smime("expect.txt"),
                    Smime("signed.eml"),
                ],
                65
            },
            {
                ["verify", .. SmimeTrust, "--key", "pkcs11:token=x?module-path=/is/not/there.so", Smime("signed.eml")],
                69
            },
        };

    [Theory]
    [MemberData(nameof(Misuses))]
    public async Task What_is_wrong_is_said_in_one_line(string[] arguments, int exit)
    {
        var answer = await Executable.RunAsync(arguments);
        answer.Exit.ShouldBe(exit, answer.Error);
        answer.Output.ShouldBeEmpty();
        answer.ErrorLine.ShouldNotContain("   at ");
    }

    [Fact]
    public async Task Verbose_shows_the_trace()
    {
        var answer = await Executable.RunAsync([
            "verify",
            "--verbose",
            "--trust",
            Smime("signed.eml"),
            Smime("signed.eml"),
        ]);
        answer.Exit.ShouldBe(65);
        answer.Error.ShouldContain("   at ");
    }

    [Theory]
    [InlineData("{ \"Trust\": ", 65, "hỏng")]
    [InlineData("{ \"Nonsense\": 1 }", 65, "Nonsense")]
    [InlineData("{ \"Http\": \"0.0.0.0:8080\" }", 65, "loopback")]
    [InlineData("{ \"Smtp\": \"25\" }", 65, "Smtp")]
    [InlineData("{ \"Trust\": { \"Anchors\": [ \"is-not-there.pem\" ] } }", 65, "is-not-there.pem")]
    [InlineData("{ \"Tokens\": [ { \"Uri\": \"pkcs11:token=a\", \"Pin\": \"1234\" } ] }", 65, "PIN")]
    [InlineData("{ \"Delivery\": { \"ReceiptDue\": \"soon\" } }", 65, "ReceiptDue")]
    public async Task A_faulty_configuration_is_named_before_anything_is_done(string json, int exit, string named)
    {
        var answer = await Executable.RunAsync("verify", "--config", File("faulty.json", json), Smime("signed.eml"));
        answer.Exit.ShouldBe(exit, answer.Error);
        answer.ErrorLine.ShouldContain(named);
        answer.ErrorLine.ShouldNotContain("1234");
        answer.Output.ShouldBeEmpty();
    }

    [Fact]
    public async Task A_configuration_that_is_not_there_cannot_be_opened() =>
        (
            await Executable.RunAsync("verify", "--config", Path.Combine(_folder, "none.json"), Smime("signed.eml"))
        ).Exit.ShouldBe(66);

    [Fact]
    public async Task The_configured_anchors_are_used_and_given_ones_take_their_place()
    {
        System.IO.File.Copy(Smime("root.pem"), Path.Combine(_folder, "root.pem"));
        var config = File("good.json", "{ \"Trust\": { \"Anchors\": [ \"root.pem\" ] } }");
        string[] rest = ["--no-revocation", "--at", "2030-01-01T00:00:00Z", "--json", Smime("signed.eml")];
        (await Executable.RunAsync(["verify", "--config", config, .. rest])).Exit.ShouldBe(0);
        (
            await Executable.RunAsync(
                new Dictionary<string, string> { ["SECUREMAIL_CONFIG"] = config }, ["verify", .. rest])
        ).Exit.ShouldBe(0);
        var replaced = await Executable.RunAsync(["verify", "--config", config, "--trust", Cms("root.pem"), .. rest]);
        replaced.Exit.ShouldBe(1);
        replaced.Json[0].GetProperty("verdict").GetString().ShouldBe("untrusted");
    }

    private string[] P12(string certificate, string key) => P12File.Make(_folder, certificate, key);
}

/// <summary>A key of the vectors as a PKCS#12 file.</summary>
internal static class P12File
{
    public const string Password = "mật khẩu";

    /// <summary>The arguments that name it.</summary>
    public static string[] Make(string folder, string certificate, string key)
    {
        using var made = X509Certificate2.CreateFromPemFile(certificate, key);
        File.WriteAllBytes(Path.Combine(folder, "key.p12"), made.Export(X509ContentType.Pkcs12, Password));
        File.WriteAllText(Path.Combine(folder, "password"), Password + "\n", new UTF8Encoding(false));
        return ["--p12", Path.Combine(folder, "key.p12"), "--p12-password-file", Path.Combine(folder, "password")];
    }
}
