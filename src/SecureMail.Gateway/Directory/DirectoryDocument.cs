using System.Text.Json;
using SecureMail.Gateway.Exchange;

namespace SecureMail.Gateway.Directory;

/// <summary>
/// The directory as its publisher writes it: agencies with their validity, successors, dated names and certificates, and the gateways that
/// serve them. <c>application/vnd.securemail.directory+json</c> version 1, signed as CMS; docs/formats.md gives the format.
/// </summary>
public sealed record DirectoryDocument
{
    internal const int LongestOctets = 256 * 1024 * 1024;

    public int V { get; init; } = 1;

    /// <summary>Rises with each publication; a lower one than the gateway has is refused.</summary>
    public required long Version { get; init; }

    public required DateTimeOffset Issued { get; init; }

    public required IReadOnlyList<AgencyRecord> Agencies { get; init; }

    public required IReadOnlyList<GatewayRecord> Gateways { get; init; }

    public byte[] ToOctets() => JsonSerializer.SerializeToUtf8Bytes(this, WireJson.Options);

    /// <exception cref="WireFormatException">Damaged, of an unknown version, or contradicting itself; the code names the first fault.</exception>
    public static DirectoryDocument Parse(ReadOnlyMemory<byte> octets)
    {
        var document = WireJson.Read<DirectoryDocument>(octets, LongestOctets, "directory");
        if (document.FirstFault() is { } fault)
        {
            throw new WireFormatException("DIRECTORY_INCONSISTENT", $"Danh bạ mâu thuẫn: {fault}.", $"The directory contradicts itself: {fault}.");
        }

        return document;
    }

    private string? FirstFault()
    {
        var agencies = new HashSet<Guid>();
        var gateways = new HashSet<string>(StringComparer.Ordinal);
        foreach (var gateway in Gateways)
        {
            if (!gateways.Add(gateway.Name) || gateway.Port is <= 0 or > 65535 || gateway.TlsKeys.Count == 0 || gateway.TlsKeys.Any(k => k.Length != 32))
            {
                return $"gateway {gateway.Name}";
            }
        }

        foreach (var agency in Agencies)
        {
            if (!agencies.Add(agency.Id) || agency.Names.Count == 0 || !gateways.Contains(agency.Gateway) || agency.ValidTo <= agency.ValidFrom)
            {
                return $"agency {agency.Id}";
            }
        }

        var stray = Agencies.FirstOrDefault(a => (a.Parent is { } p && !agencies.Contains(p)) || (a.Successor is { } s && (!agencies.Contains(s) || s == a.Id)));
        if (stray is not null)
        {
            return $"agency {stray.Id}";
        }

        // Two agencies may bear one code or address at different times, never at once: a dispatch must find its one addressee.
        var clash = Agencies.SelectMany(a => a.Names.SelectMany(n => new[] { (Key: "c:" + n.Code, n.From, n.To, a.Id), (Key: "a:" + n.Address.ToLowerInvariant(), n.From, n.To, a.Id) }))
            .GroupBy(n => n.Key)
            .Select(g => (g.Key, Spans: g.OrderBy(n => n.From).ToList()))
            .FirstOrDefault(g => g.Spans.Zip(g.Spans.Skip(1)).Any(p => p.First.Id != p.Second.Id && (p.First.To is null || p.First.To > p.Second.From)));
        return clash.Key is null ? null : $"{clash.Key[2..]} names two agencies at once";
    }
}

/// <summary>An agency: a place in the tree, a time, and what it was called and certified with over that time.</summary>
/// <param name="Id">Never changes, never reused.</param>
/// <param name="Successor">The agency that took its work over, once it ended.</param>
/// <param name="Gateway">The name of the gateway that serves it.</param>
public sealed record AgencyRecord(
    Guid Id,
    Guid? Parent,
    Guid? Successor,
    DateTimeOffset ValidFrom,
    DateTimeOffset? ValidTo,
    string Gateway,
    IReadOnlyList<AgencyName> Names,
    IReadOnlyList<AgencyCertificate> Certificates);

/// <summary>Code, name and mail address over a span of time.</summary>
public sealed record AgencyName(string Code, string Name, string Address, DateTimeOffset From, DateTimeOffset? To);

/// <summary>A certificate of an agency. Old ones stay listed: what was signed or encrypted with them must still be judged and opened.</summary>
/// <param name="Use"><c>sign</c> or <c>encrypt</c>.</param>
/// <param name="Der">The certificate, DER.</param>
public sealed record AgencyCertificate(string Use, byte[] Der);

/// <summary>A gateway: where it listens, the keys that prove it, and the keys of its ledger.</summary>
/// <param name="Name">Its name, the EHLO argument and the origin of its ledger.</param>
/// <param name="TlsKeys">SHA-256 of the SubjectPublicKeyInfo of each TLS key that may speak for it.</param>
/// <param name="LedgerKey">The verifier key of its checkpoints (C2SP signed-note vkey).</param>
/// <param name="CosignerKey">The verifier key of its cosignatures.</param>
public sealed record GatewayRecord(string Name, string Host, int Port, IReadOnlyList<byte[]> TlsKeys, string LedgerKey, string CosignerKey);
