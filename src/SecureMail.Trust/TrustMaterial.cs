using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SecureMail.Cms;

namespace SecureMail.Trust;

/// <summary>
/// The trust material of a validation: trust anchors, intermediate certificates and CRLs. It is parsed and indexed
/// once, then shared by many threads. Certificates and CRLs enclosed in a message are used for that message only.
/// </summary>
public sealed class TrustMaterial
{
    private const long MaxFile = 64 << 20;

    private readonly Dictionary<string, List<ParsedCertificate>> _anchorsBySubject;
    private readonly Dictionary<string, List<ParsedCertificate>> _intermediatesBySubject;
    private readonly Dictionary<string, List<CertificateRevocationList>> _crlsByIssuer;

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
    }

    /// <summary>The trust anchors that were accepted.</summary>
    public IReadOnlyList<X509Certificate2> Anchors { get; }

    /// <summary>The intermediate certificates that were accepted.</summary>
    public IReadOnlyList<X509Certificate2> Intermediates { get; }

    /// <summary>The number of CRLs that were accepted.</summary>
    public int CrlCount { get; }

    /// <summary>
    /// Reads PEM or DER files. If a path is a folder, every PEM or DER file in it is read, and other files are ignored.
    /// A PEM file may hold several certificates or CRLs.
    /// </summary>
    /// <exception cref="InvalidDataException">A file that was named itself holds no certificate or no CRL, or a file is
    /// larger than 64 MiB.</exception>
    /// <exception cref="IOException">A file or folder cannot be opened.</exception>
    public static TrustMaterial Load(
        IEnumerable<string> anchors, IEnumerable<string>? intermediates = null, IEnumerable<string>? crls = null) =>
        new(
            ReadCertificates(anchors), ReadCertificates(intermediates ?? []),
            ReadAll(crls ?? [], "X509 CRL", "revocation list", data => CertificateRevocationList.TryRead(data)));

    /// <summary>
    /// Reads the certificates in PEM or DER files and folders, as <see cref="Load"/> does, in the order found.
    /// </summary>
    /// <exception cref="InvalidDataException">A file that was named itself holds no certificate, or a file is larger
    /// than 64 MiB.</exception>
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
        ReadAll(paths, "CERTIFICATE", "certificate", data =>
        {
            try
            {
                return ParsedCertificate.TryRead(CertificateCache.Shared.Load(data));
            }
            catch (CryptographicException)
            {
                return null;
            }
        });

    private static List<T> ReadAll<T>(
        IEnumerable<string> paths, string label, string what, Func<ReadOnlyMemory<byte>, T?> read)
        where T : class
    {
        var all = new List<T>();
        foreach (var path in paths)
        {
            if (Directory.Exists(path))
            {
                foreach (var file in Directory.EnumerateFiles(path).Order(StringComparer.Ordinal))
                {
                    all.AddRange(ReadFile(file, label, read));
                }

                continue;
            }
            List<T> found = ReadFile(path, label, read);
            if (found.Count == 0)
            {
                throw new InvalidDataException($"{Path.GetFileName(path)} holds no {what} in PEM or DER");
            }

            all.AddRange(found);
        }
        return all;
    }

    private static List<T> ReadFile<T>(string path, string label, Func<ReadOnlyMemory<byte>, T?> read)
        where T : class
    {
        if (new FileInfo(path).Length > MaxFile)
        {
            throw new InvalidDataException($"{Path.GetFileName(path)} is larger than {MaxFile >> 20} MiB");
        }

        var data = File.ReadAllBytes(path);
        var found = new List<T>();
        if (data is [0x30, ..])
        {
            if (read(data) is { } item)
            {
                found.Add(item);
            }

            return found;
        }
        ReadOnlySpan<char> text = Encoding.Latin1.GetString(data);
        while (PemEncoding.TryFind(text, out PemFields fields))
        {
            if (text[fields.Label].SequenceEqual(label))
            {
                var decoded = new byte[fields.DecodedDataLength];
                if (Convert.TryFromBase64Chars(text[fields.Base64Data], decoded, out var length)
                    && read(decoded.AsMemory(0, length)) is { } item)
                {
                    found.Add(item);
                }
            }
            text = text[fields.Location.End..];
        }
        return found;
    }
}
