using System.CommandLine;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SecureMail.Host;

namespace SecureMail.Tests.Host;

/// <summary>Which key the options of a file command name, and how it is said when they name none. Keys on tokens are a
/// matter of the system tests.</summary>
public sealed class KeySourceTests : IDisposable
{
    private const string Password = "mật khẩu";

    private readonly string _folder = Directory.CreateTempSubdirectory().FullName;
    private readonly KeySource _source = new();
    private readonly RSA _rsa = RSA.Create(2048);
    private readonly X509Certificate2 _certificate;

    public KeySourceTests() => _certificate = Certificate("CN=Văn thư", _rsa);

    public void Dispose()
    {
        _rsa.Dispose();
        _certificate.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Without_a_source_nothing_is_opened_and_nobody_signs()
    {
        using var none = _source.OpenRecipients(Parse());
        none.Recipients.ShouldBeEmpty();
        Should.Throw<UsageException>(() => _source.OpenSigner(Parse())).Message.ShouldContain("--key");
    }

    [Fact]
    public void Two_sources_are_one_too_many()
    {
        var p12 = P12("signer.p12", _certificate.CopyWithPrivateKey(_rsa));
        string[] both = ["--key", "pkcs11:token=a", .. p12];
        Should.Throw<UsageException>(() => _source.OpenSigner(Parse(both))).Message.ShouldContain("--p12");
        Should.Throw<UsageException>(() => _source.OpenRecipients(Parse(both)));
    }

    [Fact]
    public void A_key_in_PEM_is_found_among_text_and_other_certificates()
    {
        using var other = RSA.Create(2048);
        using var ca = Certificate("CN=Khác", other);
        var file = Write(
            "key.pem",
            $"Ghi chú\n{ca.ExportCertificatePem()}\n{_rsa.ExportPkcs8PrivateKeyPem()}\n"
                + _certificate.ExportCertificatePem());
        using var opened = _source.OpenRecipients(Parse("--key", file));
        opened.Certificate.RawData.ShouldBe(_certificate.RawData);
        opened.Recipients.Count.ShouldBe(1);
    }

    [Fact]
    public void The_certificate_of_a_key_in_PEM_may_lie_in_another_file()
    {
        var key = Write("key.pem", _rsa.ExportRSAPrivateKeyPem());
        var certificate = Write("cert.pem", _certificate.ExportCertificatePem());
        using var opened = _source.OpenRecipients(Parse("--key", key, "--cert", certificate));
        opened.Certificate.RawData.ShouldBe(_certificate.RawData);
    }

    [Fact]
    public void An_encrypted_key_in_PEM_asks_for_its_password()
    {
        var file = Write(
            "key.pem",
            _rsa.ExportEncryptedPkcs8PrivateKeyPem(
                Encoding.UTF8.GetBytes(Password),
                new PbeParameters(PbeEncryptionAlgorithm.Aes256Cbc, HashAlgorithmName.SHA256, 1000))
                + "\n" + _certificate.ExportCertificatePem());
        using (var opened = _source.OpenRecipients(Parse("--key", file, "--pin-file", Secret("pin", Password))))
        {
            ((RSA)opened.Key).ExportRSAPublicKey().ShouldBe(_rsa.ExportRSAPublicKey());
        }

        Should
            .Throw<InvalidDataException>(() =>
                _source.OpenRecipients(Parse("--key", file, "--pin-file", Secret("wrong", "sai"))))
            .Message.ShouldContain(file);
    }

    [Fact]
    public void A_key_in_PEM_without_its_own_certificate_is_no_key()
    {
        using var other = RSA.Create(2048);
        using var stranger = Certificate("CN=Khác", other);
        var file = Write("key.pem", _rsa.ExportPkcs8PrivateKeyPem() + "\n" + stranger.ExportCertificatePem());
        Should
            .Throw<InvalidDataException>(() => _source.OpenRecipients(Parse("--key", file)))
            .Message.ShouldContain(file);
        Should.Throw<InvalidDataException>(() =>
            _source.OpenRecipients(Parse("--key", Write("none.pem", stranger.ExportCertificatePem()))));
    }

    [Fact]
    public void A_PKCS12_file_signs_and_opens_with_its_password_alone()
    {
        var p12 = P12("signer.p12", _certificate.CopyWithPrivateKey(_rsa));
        using (var signer = _source.OpenSigner(Parse(p12)))
        {
            signer.Certificate.RawData.ShouldBe(_certificate.RawData);
        }

        using (var opened = _source.OpenRecipients(Parse(p12)))
        {
            opened.Recipients.Count.ShouldBe(1);
        }

        Should.Throw<InvalidDataException>(() =>
            _source.OpenSigner(Parse("--p12", p12[1], "--p12-password-file", Secret("wrong", "sai"))));
        Should.Throw<FileNotFoundException>(() =>
            _source.OpenSigner(Parse("--p12", Path.Combine(_folder, "none.p12"), p12[2], p12[3])));
    }

    [Fact]
    public void A_PKCS12_file_with_certificates_alone_holds_no_key()
    {
        using var bare = X509CertificateLoader.LoadCertificate(_certificate.RawData);
        var p12 = P12("bare.p12", bare);
        Should.Throw<InvalidDataException>(() => _source.OpenSigner(Parse(p12)));
        Should.Throw<InvalidDataException>(() => _source.OpenRecipients(Parse(p12)));
    }

    [Fact]
    public void Of_several_keys_the_named_certificate_chooses()
    {
        using var other = RSA.Create(2048);
        using var second = Certificate("CN=Thứ hai", other);
        var p12 = P12("two.p12", _certificate.CopyWithPrivateKey(_rsa), second.CopyWithPrivateKey(other));
        var wanted = Write("second.pem", second.ExportCertificatePem());
        using var signer = _source.OpenSigner(Parse([.. p12, "--cert", wanted]));
        signer.Certificate.RawData.ShouldBe(second.RawData);
        using var opened = _source.OpenRecipients(Parse(p12));
        opened.Recipients.Count.ShouldBe(2);
    }

    private static X509Certificate2 Certificate(string subject, RSA key) =>
        X509CertificateLoader.LoadCertificate(
            TestPki.Request(subject, key).CreateSelfSigned(TestPki.Now.AddYears(-1), TestPki.Now.AddYears(1)).RawData);

    private ParseResult Parse(params string[] arguments)
    {
        var command = new RootCommand();
        foreach (var option in _source.Options)
        {
            command.Options.Add(option);
        }

        var parsed = command.Parse(arguments);
        parsed.Errors.ShouldBeEmpty();
        return parsed;
    }

    /// <summary>The arguments that name a PKCS#12 file with these certificates.</summary>
    private string[] P12(string name, params X509Certificate2[] certificates)
    {
        var file = Path.Combine(_folder, name);
        File.WriteAllBytes(
            file, new X509Certificate2Collection(certificates).Export(X509ContentType.Pkcs12, Password)!);
        return ["--p12", file, "--p12-password-file", Secret(name + ".password", Password)];
    }

    private string Write(string name, string text)
    {
        var file = Path.Combine(_folder, name);
        File.WriteAllText(file, text);
        return file;
    }

    private string Secret(string name, string text)
    {
        var file = Write(name, text + "\n");
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return file;
    }
}
