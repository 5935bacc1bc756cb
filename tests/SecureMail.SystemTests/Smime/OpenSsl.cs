using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.SystemTests.Smime;

/// <summary>The openssl command in a folder of its own, with a root and two people made for the test.</summary>
public sealed class OpenSsl : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("securemail-smime-");

    public OpenSsl()
    {
        using var rootKey = RSA.Create(2048);
        var root = new CertificateRequest(
            "CN=System Test Root", rootKey, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        root.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        root.CertificateExtensions.Add(
            new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        root.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(root.PublicKey, false));
        Now = TimeProvider.System.GetUtcNow();
        Root = root.CreateSelfSigned(Now.AddDays(-2), Now.AddDays(30));
        Crl = new CertificateRevocationListBuilder().Build(
            Root, 1, Now.AddDays(7), HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1, Now.AddDays(-1));
        (Sender, SenderKey) = Issue("sender", "vanthu@tinhuy.vn", 1);
        (Recipient, RecipientKey) = Issue("recipient", "xa@huyen.vn", 2);
        File.WriteAllText(PathOf("root.pem"), Root.ExportCertificatePem());
    }

    public DateTimeOffset Now { get; }

    public X509Certificate2 Root { get; }

    public byte[] Crl { get; }

    public X509Certificate2 Sender { get; }

    public RSA SenderKey { get; }

    public X509Certificate2 Recipient { get; }

    public RSA RecipientKey { get; }

    public string PathOf(string name) => Path.Combine(_folder.FullName, name);

    /// <summary>Runs openssl in the folder; arguments are split at spaces. Fails the test when it fails.</summary>
    public async Task RunAsync(string arguments)
    {
        var start = new ProcessStartInfo("openssl", arguments)
        {
            WorkingDirectory = _folder.FullName,
            RedirectStandardError = true,
            RedirectStandardOutput = true,
            UseShellExecute = false,
        };
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = await process.StandardError.ReadToEndAsync();
        await output;
        await process.WaitForExitAsync();
        process.ExitCode.ShouldBe(0, $"openssl {arguments}: {error}");
    }

    public void Dispose()
    {
        SenderKey.Dispose();
        RecipientKey.Dispose();
        _folder.Delete(recursive: true);
    }

    private (X509Certificate2 Certificate, RSA Key) Issue(string name, string email, byte serial)
    {
        var key = RSA.Create(2048);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(
            new X509KeyUsageExtension(
                X509KeyUsageFlags.DigitalSignature
                    | X509KeyUsageFlags.NonRepudiation
                    | X509KeyUsageFlags.KeyEncipherment,
                true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.4")], false));
        request.CertificateExtensions.Add(
            X509AuthorityKeyIdentifierExtension.CreateFromSubjectKeyIdentifier(
                Root.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Single()));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        var names = new SubjectAlternativeNameBuilder();
        names.AddEmailAddress(email);
        request.CertificateExtensions.Add(names.Build());
        var certificate = request.Create(Root, Now.AddDays(-1), Now.AddDays(20), [serial]);
        File.WriteAllText(PathOf($"{name}.pem"), certificate.ExportCertificatePem());
        File.WriteAllText(PathOf($"{name}.key"), key.ExportPkcs8PrivateKeyPem());
        return (certificate, key);
    }
}
