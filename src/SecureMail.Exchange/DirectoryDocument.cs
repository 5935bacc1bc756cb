using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization;
using SecureMail.Ledger;

namespace SecureMail.Exchange;

/// <summary>
/// The directory as its publisher writes it: agencies with their validity, successors, dated names and certificates,
/// and the gateways that serve them. <c>application/vnd.securemail.directory+json</c> version 1, signed as CMS;
/// docs/formats.md gives the format.
/// </summary>
public sealed record DirectoryDocument
{
    public const int LongestOctets = 256 * 1024 * 1024;

    public int V { get; init; } = 1;

    /// <summary>Rises with each publication; a lower one than the gateway has is refused.</summary>
    public required long Version { get; init; }

    public required DateTimeOffset Issued { get; init; }

    public required IReadOnlyList<AgencyRecord> Agencies { get; init; }

    public required IReadOnlyList<GatewayRecord> Gateways { get; init; }

    public byte[] ToOctets() => JsonSerializer.SerializeToUtf8Bytes(this, WireJson.Options);

    /// <exception cref="WireFormatException">Damaged, of an unknown version, or contradicting itself; the code names
    /// the first fault.</exception>
    public static DirectoryDocument Parse(ReadOnlyMemory<byte> octets)
    {
        var document = WireJson.Read<DirectoryDocument>(octets, LongestOctets, "directory");
        if (document.Validate() is { } fault)
        {
            throw new WireFormatException(
                ReasonCode.DirectoryInconsistent, $"The directory contradicts itself: {fault}.");
        }

        return document;
    }

    private string? Validate()
    {
        var agencies = new HashSet<Guid>();
        var gateways = new HashSet<string>(StringComparer.Ordinal);
        var pins = new HashSet<string>(StringComparer.Ordinal);
        foreach (var gateway in Gateways)
        {
            if (gateway is null
                || !gateways.Add(gateway.Name)
                || gateway.Port is <= 0 or > 65535
                || gateway.Host.Length == 0
                || !gateway.HasKeys
                || !gateway.TlsKeys.All(k => pins.Add(Convert.ToHexString(k))))
            {
                return $"gateway {gateway?.Name}";
            }
        }

        foreach (var agency in Agencies)
        {
            if (agency is null
                || agency.Id == Guid.Empty
                || !agencies.Add(agency.Id)
                || !gateways.Contains(agency.Gateway)
                || agency.ValidTo <= agency.ValidFrom
                || agency.Names.Count == 0
                || agency.Names.Any(n => n is not { IsValid: true })
                || agency.Certificates.Any(c => c is not { IsValid: true })
                || !agency.HasSoundCapabilities)
            {
                return $"agency {agency?.Id}";
            }
        }

        var stray = Agencies.FirstOrDefault(a =>
            (a.Parent is { } p && !agencies.Contains(p))
            || (a.Successor is { } s && (!agencies.Contains(s) || s == a.Id)));
        if (stray is not null)
        {
            return $"agency {stray.Id}";
        }

        // Two agencies may bear one code or address at different times, never at once: a dispatch must find its one
        // addressee.
        var clash = Agencies
            .SelectMany(a => a.Names.SelectMany(n => SpansOf(a, n)))
            .GroupBy(s => s.Key)
            .FirstOrDefault(g => Overlap(g.OrderBy(s => s.From)));
        return clash is null ? null : $"{clash.Key[2..]} names two agencies at once";
    }

    /// <summary>A name counts while its agency is in force, whatever the name itself says.</summary>
    private static Span[] SpansOf(AgencyRecord agency, AgencyName name)
    {
        var from = name.From > agency.ValidFrom ? name.From : agency.ValidFrom;
        var to = new[] { name.To, agency.ValidTo }.Min() ?? DateTimeOffset.MaxValue;
        return from >= to
            ? []
            :
            [
                new Span("c:" + name.Code, agency.Id, from, to),
                new Span("a:" + name.Address.ToLowerInvariant(), agency.Id, from, to),
            ];
    }

    private static bool Overlap(IEnumerable<Span> byStart)
    {
        // A long span may reach over several: the latest end so far is kept for each agency that has one.
        List<Span> open = [];
        foreach (var span in byStart)
        {
            open.RemoveAll(o => o.To <= span.From);
            if (open.Any(o => o.Agency != span.Agency))
            {
                return true;
            }

            open.Add(span);
        }

        return false;
    }

