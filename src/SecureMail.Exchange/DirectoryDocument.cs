using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization;
using SecureMail.Ledger;

namespace SecureMail.Exchange;

/// <summary>
/// The directory in the publisher's format: agencies with their validity, successors, dated names, gateways and
/// certificates, the gateways with their dated keys and ledgers, and who may publish the next version.
/// <c>application/vnd.securemail.directory+json</c> version 2, signed as CMS; docs/formats.md gives the format. Version
/// 1 is read too.
/// </summary>
public sealed record DirectoryDocument
{
    /// <summary>The longest directory in bytes.</summary>
    public const int MaxBytes = 256 * 1024 * 1024;

    private const int MostPublishers = 16;

    /// <summary>What the member <c>crit</c> may name: the members that a version may lack.</summary>
    private static readonly string[] Critical = ["previous", "expires", "publishers", "threshold"];

    public int V { get; init; } = 2;

    /// <summary>Increases with each publication. A gateway refuses a lower version than it has.</summary>
    public required long Version { get; init; }

    public required DateTimeOffset Issued { get; init; }

    /// <summary>The version before this one. Null: the publisher does not say.</summary>
    public DirectoryReference? Previous { get; init; }

    /// <summary>When a next version should have come. Mail goes on after it, with an alarm. Null: never.</summary>
    public DateTimeOffset? Expires { get; init; }

    /// <summary>The certificates (DER) of those who may sign the next version. Empty: the publisher that each gateway
    /// pins.</summary>
    public IReadOnlyList<byte[]> Publishers { get; init; } = [];

    /// <summary>How many of them must have signed it.</summary>
    public int Threshold { get; init; } = 1;

    /// <summary>Members that a reader must know, or refuse the directory.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<string>? Crit { get; init; }

    public required IReadOnlyList<AgencyRecord> Agencies { get; init; }

