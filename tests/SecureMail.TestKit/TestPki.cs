using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.TestKit;

/// <summary>A key and its certificate. The certificate carries no private key: what is under test gets the key by
/// itself.</summary>
public sealed record TestIdentity(X509Certificate2 Certificate, AsymmetricAlgorithm Key)
{
    public RSA Rsa => (RSA)Key;

    public string Subject => Certificate.Subject;
}

public enum TestKey
{
    Rsa2048,
    Rsa1024,
    Rsa3072,
    P256,
    P384,
}

/// <summary>
/// A public key infrastructure in memory: a root, an issuing CA under it, and whatever leaves a test asks for, good or
/// broken in one chosen way. Everything is valid around <see cref="Now"/>, the time that tests judge at.
/// <see cref="Shared"/> serves tests that change nothing; keys are drawn from a small pool because making RSA keys is
/// slow.
/// </summary>
public sealed class TestPki
{
    public static readonly DateTimeOffset Now = new(2026, 6, 1, 0, 0, 0, TimeSpan.Zero);
    public static readonly TestPki Shared = new();

    private static readonly Dictionary<(TestKey, int), AsymmetricAlgorithm> Pool = [];
    private int _serial = 100;

    public TestPki(string name = "SecureMail Test", TestKey caKey = TestKey.P256)
    {
        Root = SelfSigned($"CN={name} Root,O=Test,C=VN", caKey);
        Ca = IssueCa($"CN={name} Issuing CA,O=Test,C=VN", Root, caKey);
    }

    public TestIdentity Root { get; }

    public TestIdentity Ca { get; }

    /// <summary>A leaf for S/MIME.</summary>
    /// <param name="slot">Two identities with the same slot may share a key; give another for another key.</param>
    /// <param name="edit">Changes the request before it is signed.</param>
    /// <param name="publicKey">Stands in the certificate in place of the key's own, for kinds that .NET has no type
    /// for.</param>
    public TestIdentity Issue(
        string subject,
        string[]? emails = null,
        TestKey key = TestKey.Rsa2048,
        int slot = 0,
        TestIdentity? issuer = null,
        X509KeyUsageFlags usage =
            X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.NonRepudiation | X509KeyUsageFlags.KeyEncipherment,
        DateTimeOffset? notBefore = null,
        DateTimeOffset? notAfter = null,
        string[]? extendedUsages = null,
        Action<CertificateRequest>? edit = null,
        PublicKey? publicKey = null)
    {
        AsymmetricAlgorithm leafKey = Key(key, slot);
        CertificateRequest request = Request(subject, leafKey, publicKey);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        if (usage != X509KeyUsageFlags.None)
        {
            request.CertificateExtensions.Add(new X509KeyUsageExtension(usage, critical: true));
        }

        var purposes = new OidCollection();
        foreach (var purpose in extendedUsages ?? ["1.3.6.1.5.5.7.3.4"])
        {
            purposes.Add(new Oid(purpose));
        }

        if (purposes.Count > 0)
        {
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension(purposes, critical: false));
        }