    private sealed record Span(string Key, Guid Agency, DateTimeOffset From, DateTimeOffset To);
}

/// <summary>An agency: a place in the tree, a time, and what it was called and certified with over that time.</summary>
/// <param name="Id">Never changes, never reused.</param>
/// <param name="Successor">The agency that took its work over, once it ended.</param>
/// <param name="Gateway">The name of the gateway that serves it.</param>
/// <param name="Capabilities">What its reader can do, by the names of the standards, the one preferred first; null: the
/// directory says nothing of that.</param>
public sealed record AgencyRecord(
    Guid Id, Guid? Parent, Guid? Successor, DateTimeOffset ValidFrom, DateTimeOffset? ValidTo, string Gateway,
    IReadOnlyList<AgencyName> Names, IReadOnlyList<AgencyCertificate> Certificates,
    IReadOnlyList<string>? Capabilities = null)
{
    // A name that no standard has yet may come from a younger publisher; what is no name at all is a mistake, and a
    // list of nothing is one, too.
    [JsonIgnore]
    internal bool HasSoundCapabilities =>
        Capabilities is null
        || (
            Capabilities.Count is > 0 and <= 64
            && Capabilities.All(c =>
                c is { Length: > 0 and <= 64 } && c.All(l => char.IsAsciiLetterOrDigit(l) || l == '-')));
}

/// <summary>Code, name and mail address over a span of time.</summary>
public sealed record AgencyName(string Code, string Name, string Address, DateTimeOffset From, DateTimeOffset? To)
{
    [JsonIgnore]
    public bool IsValid =>
        Code.Length is > 0 and <= 30
        && Name.Length is > 0 and <= 200
        && DispatchFields.IsText(Name)
        && IsAddress
        && (To is null || To > From);

    // RFC 5321 §4.5.3.1.3: a path has at most 256 octets, its brackets among them.
    private bool IsAddress =>
        Address.Length <= 254
        && Address.IndexOf('@', StringComparison.Ordinal) is > 0 and var at
        && at < Address.Length - 1
        && !Address.Any(c => char.IsControl(c) || char.IsWhiteSpace(c));
}

/// <summary>A certificate of an agency. Old ones stay listed: what was signed or encrypted with them must still be
/// judged and opened.</summary>
/// <param name="Use"><c>sign</c> or <c>encrypt</c>.</param>
/// <param name="Der">The certificate, DER.</param>
public sealed record AgencyCertificate(string Use, byte[] Der)
{
    /// <summary>Read once at the import, so that a damaged one is its publisher's trouble and not that of the mail that
    /// needs it.</summary>
    [JsonIgnore]
    public bool IsValid
    {
        get
        {
            try
            {
                using var certificate = X509CertificateLoader.LoadCertificate(Der);
                return Use is "sign" or "encrypt" && certificate.RawDataMemory.Length == Der.Length;
            }
            catch (CryptographicException)
            {
                return false;
            }
        }
    }
}

/// <summary>A gateway: where it listens, the keys that prove it, and the keys of its ledger.</summary>
/// <param name="Name">Its name, the EHLO argument and the origin of its ledger.</param>
/// <param name="TlsKeys">SHA-256 of the SubjectPublicKeyInfo of each TLS key that may speak for it.</param>
/// <param name="LedgerKey">The verifier key of its checkpoints (C2SP signed-note vkey).</param>
/// <param name="CosignerKey">The verifier key of its cosignatures.</param>
public sealed record GatewayRecord(
    string Name, string Host, int Port, IReadOnlyList<byte[]> TlsKeys, string LedgerKey, string CosignerKey)
{
    [JsonIgnore]
    internal bool HasKeys
    {
        get
        {
            try
            {
                return TlsKeys.Count > 0
                    && TlsKeys.All(k => k is { Length: 32 })
                    && VerifierKey.Parse(LedgerKey) is { Kind: NoteKeyKind.Log } ledger
                    && ledger.Name == Name
                    && VerifierKey.Parse(CosignerKey) is { Kind: NoteKeyKind.Cosigner };
            }
            catch (LedgerException)
            {
                return false;
            }
        }
    }
}
