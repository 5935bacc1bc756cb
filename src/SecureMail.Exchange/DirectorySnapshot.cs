using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;

namespace SecureMail.Exchange;

/// <summary>One version of the directory, indexed by code, address and gateway. Immutable; a new version is a new
/// snapshot.</summary>
public sealed class DirectorySnapshot
{
    private readonly Dictionary<Guid, Agency> _agencies;
    private readonly Dictionary<string, GatewayRecord> _gateways;
    private readonly ILookup<string, Agency> _byCode;
    private readonly ILookup<string, Agency> _byAddress;

    public DirectorySnapshot(DirectoryDocument document)
    {
        Version = document.Version;
        Issued = document.Issued;
        _agencies = document.Agencies.ToDictionary(a => a.Id, a => new Agency(a, document.Issued));
        _gateways = document.Gateways.ToDictionary(g => g.Name, StringComparer.Ordinal);
        _byCode = _agencies
            .Values.SelectMany(a => a.Record.Names.Select(n => (n.Code, a)))
            .Distinct()
            .ToLookup(p => p.Code, p => p.a, StringComparer.Ordinal);
        _byAddress = _agencies
            .Values.SelectMany(a => a.Record.Names.Select(n => (n.Address, a)))
            .Distinct()
            .ToLookup(p => p.Address, p => p.a, StringComparer.OrdinalIgnoreCase);
    }

    public long Version { get; }

    public DateTimeOffset Issued { get; }

    public IEnumerable<Agency> Agencies => _agencies.Values;

    public IEnumerable<GatewayRecord> Gateways => _gateways.Values;

    /// <summary>The agency of an id, in force or not.</summary>
    public Agency? Find(Guid id) => _agencies.GetValueOrDefault(id);

    /// <summary>The agency that had this code at that time.</summary>
    public Agency? FindByCode(string code, DateTimeOffset at) =>
        _byCode[code].FirstOrDefault(a => a.NameAt(at)?.Code == code);

    /// <summary>An agency that had this code at any time. The caller uses it to name the successor.</summary>
    public Agency? FindEverByCode(string code) => _byCode[code].FirstOrDefault();

    /// <summary>The agency that had this mail address at that time.</summary>
    public Agency? FindByAddress(string address, DateTimeOffset at) =>
        _byAddress[address]
            .FirstOrDefault(a => string.Equals(a.NameAt(at)?.Address, address, StringComparison.OrdinalIgnoreCase));

    public GatewayRecord? FindGateway(string name) => _gateways.GetValueOrDefault(name);

    /// <summary>The gateway that a TLS key authenticates, by the SHA-256 of its SubjectPublicKeyInfo. Null for a key
    /// that is not in the directory.</summary>
    public GatewayRecord? FindGatewayByTlsKey(ReadOnlySpan<byte> spkiSha256)
    {
        foreach (var gateway in _gateways.Values)
        {
            foreach (var key in gateway.TlsKeys)
            {
                if (spkiSha256.SequenceEqual(key))
                {
                    return gateway;
                }
            }
        }

        return null;
    }
}

/// <summary>An agency of the directory, with its certificates parsed once.</summary>
public sealed class Agency
{
    private readonly Lazy<IReadOnlyList<X509Certificate2>> _signing;
    private readonly Lazy<IReadOnlyList<X509Certificate2>> _encryption;

    public Agency(AgencyRecord record, DateTimeOffset issued)
    {
        Record = record;
        ConfiguredCapabilities = record.Capabilities is { } names
            ? new ReaderCapabilities(SmimeCapabilities.Named(names), issued)
            : null;
        _signing = new(() => Parse("sign"));
        _encryption = new(() => Parse("encrypt"));
    }

    public AgencyRecord Record { get; }

    public Guid Id => Record.Id;

    /// <summary>The certificates of the agency's signatures, including expired ones.</summary>
    public IReadOnlyList<X509Certificate2> SigningCertificates => _signing.Value;

    /// <summary>The certificates to encrypt to, including expired ones, which are needed to open old mail.</summary>
    public IReadOnlyList<X509Certificate2> EncryptionCertificates => _encryption.Value;

    /// <summary>The capabilities of the agency's reader as the directory states them. Null if it states none.</summary>
    public ReaderCapabilities? ConfiguredCapabilities { get; }

    public bool IsInForce(DateTimeOffset at) => Record.ValidFrom <= at && (Record.ValidTo is not { } to || at < to);

    /// <summary>The agency's name at that time. Null if the agency was not in force.</summary>
    public AgencyName? NameAt(DateTimeOffset at) =>
        IsInForce(at) ? Record.Names.FirstOrDefault(n => n.From <= at && (n.To is not { } to || at < to)) : null;

    /// <summary>The agency's latest name, to show an agency that has ended.</summary>
    public AgencyName LastName => Record.Names.MaxBy(n => n.From)!;

    private List<X509Certificate2> Parse(string use) =>
        [.. Record.Certificates.Where(c => c.Use == use).Select(c => X509CertificateLoader.LoadCertificate(c.Der))];
}
