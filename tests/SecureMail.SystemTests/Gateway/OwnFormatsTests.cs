using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using SecureMail.Exchange;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Mail.Mime;

namespace SecureMail.SystemTests.Gateway;

/// <summary>
/// What two gateways write is read by tests/vectors/own/v1/read.py and verify_ledger.py, which know docs/formats.md and
/// docs/ledger.md and nothing of this program. SECUREMAIL_RECORD names a folder that gets the files, to be kept as
/// vectors.
/// </summary>
public sealed class OwnFormatsTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    private static readonly JsonSerializerOptions Indented = new(LedgerExport.Json) { WriteIndented = true };
    private static readonly string Readers = Path.Combine(Vectors.Folder("own"), "v1");

    [Fact]
    public async Task What_a_gateway_writes_is_read_by_a_second_reader()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var folder = Directory.CreateTempSubdirectory("smown").FullName;
        try
        {
            var files = await WriteAsync(pair, folder);
            foreach (var (kind, file, key) in files)
            {
                var read = await PythonAsync(kind, file, key);
                if (kind is "manifest")
                {
                    read.GetProperty("subject").GetString().ShouldBe("V/v triệu tập hội nghị");
                    read.GetProperty("recipients").GetArrayLength().ShouldBe(2);
                }
                else if (kind is "receipt")
                {
                    read.GetProperty("event").GetString().ShouldBe(ReceiptEvent.ContentConsignment);
                    read.GetProperty("ledger").GetProperty("kind").GetString().ShouldBe("message.judged");
                }
                else if (kind is "directory")
                {
                    read.GetProperty("gateways").GetArrayLength().ShouldBe(2);
                }
                else if (kind is "evidence")
                {
                    read.GetProperty("kind").GetString().ShouldBe("dispatch.signed");
                }
            }

            if (Environment.GetEnvironmentVariable("SECUREMAIL_RECORD") is { Length: > 0 } kept)
            {
                await RecordAsync(files, kept);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<List<(string Kind, string File, string? Key)>> WriteAsync(TwoGateways pair, string folder)
    {
        var submission = TwoGateways.Submission(TwoGateways.AnHoa, TwoGateways.BinhMinh) with
        {
            Fields = new DispatchFields
            {
                Number = "",
                Subject = "V/v triệu tập hội nghị",
                TypeName = "Công văn",
                IssuedDate = new DateOnly(2026, 11, 21),
                DueDate = new DateOnly(2026, 12, 1),
                Language = "vi",
                PageAmount = 3,
                IssuedAmount = 2,
                Description = "Kèm phụ lục",
                SignerInfo = new Signatory("Chánh Văn phòng", "Nguyễn Văn A"),
                Priority = 4,
            },
            Action = DispatchAction.Update,
            RelatesTo = [new RelatedDispatch(Guid.Parse("0192f000-0000-7000-8000-00000000bbbb"), "35-CV/VPTU")],
            DeliverAt = new DateTimeOffset(2026, 12, 1, 8, 0, 0, TimeSpan.FromHours(7)),
            Attention = new Dictionary<string, string> { [TwoGateways.AnHoa] = "Đồng chí Bí thư" },
        };
        var dispatch = (await pair.A.Node.SubmitAsync(submission, CancellationToken.None)).DispatchId;
        await pair.A.OutgoingAsync(dispatch, d => d.Recipients.All(r => r.State == "acknowledged"));
        await pair.A.Probe.WaitUntilQuietAsync();
        await pair.B.Probe.WaitUntilQuietAsync();
        var came = await pair.B.IncomingAsync(m => m.DispatchId == dispatch);
        var receipt = (await pair.A.Probe.Incoming.IdsAsync(disposition: Disposition.Matched))[0];
        var manifest = (await pair.B.Node.Incoming.FindAsync(came.Id, CancellationToken.None))!.Manifest!;
        var mail = MailMessage.Parse(
            await Octets.ReadAsync(await pair.B.Node.Incoming.OpenReceivedAsync(came.Id, CancellationToken.None)));
        var answer = MailMessage.Parse(
            await Octets.ReadAsync(await pair.A.Node.Incoming.OpenReceivedAsync(receipt, CancellationToken.None)));
        var part = answer.Root.DescendantsAndSelf().Single(p => p.ContentType.MediaType == Receipt.MediaType);
        string Of(string name) => Path.Combine(folder, name);
        await File.WriteAllBytesAsync(Of("manifest.json"), manifest.ToBytes());
        await File.WriteAllBytesAsync(Of("receipt.json"), await Octets.ReadAsync(part.OpenDecoded()));
        await File.WriteAllBytesAsync(Of("evidence.txt"), EvidenceField.Write(EvidenceField.Read(mail)!));
        await File.WriteAllBytesAsync(Of("directory.p7m"), await DirectoryAsync(pair));
        await using (var export = File.Create(Of("export.jsonl")))
        {
            await LedgerExporter.WriteAsync(
                pair.A.Node.Database.Source, pair.A.Node.Identity.Ledger.Verifier, export, CancellationToken.None);
        }

        var (a, b) = (
            pair.A.Node.Identity.Ledger.Verifier.ToString(), pair.B.Node.Identity.Ledger.Verifier.ToString());
        return
        [
            ("manifest", Of("manifest.json"), null),
            ("receipt", Of("receipt.json"), b),
            ("directory", Of("directory.p7m"), Path.Combine(TwoGateways.Pki, "publisher.pem")),
            ("evidence", Of("evidence.txt"), a),
            ("export", Of("export.jsonl"), a),
        ];
    }

    /// <summary>A directory that has every member.</summary>
    private static async Task<byte[]> DirectoryAsync(TwoGateways pair)
    {
        var first = await pair.PublishAsync(2);
        var document = await TestDirectory.ReadAsync(first);
        var day = document.Issued.AddDays(-1);
        var (gateway, agency) = (document.Gateways[0], document.Agencies[0]);
        return await TestDirectory.SignAsync(
            document with
            {
                Version = 3,
                Previous = new DirectoryReference(2, SHA256.HashData(first)),
                Expires = document.Issued.AddDays(90),
                Publishers =
                [
                    X509CertificateLoader.LoadCertificateFromFile(Path.Combine(TwoGateways.Pki, "publisher.pem"))
                        .RawData,
                ],
                Crit = ["publishers", "threshold"],
                Gateways =
                [
                    gateway with
                    {
                        TlsKeys = [.. gateway.TlsKeys, new TlsKey(new byte[32], day, null) { RevokedAt = day }],
                    },
                    document.Gateways[1],
                ],
                Agencies =
                [
                    agency with
                    {
                        Gateways =
                        [
                            new AgencyGateway(document.Gateways[1].Name, agency.ValidFrom, day),
                            new AgencyGateway(gateway.Name, day, null),
                        ],
                        Certificates =
                        [
                            agency.Certificates[0] with { To = day.AddDays(2) },
                            agency.Certificates[1] with { RevokedAt = day },
                            .. agency.Certificates.Skip(2),
                        ],
                        Capabilities = ["id-aes256-GCM", "id-aes256-CBC"],
                    },
                    .. document.Agencies.Skip(1),
                ],
            });
    }

    /// <summary>The files, the keys that they are read with, and what the second reader reads.</summary>
    private static async Task RecordAsync(IReadOnlyList<(string Kind, string File, string? Key)> files, string folder)
    {
        Directory.CreateDirectory(folder);
        var expected = new SortedDictionary<string, object?>(StringComparer.Ordinal);
        foreach (var (kind, file, key) in files)
        {
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)), overwrite: true);
            var named = key;
            if (kind == "directory")
            {
                File.Copy(key!, Path.Combine(folder, "publisher.pem"), overwrite: true);
                named = "publisher.pem";
            }

            expected[kind] = new
            {
                file = Path.GetFileName(file),
                key = named,
                read = await PythonAsync(kind, file, key),
            };
        }

        await File.WriteAllTextAsync(
            Path.Combine(folder, "expect.json"),
            JsonSerializer.Serialize(expected, Indented) + "\n");
    }

    private static async Task<JsonElement> PythonAsync(string kind, string file, string? key)
    {
        var said = kind == "export"
            ? JsonSerializer.Serialize(
                (await SoftHsm.RunAsync("python3", Path.Combine(Readers, "verify_ledger.py"), file, key!)).Trim(),
                LedgerExport.Json)
            : await SoftHsm.RunAsync(
                "python3",
                [Path.Combine(Readers, "read.py"), kind, file, .. key is null ? Array.Empty<string>() : [key]]);
        return JsonDocument.Parse(Encoding.UTF8.GetBytes(said)).RootElement.Clone();
    }
}