    public required IReadOnlyList<GatewayRecord> Gateways { get; init; }

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, WireJson.Options);

    /// <exception cref="WireFormatException">The directory is damaged, of an unknown version, demands what this build
    /// does not know, or contradicts itself. The message names the first fault.</exception>
    public static DirectoryDocument Parse(ReadOnlyMemory<byte> bytes)
    {
        var document = WireJson.Read(
            bytes, MaxBytes, "directory", Critical, [1, 2],
            static (version, text) => version == 1
                ? WireJson.Parse<DirectoryDocumentV1>(text).ToCurrent()
                : WireJson.Parse<DirectoryDocument>(text));
        if (document.Validate() is { } fault)
        {
            throw new WireFormatException(
                ReasonCode.DirectoryInconsistent, $"The directory contradicts itself: {fault}.");
        }

        return document;
    }

    private string? Validate()
    {
        if (Previous is { } previous && (previous.Sha256.Length != 32 || previous.Version >= Version))
        {
            return "previous";
        }

        if (Expires <= Issued)
        {
            return "expires";
        }

        if (Publishers.Count > MostPublishers
            || Publishers.Any(p => p is null || !AgencyCertificate.IsReadable(p))
            || Publishers.Select(Convert.ToHexString).Distinct(StringComparer.Ordinal).Count() != Publishers.Count
            || Threshold < 1
            || Threshold > Math.Max(Publishers.Count, 1))
        {
            return "publishers";
        }

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
                || !gateway.TlsKeys.All(k => pins.Add(Convert.ToHexString(k.Sha256))))
            {
                return $"gateway {gateway?.Name}";
            }
        }

        foreach (var agency in Agencies)
        {
            if (agency is null
                || agency.Id == Guid.Empty
                || !agencies.Add(agency.Id)
                || !agency.HasValidGateways(gateways)
                || agency.ValidTo <= agency.ValidFrom
                || agency.Names.Count == 0
                || agency.Names.Any(n => n is not { IsValid: true })
                || agency.Certificates.Any(c => c is not { IsValid: true })
                || (V > 1 && !agency.HasOneUseACertificate)
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

/// <summary>A version of the directory.</summary>
/// <param name="Sha256">SHA-256 of the file as its publishers signed it.</param>
public sealed record DirectoryReference(long Version, byte[] Sha256);

/// <summary>An agency: its parent, its validity, and its dated names, gateways and certificates.</summary>
/// <param name="Id">The id never changes and is never reused.</param>
/// <param name="Successor">The agency that took over the work of an agency that ended.</param>
/// <param name="Gateways">The gateways that serve the agency, one at a time.</param>
/// <param name="Capabilities">The capabilities of the agency's reader, by the names of the standards, in the order of
/// preference. Null: the directory states none.</param>
public sealed record AgencyRecord(
    Guid Id, Guid? Parent, Guid? Successor, DateTimeOffset ValidFrom, DateTimeOffset? ValidTo,
    IReadOnlyList<AgencyGateway> Gateways, IReadOnlyList<AgencyName> Names,
    IReadOnlyList<AgencyCertificate> Certificates, IReadOnlyList<string>? Capabilities = null)
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

    [JsonIgnore]
    internal bool HasOneUseACertificate =>
        Certificates.DistinctBy(c => (c.Use, Convert.ToHexString(c.Der))).Count() == Certificates.Count
        && Certificates.DistinctBy(c => Convert.ToHexString(c.Der)).Count() == Certificates.Count;

    internal bool HasValidGateways(HashSet<string> known) =>
        Gateways.Count > 0
        && Gateways.All(g => g is { HasOrder: true, RevokedAt: null } && known.Contains(g.Name))
        && Gateways.OrderBy(g => g.From).ToList() is var inOrder
        && inOrder.Zip(inOrder.Skip(1)).All(pair => pair.First.To <= pair.Second.From);
}

/// <summary>The gateway that serves an agency over a span of time.</summary>
public sealed record AgencyGateway(string Name, DateTimeOffset From, DateTimeOffset? To) : Dated(From, To);

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
/// <param name="Use">One of <see cref="CertificateUse"/>. A reader passes over a use that it does not know.</param>
/// <param name="Der">The certificate, DER.</param>
public sealed record AgencyCertificate(string Use, byte[] Der, DateTimeOffset From, DateTimeOffset? To)
    : Dated(From, To)
{
    /// <summary>Whether the certificate can be read. This is checked at the import, so that the publisher corrects a
    /// damaged certificate before mail needs it.</summary>
    [JsonIgnore]
    public bool IsValid =>
        HasOrder && Use.Length is > 0 and <= 20 && Use.All(char.IsAsciiLetterLower) && IsReadable(Der);

    internal static bool IsReadable(byte[] der)
    {
        try
        {
            using var certificate = X509CertificateLoader.LoadCertificate(der);
            return certificate.RawDataMemory.Length == der.Length;
        }
        catch (CryptographicException)
        {
            return false;
        }
    }
}

/// <summary>A gateway: its address, its TLS keys, its ledgers, and the keys of its cosignatures.</summary>
/// <param name="Name">The name of the gateway, which is its EHLO argument.</param>
/// <param name="TlsKeys">The TLS keys that authenticate the gateway.</param>
/// <param name="Ledgers">Its ledgers, the oldest first. The last one is open.</param>
/// <param name="Cosigners">The keys of its cosignatures.</param>
public sealed record GatewayRecord(
    string Name, string Host, int Port, IReadOnlyList<TlsKey> TlsKeys, IReadOnlyList<LedgerRecord> Ledgers,
    IReadOnlyList<CosignerRecord> Cosigners)
{
    /// <summary>The verifier key of the open ledger (C2SP signed-note vkey).</summary>
    [JsonIgnore]
    public string LedgerKey => Ledgers[^1].Key;

    /// <summary>The verifier key of the gateway's cosignatures now.</summary>
    [JsonIgnore]
    public string CosignerKey => Cosigners[^1].Key;

    /// <summary>The ledger that was open at that time: the last one that began by then, or the first one where none
    /// had.</summary>
    public LedgerRecord LedgerAt(DateTimeOffset at) => Ledgers.LastOrDefault(l => l.From <= at) ?? Ledgers[0];

    /// <summary>Whether a TLS key authenticates the gateway at that time.</summary>
    /// <param name="sha256">SHA-256 of the SubjectPublicKeyInfo.</param>
    public bool HasTlsKey(ReadOnlySpan<byte> sha256, DateTimeOffset at)
    {
        foreach (var key in TlsKeys)
        {
            if (sha256.SequenceEqual(key.Sha256) && key.HoldsAt(at))
            {
                return true;
            }
        }

        return false;
    }

    [JsonIgnore]
    internal bool HasKeys
    {
        get
        {
            try
            {
                return TlsKeys.Count > 0
                    && TlsKeys.All(k => k is { Sha256.Length: 32, HasOrder: true })
                    && HasValidLedgers
                    && Cosigners.Count > 0
                    && Cosigners.All(c =>
                        c is { HasOrder: true } && VerifierKey.Parse(c.Key) is { Kind: NoteKeyKind.Cosigner });
            }
            catch (LedgerException)
            {
                return false;
            }
        }
    }

    /// <summary>One ledger after the other, each under a key and an origin of its own; the last one is open.</summary>
    private bool HasValidLedgers =>
        Ledgers.Count > 0
        && Ledgers.All(l =>
            l is { HasOrder: true, RevokedAt: null }
            && (l.To is null) == (l == Ledgers[^1])
            && VerifierKey.Parse(l.Key) is { Kind: NoteKeyKind.Log } key
            && LedgerRecord.NumberOf(key.Name, Name) == l.Number)
        && Ledgers.Select(l => l.Number).SequenceEqual(Enumerable.Range(Ledgers[0].Number, Ledgers.Count))
        && Ledgers.Zip(Ledgers.Skip(1)).All(pair => pair.First.To <= pair.Second.From);
}

/// <summary>A TLS key over a span of time.</summary>
/// <param name="Sha256">SHA-256 of the SubjectPublicKeyInfo.</param>
public sealed record TlsKey(byte[] Sha256, DateTimeOffset From, DateTimeOffset? To) : Dated(From, To);

/// <summary>A key of cosignatures over a span of time.</summary>
/// <param name="Key">The verifier key (C2SP signed-note vkey).</param>
public sealed record CosignerRecord(string Key, DateTimeOffset From, DateTimeOffset? To) : Dated(From, To);

/// <summary>A ledger of a gateway over a span of time. A ledger that cannot go on ends, and the next one begins under
/// another key.</summary>
/// <param name="Number">From 1.</param>
/// <param name="Key">The verifier key of its checkpoints (C2SP signed-note vkey); its name is the ledger's
/// origin.</param>
/// <param name="Reason">Why it ended: <c>restored</c>, <c>fork</c>, <c>stolen</c>; null while it is open.</param>
public sealed record LedgerRecord(int Number, string Key, DateTimeOffset From, DateTimeOffset? To, string? Reason)
    : Dated(From, To)
{
    /// <summary>The number that an origin names: 1 of <c>gateway</c> and of <c>gateway/ledger/1</c>. Null: it is no
    /// origin of this gateway.</summary>
    public static int? NumberOf(string origin, string gateway) =>
        origin == gateway ? 1
        : origin.StartsWith(gateway + "/ledger/", StringComparison.Ordinal)
        && origin[(gateway.Length + 8)..] is var number
        && number is not ['0', ..]
        && int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var n)
            ? n
            : null;
}