        if (emails is { Length: > 0 })
        {
            var names = new SubjectAlternativeNameBuilder();
            foreach (var email in emails)
            {
                names.AddEmailAddress(email);
            }

            request.CertificateExtensions.Add(names.Build());
        }
        edit?.Invoke(request);
        return new TestIdentity(Sign(request, issuer ?? Ca, notBefore, notAfter), leafKey);
    }

    public TestIdentity IssueCa(
        string subject, TestIdentity issuer, TestKey key = TestKey.P256, int? pathLength = null,
        X509KeyUsageFlags usage = X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, bool isCa = true,
        DateTimeOffset? notBefore = null, DateTimeOffset? notAfter = null, Action<CertificateRequest>? edit = null)
    {
        AsymmetricAlgorithm caKey = NewKey(key);
        CertificateRequest request = Request(subject, caKey);
        request.CertificateExtensions.Add(
            new X509BasicConstraintsExtension(isCa, pathLength is not null, pathLength ?? 0, critical: true));
        if (usage != X509KeyUsageFlags.None)
        {
            request.CertificateExtensions.Add(new X509KeyUsageExtension(usage, critical: true));
        }

        edit?.Invoke(request);
        return new TestIdentity(Sign(request, issuer, notBefore, notAfter), caKey);
    }

    public static TestIdentity SelfSigned(string subject, TestKey key = TestKey.P256, DateTimeOffset? notAfter = null)
    {
        AsymmetricAlgorithm rootKey = NewKey(key);
        CertificateRequest request = Request(subject, rootKey);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, critical: true));
        request.CertificateExtensions.Add(
            new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        X509SignatureGenerator generator = Generator(rootKey);
        return new TestIdentity(
            request.Create(request.SubjectName, generator, Now.AddYears(-5), notAfter ?? Now.AddYears(20), [1]),
            rootKey);
    }

    /// <summary>A CRL of an issuer, DER; without an issuer, of <see cref="Ca"/>.</summary>
    public byte[] Crl(
        TestIdentity? issuer = null, IEnumerable<X509Certificate2>? revoked = null, DateTimeOffset? thisUpdate = null,
        DateTimeOffset? nextUpdate = null, DateTimeOffset? revokedAt = null, X509RevocationReason? reason = null,
        AsymmetricAlgorithm? signWith = null)
    {
        issuer ??= Ca;
        var builder = new CertificateRevocationListBuilder();
        foreach (X509Certificate2 certificate in revoked ?? [])
        {
            builder.AddEntry(certificate.SerialNumberBytes.Span, revokedAt ?? Now.AddDays(-10), reason);
        }

        return builder.Build(
            issuer.Certificate.SubjectName, Generator(signWith ?? issuer.Key), 1, nextUpdate ?? Now.AddDays(7),
            HashAlgorithmName.SHA256, AuthorityKey(issuer.Certificate), thisUpdate ?? Now.AddDays(-1));
    }

    /// <summary>CRLs of the root and the issuing CA, revoking nothing.</summary>
    public byte[][] Crls() => [Crl(Root), Crl(Ca)];

    public static AsymmetricAlgorithm NewKey(TestKey key) =>
        key switch
        {
            TestKey.Rsa1024 => RSA.Create(1024),
            TestKey.Rsa2048 => RSA.Create(2048),
            TestKey.Rsa3072 => RSA.Create(3072),
            TestKey.P256 => ECDsa.Create(ECCurve.NamedCurves.nistP256),
            _ => ECDsa.Create(ECCurve.NamedCurves.nistP384),
        };

    public static AsymmetricAlgorithm Key(TestKey key, int slot = 0)
    {
        lock (Pool)
        {
            if (!Pool.TryGetValue((key, slot), out AsymmetricAlgorithm? found))
            {
                Pool[(key, slot)] = found = NewKey(key);
            }

            return found;
        }
    }

    public static X509SignatureGenerator Generator(AsymmetricAlgorithm key) =>
        key is RSA rsa
            ? X509SignatureGenerator.CreateForRSA(rsa, RSASignaturePadding.Pkcs1)
            : X509SignatureGenerator.CreateForECDsa((ECDsa)key);

    public static CertificateRequest Request(string subject, AsymmetricAlgorithm key, PublicKey? publicKey = null)
    {
        var name = new X500DistinguishedName(subject);
        CertificateRequest request =
            publicKey is not null ? new CertificateRequest(name, publicKey, HashAlgorithmName.SHA256)
            : key is RSA rsa ? new CertificateRequest(name, rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
            : new CertificateRequest(name, (ECDsa)key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        return request;
    }

    private X509Certificate2 Sign(
        CertificateRequest request, TestIdentity issuer, DateTimeOffset? notBefore, DateTimeOffset? notAfter)
    {
        if (!request.CertificateExtensions.Any(e => e.Oid?.Value == "2.5.29.35"))
        {
            request.CertificateExtensions.Add(AuthorityKey(issuer.Certificate));
        }

        var serial = Interlocked.Increment(ref _serial);
        return request.Create(
            issuer.Certificate.SubjectName, Generator(issuer.Key), notBefore ?? Now.AddYears(-1),
            notAfter ?? Now.AddYears(2), [0x10, (byte)(serial >> 8), (byte)serial]);
    }

    private static X509AuthorityKeyIdentifierExtension AuthorityKey(X509Certificate2 issuer) =>
        X509AuthorityKeyIdentifierExtension.CreateFromSubjectKeyIdentifier(
            issuer.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Single());
}
