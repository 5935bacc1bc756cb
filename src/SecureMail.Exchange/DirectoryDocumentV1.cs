namespace SecureMail.Exchange;

/// <summary>Version 1 of the directory, as gateways have stored it: nothing but names is dated, and one certificate
/// signs dispatches and receipts.</summary>
internal sealed record DirectoryDocumentV1
{
    public required int V { get; init; }

    public required long Version { get; init; }

    public required DateTimeOffset Issued { get; init; }

    public required IReadOnlyList<AgencyRecordV1> Agencies { get; init; }

    public required IReadOnlyList<GatewayRecordV1> Gateways { get; init; }

    public DirectoryDocument ToCurrent() =>
        new()
        {
            V = 1,
            Version = Version,
            Issued = Issued,
            Agencies = [.. Agencies.Select(a => a?.ToCurrent()!)],
            Gateways = [.. Gateways.Select(g => g?.ToCurrent()!)],
        };
}

internal sealed record AgencyRecordV1(
    Guid Id, Guid? Parent, Guid? Successor, DateTimeOffset ValidFrom, DateTimeOffset? ValidTo, string Gateway,
    IReadOnlyList<AgencyName> Names, IReadOnlyList<AgencyCertificateV1> Certificates,
    IReadOnlyList<string>? Capabilities = null)
{
    public AgencyRecord ToCurrent() =>
        new(
            Id, Parent, Successor, ValidFrom, ValidTo, [new AgencyGateway(Gateway, DateTimeOffset.MinValue, null)],
            Names, [.. Certificates.SelectMany(c => c?.ToCurrent() ?? [null!])], Capabilities);
}

/// <param name="Use"><c>sign</c> or <c>encrypt</c>.</param>
internal sealed record AgencyCertificateV1(string Use, byte[] Der)
{
    public IEnumerable<AgencyCertificate> ToCurrent() =>
        (Use == "sign" ? new[] { CertificateUse.Dispatch, CertificateUse.Receipt } : [Use])
            .Select(use => new AgencyCertificate(use, Der, DateTimeOffset.MinValue, null));
}

internal sealed record GatewayRecordV1(
    string Name, string Host, int Port, IReadOnlyList<byte[]> TlsKeys, string LedgerKey, string CosignerKey)
{
    public GatewayRecord ToCurrent() =>
        new(
            Name, Host, Port, [.. TlsKeys.Select(k => new TlsKey(k, DateTimeOffset.MinValue, null))],
            [new LedgerRecord(1, LedgerKey, DateTimeOffset.MinValue, null, null)],
            [new CosignerRecord(CosignerKey, DateTimeOffset.MinValue, null)]);
}
