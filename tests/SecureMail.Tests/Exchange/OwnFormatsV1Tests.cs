using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Ledger;
using SecureMail.Mail.Mime;

namespace SecureMail.Tests.Exchange;

/// <summary>
/// The formats of version 1, as two gateways wrote them (tests/vectors/own/v1). Whatever this build does, it reads them
/// as the second reader did and writes them to the same octets. expect.json holds what the second reader read.
/// </summary>
public sealed class OwnFormatsV1Tests
{
    private static readonly string Folder = Path.Combine(Vectors.Folder("own"), "v1");
    private static readonly JsonObject Expected = JsonNode
        .Parse(File.ReadAllBytes(Path.Combine(Folder, "expect.json")))!
        .AsObject();

    [Fact]
    public void The_manifest_is_read_as_before_and_written_to_the_same_octets()
    {
        var octets = Read("manifest");
        var manifest = Manifest.Parse(octets);
        manifest.ToBytes().ShouldBe(octets);
        var fields = manifest.Fields;
        ShouldBe(
            "manifest",
            new
            {
                action = manifest.Action,
                relatesTo = manifest.RelatesTo?.Select(r => $"{r.DispatchId} {r.Number}".Trim()),
                series = manifest.Series is { } s ? $"{s.Body}|{s.Type}|{s.Period}" : null,
                deliverAt = manifest.DeliverAt?.ToUnixTimeSeconds(),
                approvals = (manifest.Approvals ?? []).Select(a => a.Capacity),
                dispatchId = manifest.DispatchId,
                issued = manifest.Issued.ToUnixTimeSeconds(),
                sender = Of(manifest.Sender),
                recipients = manifest.Recipients.Select(Of),
                number = fields.Number,
                subject = fields.Subject,
                typeName = fields.TypeName,
                issuedDate = fields.IssuedDate,
                dueDate = fields.DueDate,
                language = fields.Language,
                pageAmount = fields.PageAmount,
                issuedAmount = fields.IssuedAmount,
                description = fields.Description,
                signer = $"{fields.SignerInfo!.Position}|{fields.SignerInfo.FullName}",
                priority = fields.Priority,
                secrecy = fields.Secrecy,
                documents = manifest.Documents.Select(d =>
                    new
                    {
                        name = d.Name,
                        mediaType = d.MediaType,
                        length = d.Length,
                        sha256 = Convert.ToHexStringLower(d.Sha256),
                        role = d.Role,
                        copy = d.Copy,
                    }),
                salt = Convert.ToHexStringLower(manifest.Salt),
            });

        static object Of(Party party) =>
            new { id = party.Id, code = party.Code, name = party.Name, attention = party.Attention };
    }

    [Fact]
    public void The_receipt_is_read_as_before_and_written_to_the_same_octets()
    {
        var octets = Read("receipt");
        var receipt = Receipt.Parse(octets);
        receipt.ToBytes().ShouldBe(octets);
        var evidence = LedgerEvidence.Parse(Convert.FromBase64String(receipt.Ledger));
        evidence.Verify(VerifierKey.Parse(KeyOf("receipt"))).ShouldBeNull();
        Convert.ToBase64String(evidence.ToBytes()).ShouldBe(receipt.Ledger);
        ShouldBe(
            "receipt",
            new
            {
                dispatchId = receipt.DispatchId,
                sender = receipt.Sender,
                recipient = receipt.Recipient,
                @event = receipt.Event,
                digest = Convert.ToHexStringLower(receipt.Digest),
                verdict = receipt.Verdict,
                arrivalNumber = receipt.ArrivalNumber,
                seq = receipt.Seq,
                prior = receipt.Prior is { } prior ? Convert.ToHexStringLower(prior) : null,
                state = receipt.State,
                time = receipt.Time.ToUnixTimeSeconds(),
                reason = receipt.Reason is { } r ? $"{r.Code}|{r.Vi}|{r.En}" : null,
                ledger = Of(evidence),
            });
    }

    [Fact]
    public void The_evidence_field_is_read_as_before_and_written_to_the_same_octets()
    {
        var octets = Read("evidence");
        var evidence = EvidenceField.Read(MailMessage.Parse((byte[])[.. octets, .. "\r\n"u8])).ShouldNotBeNull();
        evidence.Verify(VerifierKey.Parse(KeyOf("evidence"))).ShouldBeNull();
        EvidenceField.Write(evidence).ShouldBe(octets);
        ShouldBe("evidence", Of(evidence));
    }

