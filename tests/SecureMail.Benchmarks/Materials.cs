using System.Numerics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Trust;

namespace SecureMail.Benchmarks;

/// <summary>Whose key it is, with a certificate that carries none.</summary>
internal sealed record Identity(X509Certificate2 Certificate, RSA Key);

/// <summary>A PKI made for one run: root and CA on P-256, a signer and a recipient with RSA-2048, and many others with
/// keys all of their own.</summary>
internal sealed class Materials : IDisposable
{
    private const int Primes = 48;
    private readonly ECDsa _caKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly List<RSA> _keys = [];
    private readonly Lazy<IReadOnlyList<X509Certificate2>> _many;
    private int _serial = 1000;

    /// <param name="many">So many other recipients, at most 1000.</param>
    public Materials(int many = 0)
    {
        Now = TimeProvider.System.GetUtcNow();
        using var rootKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        Root = Authority("CN=Bench Root", rootKey, "CN=Bench Root", rootKey, null);
        Ca = Authority("CN=Bench CA", _caKey, "CN=Bench Root", rootKey, Root);
        Signer = Issue("Văn thư", RSA.Create(2048), X509KeyUsageFlags.DigitalSignature);
        Recipient = Issue("Xã", RSA.Create(2048), X509KeyUsageFlags.KeyEncipherment);
        Crls = [Crl(Root, rootKey), Crl(Ca, _caKey)];
        Options = OptionsOf(Root, Ca, Crls, Now);
        _many = new(() =>
            [
                .. DistinctKeys()
                    .Take(many)
                    .Select((key, i) => Issue($"Xã {i}", key, X509KeyUsageFlags.KeyEncipherment).Certificate),
            ]);
    }

    private Materials(string folder)
    {
        Now = TimeProvider.System.GetUtcNow();
        Root = Certificate("root");
        Ca = Certificate("ca");
        Signer = new Identity(Certificate("signer"), Key("signer"));
        Recipient = new Identity(Certificate("recipient"), Key("recipient"));
        Crls = [Octets("root.crl"), Octets("ca.crl")];
        Options = OptionsOf(Root, Ca, Crls, Now);
        _many = new(() => []);

        byte[] Octets(string name) => File.ReadAllBytes(Path.Combine(folder, name));

        X509Certificate2 Certificate(string name) => X509CertificateLoader.LoadCertificate(Octets(name + ".cer"));

        RSA Key(string name)
        {
            var key = RSA.Create();
            key.ImportPkcs8PrivateKey(Octets(name + ".key"), out _);
            return key;
        }
    }

    public DateTimeOffset Now { get; }

    public X509Certificate2 Root { get; }

    public X509Certificate2 Ca { get; }

    public Identity Signer { get; }

    public Identity Recipient { get; }

    public IReadOnlyList<X509Certificate2> Many => _many.Value;

    public byte[][] Crls { get; }

    public ValidationOptions Options { get; }

    /// <summary>Signers that nobody has seen before, each with another key.</summary>
    public IEnumerable<Identity> Strangers() =>
        DistinctKeys().Select((key, i) => Issue($"Người lạ {i}", key, X509KeyUsageFlags.DigitalSignature));

    /// <summary>What another process of the same run needs, by file name: certificates, lists, and keys that open
    /// nothing but what is measured.</summary>
    public IEnumerable<(string Name, byte[] Octets)> Save() =>
        [
            ("root.cer", Root.RawData),
            ("ca.cer", Ca.RawData),
            ("root.crl", Crls[0]),
            ("ca.crl", Crls[1]),
            ("signer.cer", Signer.Certificate.RawData),
            ("signer.key", Signer.Key.ExportPkcs8PrivateKey()),
            ("recipient.cer", Recipient.Certificate.RawData),
            ("recipient.key", Recipient.Key.ExportPkcs8PrivateKey()),
        ];

    public static Materials Load(string folder) => new(folder);

    public void Dispose()
    {
        _caKey.Dispose();
        Signer.Key.Dispose();
        Recipient.Key.Dispose();
        foreach (var key in _keys)
        {
            key.Dispose();
        }
    }

