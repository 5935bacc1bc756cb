using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;

namespace SecureMail.Trust;

/// <summary>
/// The trust material of a validation: trust anchors, intermediate certificates and CRLs. It is parsed and indexed
/// once, then shared by many threads. Certificates and CRLs enclosed in a message are used for that message only.
/// </summary>
public sealed class TrustMaterial
{
    private readonly Dictionary<string, List<ParsedCertificate>> _anchorsBySubject;
    private readonly Dictionary<string, List<ParsedCertificate>> _intermediatesBySubject;
    private readonly Dictionary<string, List<CertificateRevocationList>> _crlsByIssuer;
    private readonly Lazy<IReadOnlyList<RevocationListDigest>> _crls;

    /// <summary>
    /// Makes trust material of objects in memory. A certificate or CRL that is malformed is left out, because it cannot
    /// prove anything.
    /// </summary>
    /// <param name="anchors">Trust anchors. Their key and name are trusted, and their validity period is
    /// checked.</param>
    /// <param name="intermediates">Certificates that help to build a path. They are not trusted by themselves.</param>
    /// <param name="crls">Certificate revocation lists in DER.</param>
    public TrustMaterial(
        IEnumerable<X509Certificate2> anchors, IEnumerable<X509Certificate2>? intermediates = null,
        IEnumerable<byte[]>? crls = null)
        : this(
            anchors.Select(ParsedCertificate.TryRead).OfType<ParsedCertificate>().ToList(),
            (intermediates ?? []).Select(ParsedCertificate.TryRead).OfType<ParsedCertificate>().ToList(),
            (crls ?? []).Select(c => CertificateRevocationList.TryRead(c)).OfType<CertificateRevocationList>().ToList()
        )
    { }

    private TrustMaterial(
        List<ParsedCertificate> anchors, List<ParsedCertificate> intermediates, List<CertificateRevocationList> crls)
    {
        Anchors = [.. anchors.Select(a => a.Certificate)];
        Intermediates = [.. intermediates.Select(a => a.Certificate)];
        _anchorsBySubject = Index(anchors, c => c.Subject.Key);
        _intermediatesBySubject = Index(intermediates, c => c.Subject.Key);
        _crlsByIssuer = Index(crls, c => c.Issuer.Key);
        CrlCount = crls.Count;
        _crls = new(() => [.. crls.Select(c => c.ToDigest()).OrderBy(c => Convert.ToHexString(c.Sha256))]);
    }

    /// <summary>The trust anchors that were accepted.</summary>
    public IReadOnlyList<X509Certificate2> Anchors { get; }

    /// <summary>The intermediate certificates that were accepted.</summary>
    public IReadOnlyList<X509Certificate2> Intermediates { get; }

    /// <summary>The number of CRLs that were accepted.</summary>
    public int CrlCount { get; }

    /// <summary>The CRLs that were accepted, in the order of their digests.</summary>
    public IReadOnlyList<RevocationListDigest> Crls => _crls.Value;

    /// <summary>Since when a CRL at hand says that a certificate is revoked; null where none does. The signature of the
    /// CRL is not verified: whoever needs a proof validates again.</summary>
    public DateTimeOffset? RevokedSince(X509Certificate2 certificate) =>
        ParsedCertificate.TryRead(certificate) is { } parsed
            ? CrlsOf(parsed.Issuer).Select(c => c.RevokedSince(parsed)).Min()
            : null;

    /// <summary>
    /// Reads files in PEM or DER, and SignedData with certificates or CRLs (<c>.p7b</c>). If a path is a folder, every
    /// such file in it is read, and other files are ignored. A PEM file may hold several certificates or CRLs.
    /// </summary>
    /// <exception cref="InvalidDataException">A file that was named itself holds no certificate or no CRL, or a file is
    /// larger than 128 MiB.</exception>
    /// <exception cref="IOException">A file or folder cannot be opened.</exception>
    public static TrustMaterial Load(
        IEnumerable<string> anchors, IEnumerable<string>? intermediates = null, IEnumerable<string>? crls = null) =>
        new(
            ReadCertificates(anchors), ReadCertificates(intermediates ?? []),
            ReadAll(crls ?? [], "revocation list", path =>
                TrustFile.ReadCrls(path, data => CertificateRevocationList.TryRead(data))));

    /// <summary>
    /// Reads the certificates in PEM or DER files and folders, as <see cref="Load"/> does, in the order found.
    /// </summary>
    /// <exception cref="InvalidDataException">A file that was named itself holds no certificate, or a file is larger
    /// than 128 MiB.</exception>
    /// <exception cref="IOException">A file or folder cannot be opened.</exception>
    public static IReadOnlyList<X509Certificate2> LoadCertificates(params IEnumerable<string> paths) =>
        [.. ReadCertificates(paths).Select(c => c.Certificate)];

    /// <summary>The anchors whose subject is this name.</summary>
    internal IEnumerable<ParsedCertificate> AnchorsNamed(DistinguishedName name) =>
        _anchorsBySubject.GetValueOrDefault(name.Key, []);

    internal IEnumerable<ParsedCertificate> IntermediatesNamed(DistinguishedName name) =>
        _intermediatesBySubject.GetValueOrDefault(name.Key, []);

    internal IEnumerable<CertificateRevocationList> CrlsOf(DistinguishedName issuer) =>
        _crlsByIssuer.GetValueOrDefault(issuer.Key, []);

    private static Dictionary<string, List<T>> Index<T>(List<T> items, Func<T, string> key) =>
        items.GroupBy(key).ToDictionary(g => g.Key, g => g.ToList());

    private static List<ParsedCertificate> ReadCertificates(IEnumerable<string> paths) =>
        ReadAll(paths, "certificate", path =>
            TrustFile.ReadCertificates(path, data =>
            {
                try
                {
                    return ParsedCertificate.TryRead(CertificateCache.Shared.Load(data));
                }
                catch (CryptographicException)
                {
                    return null;
                }
            }));

    private static List<T> ReadAll<T>(IEnumerable<string> paths, string what, Func<string, List<T>> read)
    {
        var all = new List<T>();
        foreach (var path in paths)
        {
            if (Directory.Exists(path))
            {
                foreach (var file in Directory.EnumerateFiles(path).Order(StringComparer.Ordinal))
                {
                    all.AddRange(read(file));
                }

                continue;
            }

            List<T> found = read(path);
            if (found.Count == 0)
            {
                throw new InvalidDataException($"{Path.GetFileName(path)} holds no {what} in PEM or DER");
            }

            all.AddRange(found);
        }

        return all;
    }
}
