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

    /// <param name="sha256">Of the file as it was signed; empty where it was read from none.</param>
    public DirectorySnapshot(DirectoryDocument document, byte[]? sha256 = null)
    {
        Sha256 = sha256 ?? [];
        Expires = document.Expires;
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

    /// <summary>SHA-256 of the file as its publishers signed it.</summary>
    public byte[] Sha256 { get; }

    /// <summary>When a next version should have come; null: never.</summary>
    public DateTimeOffset? Expires { get; }

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

    /// <summary>The gateway that a TLS key authenticates at that time, by the SHA-256 of its SubjectPublicKeyInfo. Null
    /// for a key that the directory does not list, or no more.</summary>
    public GatewayRecord? FindGatewayByTlsKey(ReadOnlySpan<byte> spkiSha256, DateTimeOffset at)
    {
        foreach (var gateway in _gateways.Values)
        {
            if (gateway.HasTlsKey(spkiSha256, at))
            {
                return gateway;
            }
        }

        return null;
    }

    /// <summary>The gateway that serves an agency at that time.</summary>
    public GatewayRecord GatewayOf(Agency agency, DateTimeOffset at) => _gateways[agency.GatewayAt(at)];
}

/// <summary>An agency of the directory, with its certificates parsed once.</summary>
public sealed class Agency
{
    private readonly Lazy<ILookup<string, ListedCertificate>> _certificates;

    public Agency(AgencyRecord record, DateTimeOffset issued)
    {
        Record = record;
        ConfiguredCapabilities = record.Capabilities is { } names
            ? new ReaderCapabilities(SmimeCapabilities.Named(names), issued)
            : null;
        _certificates = new(() =>
            record.Certificates.ToLookup(
                c => c.Use, c => new ListedCertificate(X509CertificateLoader.LoadCertificate(c.Der), c),
                StringComparer.Ordinal));
    }

    public AgencyRecord Record { get; }

    public Guid Id => Record.Id;

    /// <summary>The certificates of a use, with those that are over: old mail must be validated and opened.</summary>
    /// <param name="use">One of <see cref="CertificateUse"/>.</param>
    public IEnumerable<ListedCertificate> CertificatesFor(string use) => _certificates.Value[use];

    /// <summary>The name of the gateway that serves the agency at that time: the last one that began by then, or the
    /// first one where none had.</summary>
    public string GatewayAt(DateTimeOffset at) =>
        (Record.Gateways.Where(g => g.From <= at).MaxBy(g => g.From) ?? Record.Gateways.MinBy(g => g.From)!).Name;

    /// <summary>The capabilities of the agency's reader as the directory states them. Null if it states none.</summary>
    public ReaderCapabilities? ConfiguredCapabilities { get; }

    public bool IsInForce(DateTimeOffset at) => Record.ValidFrom <= at && (Record.ValidTo is not { } to || at < to);

    /// <summary>The agency's name at that time. Null if the agency was not in force.</summary>
    public AgencyName? NameAt(DateTimeOffset at) =>
        IsInForce(at) ? Record.Names.FirstOrDefault(n => n.From <= at && (n.To is not { } to || at < to)) : null;

    /// <summary>The agency's latest name, to show an agency that has ended.</summary>
    public AgencyName LastName => Record.Names.MaxBy(n => n.From)!;
}

/// <summary>A certificate as the directory lists it.</summary>
public sealed record ListedCertificate(X509Certificate2 Certificate, AgencyCertificate Record)
{
    /// <summary>Whether the directory lists it at that time.</summary>
    public bool HoldsAt(DateTimeOffset at) => Record.HoldsAt(at);

    public bool Is(X509Certificate2 other) => Record.Der.AsSpan().SequenceEqual(other.RawDataMemory.Span);
}