    /// <summary>
    /// RSA keys made by pairing the primes of a few: a thousand in the time of 24. Whoever knows one could factor
    /// others, which matters to nobody here; to a cache and to a signature they are as different as any.
    /// </summary>
    private IEnumerable<RSA> DistinctKeys()
    {
        List<BigInteger> primes = [];
        while (primes.Count < Primes)
        {
            using var key = RSA.Create(2048);
            var parameters = key.ExportParameters(true);
            primes.Add(Read(parameters.P!));
            primes.Add(Read(parameters.Q!));
        }

        BigInteger e = 65537;
        for (var i = 0; i < primes.Count; i++)
        {
            for (var j = 0; j < i; j++)
            {
                var (p, q) = (primes[i], primes[j]);
                var d = Inverse(e, (p - 1) * (q - 1));
                if (d.IsZero || (p * q).GetBitLength() != 2048)
                {
                    continue;
                }

                var key = RSA.Create(
                    new RSAParameters
                    {
                        Modulus = Write(p * q, 256),
                        Exponent = [1, 0, 1],
                        D = Write(d, 256),
                        P = Write(p, 128),
                        Q = Write(q, 128),
                        DP = Write(d % (p - 1), 128),
                        DQ = Write(d % (q - 1), 128),
                        InverseQ = Write(Inverse(q, p), 128),
                    });
                _keys.Add(key);
                yield return key;
            }
        }

        static BigInteger Read(byte[] octets) => new(octets, isUnsigned: true, isBigEndian: true);

        static byte[] Write(BigInteger number, int size)
        {
            var octets = new byte[size];
            var count = number.GetByteCount(isUnsigned: true);
            number.TryWriteBytes(octets.AsSpan(size - count), out _, isUnsigned: true, isBigEndian: true);
            return octets;
        }
    }

    /// <summary>By Euclid; 0 when there is none.</summary>
    private static BigInteger Inverse(BigInteger number, BigInteger modulus)
    {
        var (r, s, previousR, previousS) = (number % modulus, BigInteger.One, modulus, BigInteger.Zero);
        while (!r.IsZero)
        {
            var quotient = previousR / r;
            (previousR, r) = (r, previousR - (quotient * r));
            (previousS, s) = (s, previousS - (quotient * s));
        }

        return previousR.IsOne ? ((previousS % modulus) + modulus) % modulus : BigInteger.Zero;
    }

    private static ValidationOptions OptionsOf(
        X509Certificate2 root, X509Certificate2 ca, byte[][] crls,
        DateTimeOffset now) => new() { Trust = new TrustMaterial([root], [ca], crls), At = now };

    private X509Certificate2 Authority(
        string subject, ECDsa key, string issuer, ECDsa issuerKey, X509Certificate2? issuerCertificate)
    {
        var request = new CertificateRequest(new X500DistinguishedName(subject), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, critical: true));
        request.CertificateExtensions.Add(
            new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        return Sign(request, issuer, issuerKey, issuerCertificate);
    }

    private Identity Issue(string name, RSA key, X509KeyUsageFlags usage)
    {
        var request = new CertificateRequest(
            $"CN={name},O=Bench,C=VN", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(usage, critical: true));
        request.CertificateExtensions.Add(
            new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.4")], critical: false));
        var names = new SubjectAlternativeNameBuilder();
        names.AddEmailAddress("vanthu@tinhuy.vn");
        request.CertificateExtensions.Add(names.Build());
        return new Identity(Sign(request, "CN=Bench CA", _caKey, Ca), key);
    }

    private X509Certificate2 Sign(
        CertificateRequest request, string issuer, ECDsa issuerKey, X509Certificate2? issuerCertificate)
    {
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        if (issuerCertificate is not null)
        {
            request.CertificateExtensions.Add(KeyIdentifierOf(issuerCertificate));
        }

        _serial++;
        return request.Create(
            new X500DistinguishedName(issuer), X509SignatureGenerator.CreateForECDsa(issuerKey), Now.AddDays(-2),
            Now.AddYears(1), [0x10, (byte)(_serial >> 8), (byte)_serial]);
    }

    private byte[] Crl(X509Certificate2 issuer, ECDsa key) =>
        new CertificateRevocationListBuilder().Build(
            issuer.SubjectName, X509SignatureGenerator.CreateForECDsa(key), 1, Now.AddDays(7), HashAlgorithmName.SHA256,
            KeyIdentifierOf(issuer), Now.AddDays(-1));

    private static X509AuthorityKeyIdentifierExtension KeyIdentifierOf(X509Certificate2 certificate) =>
        X509AuthorityKeyIdentifierExtension.CreateFromSubjectKeyIdentifier(
            certificate.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Single());
}
