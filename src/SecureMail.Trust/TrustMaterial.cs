using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SecureMail.Cms;

namespace SecureMail.Trust;

/// <summary>
/// What judging rests on: trust anchors, certificates that may stand between, and revocation lists. Parsed once and
/// indexed, then shared by many threads. Certificates and lists that come inside a message are added for that message
/// only.
/// </summary>
public sealed class TrustMaterial
{
    private const long MaxFile = 64 << 20;

    private readonly Dictionary<string, List<ParsedCertificate>> _anchorsBySubject;
    private readonly Dictionary<string, List<ParsedCertificate>> _intermediatesBySubject;
    private readonly Dictionary<string, List<CertificateRevocationList>> _crlsByIssuer;

    /// <summary>Takes material that is at hand. What cannot be read as a certificate or CRL is left out: it could vouch
    /// for nothing.</summary>
    /// <param name="anchors">Certificates trusted for themselves. Their key and name count, and their validity period
    /// is checked too.</param>
    /// <param name="intermediates">Certificates that help to build a path, trusted for nothing.</param>
    /// <param name="crls">Certificate revocation lists, DER.</param>
    public TrustMaterial(
        IEnumerable<X509Certificate2> anchors, IEnumerable<X509Certificate2>? intermediates = null,
        IEnumerable<byte[]>? crls = null)
        : this(
            anchors.Select(ParsedCertificate.TryRead).OfType<ParsedCertificate>().ToList(),
            (intermediates ?? []).Select(ParsedCertificate.TryRead).OfType<ParsedCertificate>().ToList(),
            (crls ?? []).Select(c => CertificateRevocationList.TryRead(c)).OfType<CertificateRevocationList>().ToList())
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

    /// <summary>The trust anchors that could be read.</summary>
    public IReadOnlyList<X509Certificate2> Anchors { get; }

    /// <summary>The certificates between that could be read.</summary>
    public IReadOnlyList<X509Certificate2> Intermediates { get; }

    /// <summary>How many revocation lists could be read.</summary>
    public int CrlCount { get; }

    /// <summary>
    /// Reads PEM or DER files. A path may be a folder: then every PEM or DER file in it is taken, and files of other
    /// kinds are passed over. A PEM file may hold several certificates or lists.
    /// </summary>
    /// <exception cref="InvalidDataException">A file named by itself holds no certificate, or no CRL, as asked; or is
    /// larger than 64 MiB.</exception>
    /// <exception cref="IOException">A file or folder cannot be opened.</exception>
    public static TrustMaterial Load(
        IEnumerable<string> anchors, IEnumerable<string>? intermediates = null, IEnumerable<string>? crls = null) =>
        new(
            ReadCertificates(anchors), ReadCertificates(intermediates ?? []),
            ReadAll(crls ?? [], "X509 CRL", "revocation list", data => CertificateRevocationList.TryRead(data)));

    /// <summary>The certificates in PEM or DER files and folders, in the order found; as <see cref="Load"/> reads
    /// them.</summary>
    /// <exception cref="InvalidDataException">A file named by itself holds no certificate.</exception>
    /// <exception cref="IOException">A file or folder cannot be opened.</exception>
    public static IReadOnlyList<X509Certificate2> LoadCertificates(params IEnumerable<string> paths) =>
        [.. ReadCertificates(paths).Select(c => c.Certificate)];

    /// <summary>Anchors, then other certificates, whose subject is this name.</summary>
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
