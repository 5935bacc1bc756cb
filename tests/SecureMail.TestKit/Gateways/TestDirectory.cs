using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Exchange;

namespace SecureMail.TestKit;

/// <summary>Directories that differ from the development one: taken apart, changed, and signed again by whoever the
/// test says.</summary>
internal static class TestDirectory
{
    public static async Task<DirectoryDocument> ReadAsync(byte[] signed)
    {
        using var data = await CmsSignedData.ReadAsync(new MemoryStream(signed));
        await using var inside = data.OpenContent();
        using var octets = new MemoryStream();
        await inside.CopyToAsync(octets);
        return DirectoryDocument.Parse(octets.ToArray());
    }

    public static Task<byte[]> SignAsync(DirectoryDocument document) => SignAsync(document.ToBytes());

    /// <summary>CMS SignedData with these octets inside, by the publisher, or by another key of the development
    /// PKI.</summary>
    public static async Task<byte[]> SignAsync(
        byte[] octets, string certificate = "publisher.pem", string key = "publisher.key")
    {
        using var by = X509CertificateLoader.LoadCertificateFromFile(Path.Combine(TwoGateways.Pki, certificate));
        using var rsa = RSA.Create();
        rsa.ImportFromPem(await File.ReadAllTextAsync(Path.Combine(TwoGateways.Pki, key)));
        using var output = new MemoryStream();
        await CmsSigner.SignAttachedAsync(
            new MemoryStream(octets),
            output,
            new SigningRequest(
                by, [], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1, DateTimeOffset.UnixEpoch.AddYears(50)),
            rsa);
        return output.ToArray();
    }

    /// <summary>The document with one agency changed.</summary>
    public static DirectoryDocument With(
        this DirectoryDocument document,
        string code,
        Func<AgencyRecord, AgencyRecord> change
    ) => document with { Agencies = [.. document.Agencies.Select(a => a.Names[0].Code == code ? change(a) : a)] };

    /// <summary>The agency, served by one gateway at all times.</summary>
    public static AgencyRecord ServedBy(this AgencyRecord agency, string gateway) =>
        agency with { Gateways = [new AgencyGateway(gateway, DateTimeOffset.UnixEpoch, null)] };

    /// <summary>A certificate as the directory lists it at all times.</summary>
    /// <param name="use">One of <see cref="CertificateUse"/>.</param>
    public static AgencyCertificate Listed(string use, byte[] der) => new(use, der, DateTimeOffset.UnixEpoch, null);

    /// <summary>A certificate for encryption of the development CA over these dates, with a key of its own.</summary>
    public static (X509Certificate2 Certificate, RSA Key) EncryptionCertificate(
        DateTimeOffset from, DateTimeOffset to) => Certificate(X509KeyUsageFlags.KeyEncipherment, from, to);

    public static (X509Certificate2 Certificate, RSA Key) Certificate(
        X509KeyUsageFlags usage, DateTimeOffset from, DateTimeOffset to)
    {
        using var ca = X509CertificateLoader.LoadCertificateFromFile(Path.Combine(TwoGateways.Pki, "issuing.pem"));
        using var caKey = RSA.Create();
        caKey.ImportFromPem(File.ReadAllText(Path.Combine(TwoGateways.Pki, "ca", "issuing.key")));
        var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=Thử nghiệm", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(usage, true));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(ca, true, false));
        return (
            request.Create(
                ca.SubjectName, X509SignatureGenerator.CreateForRSA(caKey, RSASignaturePadding.Pkcs1), from, to,
                RandomNumberGenerator.GetBytes(8)),
            key);
    }
}

/// <summary>A clock that is wrong by a span, which may change at any time: it steps. What is measured with it is not
/// wrong.</summary>
internal sealed class ShiftedTime(TimeSpan by) : TimeProvider
{
    private long _ticks = by.Ticks;

    public TimeSpan By
    {
        get => TimeSpan.FromTicks(Interlocked.Read(ref _ticks));
        set => Interlocked.Exchange(ref _ticks, value.Ticks);
    }

    public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + By;
}
