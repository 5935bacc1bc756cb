using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Exchange;
using SecureMail.Ledger;
using SecureMail.Mail.Smtp;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Storage;

namespace SecureMail.Gateway.Keys;

/// <summary>
/// The gateway's own keys, each for one purpose and in a file of its own: the TLS key that its peers pin, the ledger's
/// key, the key it cosigns with, the keys that encrypt what is stored. None of them signs documents, because documents
/// are signed with the agencies' keys on tokens.
/// </summary>
public sealed class GatewayIdentity : IDisposable
{
    private GatewayIdentity(X509Certificate2 tls, LedgerKey ledger, LedgerKey cosigner, StorageKeys storage)
    {
        Tls = tls;
        Ledger = ledger;
        Cosigner = cosigner;
        Storage = storage;
    }

    /// <summary>With its private key.</summary>
    public X509Certificate2 Tls { get; }

    public LedgerKey Ledger { get; }

    public LedgerKey Cosigner { get; }

    public StorageKeys Storage { get; }

    /// <summary>SHA-256 of the SubjectPublicKeyInfo: what a directory pins.</summary>
    public static byte[] Pin(X509Certificate2 certificate) =>
        SHA256.HashData(certificate.PublicKey.ExportSubjectPublicKeyInfo());

    /// <summary>How this gateway calls another: mutual TLS with its own key, and with the other's key pinned by the
    /// directory. There is no fallback.</summary>
    /// <param name="ehloName">Our own name.</param>
    public SmtpClientOptions CallTo(
        GatewayRecord gateway, string ehloName, SmtpClientTimeouts timeouts, TimeProvider time) =>
        new()
        {
            Host = gateway.Host,
            Port = gateway.Port,
            EhloName = ehloName,
            RequireTls = true,
            Timeouts = timeouts,
            ClientCertificate = Tls,
            PinServer = certificate => gateway.HasTlsKey(Pin(certificate), time.GetUtcNow()),
        };

    /// <summary>Makes the keys that are missing and keeps the others. Answers the record that the directory's publisher
    /// needs.</summary>
    /// <param name="host">The name or address at which peers reach the gateway's SMTP listener.</param>
    public static GatewayRecord Create(KeyOptions options, string name, string host, int port, TimeProvider time)
    {
        Directory.CreateDirectory(options.Folder);
        StorageKeys.Open(Path.Combine(options.Folder, "storage"));
        foreach (var (file, keyName, kind) in LedgerKeys(options, name))
        {
            if (!File.Exists(file))
            {
                LedgerKey.Create(file, keyName, kind).Dispose();
            }
        }

        var (certificatePath, keyPath) = TlsFiles(options);
        if (!File.Exists(certificatePath) && options.TlsCertificate is null)
        {
            CreateTls(name, certificatePath, keyPath, time);
        }

        using var identity = Load(options, name);
        return new GatewayRecord(
            name, host, port, [new TlsKey(Pin(identity.Tls), First, null)],
            [new LedgerRecord(1, identity.Ledger.Verifier.ToString(), First, null, null)],
            [new CosignerRecord(identity.Cosigner.Verifier.ToString(), First, null)]);
    }

    /// <exception cref="SecretFileException">A key file is absent, damaged, or open to others; the message says which
    /// and what to do.</exception>
    public static GatewayIdentity Load(KeyOptions options, string name)
    {
        var (certificatePath, keyPath) = TlsFiles(options);
        if (!File.Exists(certificatePath) || !File.Exists(keyPath))
        {
            throw new SecretFileException(
                SecretFileFault.KeysMissing, certificatePath,
                $"The gateway has no keys yet ({certificatePath}): run \"securemail init\".");
        }

        SecretFile.RequirePrivate(keyPath);
        try
        {
            var ledger = LedgerKeys(options, name).Select(k => LedgerKey.Load(k.File, k.Name, k.Kind)).ToArray();
            return new GatewayIdentity(
                X509Certificate2.CreateFromPemFile(certificatePath, keyPath), ledger[0], ledger[1],
                StorageKeys.Open(Path.Combine(options.Folder, "storage")));
        }
        catch (Exception e) when (e is CryptographicException or LedgerException)
        {
            throw new SecretFileException(
                SecretFileFault.Unreadable, options.Folder, $"A key file in {options.Folder} cannot be read.", e);
        }
    }

    public void Dispose()
    {
        Tls.Dispose();
        Ledger.Dispose();
        Cosigner.Dispose();
    }

    /// <summary>The day of a key that none preceded. It is early, so that a peer whose clock is wrong is still
    /// heard.</summary>
    private static DateTimeOffset First => DateTimeOffset.UnixEpoch;

    private static (string Certificate, string Key) TlsFiles(KeyOptions options) =>
        (
            options.TlsCertificate ?? Path.Combine(options.Folder, "tls.pem"),
            options.TlsKey ?? Path.Combine(options.Folder, "tls.key"));

    private static (string File, string Name, NoteKeyKind Kind)[] LedgerKeys(KeyOptions options, string name) =>
        [
            (Path.Combine(options.Folder, "ledger.key"), name, NoteKeyKind.Log),
            (Path.Combine(options.Folder, "cosigner.key"), name, NoteKeyKind.Cosigner),
        ];

    private static void CreateTls(string name, string certificatePath, string keyPath, TimeProvider time)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(
            new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1"), new Oid("1.3.6.1.5.5.7.3.2")], false));
        var now = time.GetUtcNow();
        // Peers pin the key, so the certificate's dates decide nothing. The dates are wide, so that no library refuses
        // the certificate for them.
        using var certificate = request.CreateSelfSigned(now.AddDays(-1), now.AddYears(10));
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        using (var file = new StreamWriter(keyPath, options))
        {
            file.WriteLine(key.ExportPkcs8PrivateKeyPem());
        }

        File.WriteAllText(certificatePath, certificate.ExportCertificatePem() + "\n");
    }
}