    [Fact]
    public async Task The_directory_is_signed_by_its_publisher_and_read_as_before()
    {
        using var publisher = X509CertificateLoader.LoadCertificateFromFile(
            Path.Combine(Folder, KeyOf("directory")));
        using var data = await CmsSignedData.ReadAsync(new MemoryStream(Read("directory")));
        (await data.VerifyAsync(null)).ShouldHaveSingleItem().Intact.ShouldBeTrue();
        data.Certificates.ShouldHaveSingleItem().RawData.ToArray().ShouldBe(publisher.RawData);
        var octets = await Octets.ReadAsync(data.OpenContent());
        var directory = DirectoryDocument.Parse(octets);
        directory.ToBytes().ShouldBe(octets);
        ShouldBe(
            "directory",
            new
            {
                version = directory.Version,
                issued = directory.Issued.ToUnixTimeSeconds(),
                expires = directory.Expires?.ToUnixTimeSeconds(),
                previous = directory.Previous is { } previous
                    ? $"{previous.Version} {Convert.ToHexStringLower(previous.Sha256)}"
                    : null,
                publishers = directory.Publishers.Select(p => Convert.ToHexStringLower(SHA256.HashData(p))),
                threshold = directory.Threshold,
                agencies = directory.Agencies.Select(a =>
                    new
                    {
                        id = a.Id,
                        parent = a.Parent,
                        successor = a.Successor,
                        validFrom = a.ValidFrom.ToUnixTimeSeconds(),
                        validTo = a.ValidTo?.ToUnixTimeSeconds(),
                        gateways = a.Gateways.Select(g => Span(g, new() { ["name"] = g.Name })),
                        names = a.Names.Select(n =>
                            new
                            {
                                code = n.Code,
                                name = n.Name,
                                address = n.Address,
                                from = n.From.ToUnixTimeSeconds(),
                                to = n.To?.ToUnixTimeSeconds(),
                                revokedAt = (long?)null,
                            }),
                        certificates = a.Certificates.Select(c =>
                            Span(
                                c,
                                new()
                                {
                                    ["use"] = c.Use,
                                    ["sha256"] = Convert.ToHexStringLower(SHA256.HashData(c.Der)),
                                })),
                        capabilities = a.Capabilities,
                    }),
                gateways = directory.Gateways.Select(g =>
                    new
                    {
                        name = g.Name,
                        host = g.Host,
                        port = g.Port,
                        ledgers = g.Ledgers.Select(l =>
                            Span(l, new() { ["number"] = l.Number, ["key"] = l.Key, ["reason"] = l.Reason })),
                        cosigners = g.Cosigners.Select(c => Span(c, new() { ["key"] = c.Key })),
                        tlsKeys = g.TlsKeys.Select(k =>
                            Span(k, new() { ["sha256"] = Convert.ToHexStringLower(k.Sha256) })),
                    }),
            });
    }

    private static Dictionary<string, object?> Span(Dated dated, Dictionary<string, object?> what)
    {
        what["from"] = dated.From.ToUnixTimeSeconds();
        what["to"] = dated.To?.ToUnixTimeSeconds();
        what["revokedAt"] = dated.RevokedAt?.ToUnixTimeSeconds();
        return what;
    }

    [Fact]
    public async Task The_checkpoints_of_the_export_are_read_as_before()
    {
        using var export = new MemoryStream(Read("export"));
        var checkpoints = await LedgerExport.ReadSeenAsync(export, CancellationToken.None);
        var log = VerifierKey.Parse(KeyOf("export"));
        checkpoints.ShouldAllBe(c => c.Origin == log.Name && c.IsSignedBy(log));
        var entries = Encoding.UTF8.GetString(Read("export")).Split('\n').Count(l => l.Contains("\"entry\""));
        var said = Expected["export"]!["read"]!.GetValue<string>();
        said.ShouldStartWith($"{entries} entries, {checkpoints.Count} checkpoints, ");
        said.ShouldEndWith("all verify");
        checkpoints[^1].Size.ShouldBe(entries);
    }

    private static object Of(LedgerEvidence evidence) =>
        new
        {
            kind = evidence.Entry.Kind,
            @object = evidence.Entry.Object,
            commitments = evidence.Entry.Commitments,
            index = evidence.Index,
            size = evidence.Checkpoint.Size,
            consistency = evidence.Consistency.ToDictionary(
                c => c.Key.ToString(System.Globalization.CultureInfo.InvariantCulture),
                c => c.Value.Select(Convert.ToHexStringLower)),
            cosignatures = evidence.Cosignatures.Select(c => $"{c.Size} {c.Line.TrimEnd()}"),
        };

    private static byte[] Read(string kind) =>
        File.ReadAllBytes(Path.Combine(Folder, Expected[kind]!["file"]!.GetValue<string>()));

    private static string KeyOf(string kind) => Expected[kind]!["key"]!.GetValue<string>();

    private static void ShouldBe(string kind, object read)
    {
        var ours = JsonSerializer.SerializeToNode(read);
        JsonNode.DeepEquals(ours, Expected[kind]!["read"]).ShouldBeTrue(
            $"{ours!.ToJsonString()} is not {Expected[kind]!["read"]!.ToJsonString()}");
    }
}
