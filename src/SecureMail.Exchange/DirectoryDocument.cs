using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization;
using SecureMail.Ledger;

namespace SecureMail.Exchange;

/// <summary>
/// The directory in the publisher's format: agencies with their validity, successors, dated names and certificates, and
/// the gateways that serve them. <c>application/vnd.securemail.directory+json</c> version 1, signed as CMS;
/// docs/formats.md gives the format.
/// </summary>
public sealed record DirectoryDocument
{
    /// <summary>The longest directory in bytes.</summary>
    public const int MaxBytes = 256 * 1024 * 1024;

    public int V { get; init; } = 1;

    /// <summary>Increases with each publication. A gateway refuses a lower version than it has.</summary>
    public required long Version { get; init; }

    public required DateTimeOffset Issued { get; init; }

    public required IReadOnlyList<AgencyRecord> Agencies { get; init; }

    public required IReadOnlyList<GatewayRecord> Gateways { get; init; }

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, WireJson.Options);

    /// <exception cref="WireFormatException">The directory is damaged, of an unknown version, or contradicts itself.
    /// The message names the first fault.</exception>
    public static DirectoryDocument Parse(ReadOnlyMemory<byte> bytes)
    {
        var document = WireJson.Read<DirectoryDocument>(bytes, MaxBytes, "directory");
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
                || !agency.HasValidCapabilities)
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

        // Two agencies may have the same code or address at different times, but not at the same time, because a
        // dispatch must have exactly one addressee.
        var clash = Agencies
            .SelectMany(a => a.Names.SelectMany(n => SpansOf(a, n)))
            .GroupBy(s => s.Key)
            .FirstOrDefault(g => Overlap(g.OrderBy(s => s.From)));
        return clash is null ? null : $"{clash.Key[2..]} names two agencies at once";
    }

    /// <summary>The spans in which a name is valid. A name is valid only while its agency is in force.</summary>
    private static Span[] SpansOf(AgencyRecord agency, AgencyName name)
    {
        var from = name.From > agency.ValidFrom ? name.From : agency.ValidFrom;
        var to = new[] { name.To, agency.ValidTo }.Min() ?? DateTimeOffset.MaxValue;
        return from >= to
            ? []
            :
            [
                new Span("c:" + name.Code, agency.Id, from, to),
                new Span("a:" + name.Address.ToUpperInvariant(), agency.Id, from, to),
            ];
    }

    private static bool Overlap(IEnumerable<Span> byStart)
    {
        // A long span may overlap several later ones, so all spans that have not ended yet are kept.
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

/// <summary>An agency: its parent, its validity, and its dated names and certificates.</summary>
/// <param name="Id">The id never changes and is never reused.</param>
/// <param name="Successor">The agency that took over the work of an agency that ended.</param>
/// <param name="Gateway">The name of the gateway that serves the agency.</param>
/// <param name="Capabilities">The capabilities of the agency's reader, by the names of the standards, in the order of
/// preference. Null: the directory states none.</param>
public sealed record AgencyRecord(
    Guid Id, Guid? Parent, Guid? Successor, DateTimeOffset ValidFrom, DateTimeOffset? ValidTo, string Gateway,
    IReadOnlyList<AgencyName> Names, IReadOnlyList<AgencyCertificate> Certificates,
    IReadOnlyList<string>? Capabilities = null)
{
    // A newer publisher may state names that this build does not know. A text that is not a name is a mistake, and so
    // is an empty list.
    [JsonIgnore]
    internal bool HasValidCapabilities =>
        Capabilities is null
        || (
            Capabilities.Count is > 0 and <= 64
            && Capabilities.All(c =>
                c is { Length: > 0 and <= 64 } && c.All(l => char.IsAsciiLetterOrDigit(l) || l == '-')));
}

/// <summary>The code, name and mail address of an agency over a span of time.</summary>
public sealed record AgencyName(string Code, string Name, string Address, DateTimeOffset From, DateTimeOffset? To)
{
    [JsonIgnore]
    public bool IsValid =>
        Code.Length is > 0 and <= 30
        && Name.Length is > 0 and <= 200
        && DispatchFields.IsText(Name)
        && IsAddress
        && (To is null || To > From);

    // RFC 5321 §4.5.3.1.3: a path has at most 256 octets with its brackets.
    private bool IsAddress =>
        Address.Length <= 254
        && Address.IndexOf('@', StringComparison.Ordinal) is > 0 and var at
        && at < Address.Length - 1
        && !Address.Any(c => char.IsControl(c) || char.IsWhiteSpace(c));
}

/// <summary>A certificate of an agency. Old certificates stay listed, because mail that was signed or encrypted with
/// them must still be validated and opened.</summary>
/// <param name="Use"><c>sign</c> or <c>encrypt</c>.</param>
/// <param name="Der">The certificate, DER.</param>
public sealed record AgencyCertificate(string Use, byte[] Der)
{
    /// <summary>Whether the certificate can be read. This is checked at the import, so that the publisher corrects a
    /// damaged certificate before mail needs it.</summary>
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

/// <summary>A gateway: its address, its TLS keys, and the keys of its ledger.</summary>
/// <param name="Name">The name of the gateway, which is its EHLO argument and the origin of its ledger.</param>
/// <param name="TlsKeys">SHA-256 of the SubjectPublicKeyInfo of each TLS key that authenticates the gateway.</param>
/// <param name="LedgerKey">The verifier key of the gateway's checkpoints (C2SP signed-note vkey).</param>
/// <param name="CosignerKey">The verifier key of the gateway's cosignatures.</param>
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
