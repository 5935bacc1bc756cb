using System.Text;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Ledger;
using SecureMail.Storage;
using SecureMail.TestKit.Probes;
using SecureMail.Trust;

namespace SecureMail.SystemTests.Gateway;

public sealed class DirectoryTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>, IAsyncLifetime
{
    private NpgsqlDataSource _database = null!;
    private GatewayProbe _probe = null!;
    private DirectoryStore _store = null!;
    private DirectoryDocument _document = null!;

    public async Task InitializeAsync()
    {
        var owner = await postgres.CreateMigratedDatabaseAsync();
        _probe = new GatewayProbe(owner);
        _database = NpgsqlDataSource.Create(PostgresFixture.AsGateway(owner));
        _store = Open();
        _document = await SampleAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task A_directory_is_taken_once_and_given_back_octet_for_octet()
    {
        (await Should.ThrowAsync<DirectoryException>(() => _store.CurrentAsync(CancellationToken.None))).Code.ShouldBe(
            "DIRECTORY_MISSING");
        (await _store.ExportAsync(CancellationToken.None)).ShouldBeNull();
        var signed = await TestDirectory.SignAsync(_document);
        await _store.ImportAsync(signed, CancellationToken.None);
        await _store.ImportAsync(signed, CancellationToken.None);
        (await _store.ExportAsync(CancellationToken.None)).ShouldBe(signed);
        (await _probe.Ledger.EntriesAsync()).ShouldBe(1);
        (await _store.CurrentAsync(CancellationToken.None)).Version.ShouldBe(5);
        (await _store.CurrentAsync(CancellationToken.None)).ShouldBeSameAs(
            await _store.CurrentAsync(CancellationToken.None));
    }

    [Fact]
    public async Task An_older_directory_or_another_of_the_same_version_is_refused_and_a_newer_one_counts_at_once()
    {
        await _store.ImportAsync(await TestDirectory.SignAsync(_document), CancellationToken.None);
        foreach (
            var other in new[]
            {
                _document with
                {
                    Version = 4,
                },
                _document with
                {
                    Issued = _document.Issued.AddDays(1),
                },
            })
        {
            (
                await Should.ThrowAsync<DirectoryException>(async () =>
                    await _store.ImportAsync(await TestDirectory.SignAsync(other), CancellationToken.None))
            ).Code.ShouldBe("DIRECTORY_ROLLBACK");
        }

        var elsewhere = Open();
        (await elsewhere.CurrentAsync(CancellationToken.None)).Version.ShouldBe(5);
        await _store.ImportAsync(await TestDirectory.SignAsync(_document with { Version = 6 }), CancellationToken.None);
        (await elsewhere.CurrentAsync(CancellationToken.None)).Version.ShouldBe(6);
        (await _probe.DirectoriesAsync()).ShouldBe(2);
    }

    [Fact]
    public async Task Only_the_publisher_signs_and_alone()
    {
        var octets = _document.ToBytes();
        var good = await TestDirectory.SignAsync(octets);
        var at = good.AsSpan().IndexOf("Sông Lam"u8);
        var changed = good.ToArray();
        changed[at] ^= 1;
        await RefusedAsync(changed, "DIRECTORY_SIGNATURE");
        await RefusedAsync(
            await TestDirectory.SignAsync(octets, "issuing.pem", Path.Combine("ca", "issuing.key")),
            "DIRECTORY_SIGNATURE");
        await RefusedAsync(await TwoSignersAsync(octets), "DIRECTORY_SIGNATURE");
        await RefusedAsync(octets, "DIRECTORY_DAMAGED");
        await RefusedAsync(good[..^100], "DIRECTORY_DAMAGED", "DIRECTORY_SIGNATURE");
        await RefusedAsync([], "DIRECTORY_DAMAGED");
        (
            await Should.ThrowAsync<DirectoryException>(() =>
                new DirectoryStore(_database, null, TimeProvider.System).ImportAsync(good, CancellationToken.None))
        ).Code.ShouldBe("PUBLISHER_MISSING");
        (await _probe.DirectoriesAsync()).ShouldBe(0);
        (await _probe.Ledger.EntriesAsync()).ShouldBe(0);
        await _store.ImportAsync(good, CancellationToken.None);
    }

    [Theory]
    [InlineData("""{"v":1}""", "FORMAT_DAMAGED")]
    [InlineData("""{"v":2}""", "FORMAT_VERSION_UNKNOWN")]
    [InlineData("""{"version":1}""", "FORMAT_NO_VERSION")]
    [InlineData(
        """{"v":1,"v":1,"version":1,"issued":"2026-01-01T00:00:00Z","agencies":[],"gateways":[]}""",
        "FORMAT_DAMAGED"
    )]
    [InlineData(
        """{"v":1,"version":1,"issued":"2026-01-01T00:00:00Z","agencies":[null],"gateways":[]}""",
        "DIRECTORY_INCONSISTENT"
    )]
    [InlineData(
        """{"v":1,"version":1,"issued":"2026-01-01T00:00:00Z","agencies":[],"gateways":[null]}""",
        "DIRECTORY_INCONSISTENT"
    )]
    [InlineData("""[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]""", "FORMAT_DAMAGED")]
    [InlineData("không phải JSON", "FORMAT_DAMAGED")]
    public async Task A_damaged_document_is_refused_however_well_it_is_signed(string json, string code) =>
        await RefusedAsync(await TestDirectory.SignAsync(Encoding.UTF8.GetBytes(json)), code);

    [Fact]
    public async Task A_document_that_contradicts_itself_is_refused()
    {
        var gateway = _document.Gateways[0];
        var (first, second) = (_document.Agencies[0], _document.Agencies[1]);
        DirectoryDocument Names(Func<AgencyName, AgencyName> change) =>
            _document with
            {
                Agencies = [first with { Names = [change(first.Names[0])] }, .. _document.Agencies.Skip(1)],
            };
        DirectoryDocument First(AgencyRecord changed) =>
            _document with
            {
                Agencies = [changed, .. _document.Agencies.Skip(1)],
            };
        DirectoryDocument Gateway(GatewayRecord changed) =>
            _document with
            {
                Gateways = [changed, .. _document.Gateways.Skip(1)],
            };
        var faults = new Dictionary<string, DirectoryDocument>
        {
            ["a gateway twice"] = _document with { Gateways = [gateway, .. _document.Gateways] },
            ["a port out of range"] = Gateway(gateway with { Port = 70000 }),
            ["no TLS key"] = Gateway(gateway with { TlsKeys = [] }),
            ["a short TLS key"] = Gateway(gateway with { TlsKeys = [new byte[31]] }),
            ["one TLS key for two gateways"] = Gateway(gateway with { TlsKeys = _document.Gateways[1].TlsKeys }),
            ["a damaged ledger key"] = Gateway(gateway with { LedgerKey = "x" }),
            ["the ledger key of another gateway"] = Gateway(
                gateway with
                {
                    LedgerKey = _document.Gateways[1].LedgerKey,
                }),
            ["a ledger key for a cosigner key"] = Gateway(gateway with { CosignerKey = gateway.LedgerKey }),
            ["no host"] = Gateway(gateway with { Host = "" }),
            ["an agency twice"] = _document with { Agencies = [first, .. _document.Agencies] },
            ["no name"] = First(first with { Names = [] }),
            ["a gateway that is not there"] = First(first with { Gateway = "nowhere.test" }),
            ["an end before the beginning"] = First(first with { ValidTo = first.ValidFrom }),
            ["a parent that is not there"] = First(first with { Parent = Guid.NewGuid() }),
            ["a successor that is not there"] = First(first with { Successor = Guid.NewGuid() }),
            ["its own successor"] = First(first with { Successor = first.Id }),
            ["a damaged certificate"] = First(first with { Certificates = [new AgencyCertificate("sign", [1, 2, 3])] }),
            ["an unknown use"] = First(first with { Certificates = [first.Certificates[0] with { Use = "both" }] }),
            ["a code of two agencies at once"] = Names(n => n with { Code = second.Names[0].Code }),
            ["an address of two agencies at once"] = Names(n =>
                n with
                {
                    Address = second.Names[0].Address.ToUpperInvariant(),
                }),
            ["an address that is none"] = Names(n => n with { Address = "vanthu" }),
            ["an address with a line end"] = Names(n => n with { Address = "vanthu@x.test\r\nRCPT TO:<y@z.test>" }),
            ["a code too long"] = Names(n => n with { Code = new string('H', 31) }),
            // The long span of one agency reaches over a short one of its own into another's time.
            ["a span behind another"] = _document with
            {
                Agencies =
                [
                    first with
                    {
                        Names =
                        [
                            first.Names[0],
                            first.Names[0] with
                            {
                                Code = "H90.ALT",
                                From = first.ValidFrom.AddYears(1),
                                To = first.ValidFrom.AddYears(9),
                            },
                            first.Names[0] with
                            {
                                Code = "H90.ALT",
                                From = first.ValidFrom.AddYears(2),
                                To = first.ValidFrom.AddYears(3),
                            },
                        ],
                    },
                    second with
                    {
                        Names =
                        [
                            .. second.Names,
                            second.Names[0] with
                            {
                                Code = "H90.ALT",
                                From = first.ValidFrom.AddYears(4),
                                To = null,
                            },
                        ],
                    },
                    .. _document.Agencies.Skip(2),
                ],
            },
        };
        foreach (var (what, document) in faults)
        {
            (
                await Should.ThrowAsync<DirectoryException>(
                    async () =>
                        await _store.ImportAsync(await TestDirectory.SignAsync(document), CancellationToken.None),
                    what)
            ).Code.ShouldBe("DIRECTORY_INCONSISTENT", what);
        }
    }

    [Fact]
    public async Task A_code_that_an_ended_agency_bore_may_be_borne_again()
    {
        var end = _document.Agencies.Single(a => a.Names[0].Code == "H90.SL.105").ValidTo!.Value;
        var reused = _document.With(TwoGateways.AnHoa, a =>
            a with
            {
                Names = [a.Names[0] with { To = end }, a.Names[0] with { Code = "H90.SL.105", From = end }],
            });
        await _store.ImportAsync(await TestDirectory.SignAsync(reused), CancellationToken.None);
        var snapshot = await _store.CurrentAsync(CancellationToken.None);
        snapshot.FindByCode("H90.SL.105", end.AddSeconds(-1))!.LastName.Name.ShouldBe("Đảng ủy xã An Phú");
        snapshot.FindByCode("H90.SL.105", end)!.LastName.Name.ShouldBe("Đảng ủy xã An Hòa");
        snapshot
            .FindByCode(TwoGateways.AnHoa, end.AddSeconds(-1))!
            .Id.ShouldBe(snapshot.FindByCode("H90.SL.105", end)!.Id);
        snapshot.FindByCode(TwoGateways.AnHoa, end).ShouldBeNull();
        snapshot.FindByAddress("VANTHU@anphu.songlam.test", end.AddSeconds(-1)).ShouldNotBeNull();
        snapshot.FindByAddress("vanthu@anphu.songlam.test", end).ShouldBeNull();
    }

    private static async Task<byte[]> TwoSignersAsync(byte[] octets)
    {
        var work = Directory.CreateTempSubdirectory("smdir").FullName;
        try
        {
            var (input, output) = (Path.Combine(work, "in"), Path.Combine(work, "out"));
            await File.WriteAllBytesAsync(input, octets);
            await SoftHsm.RunAsync(
                "openssl", "cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-in", input, "-out", output,
                "-signer", Path.Combine(TwoGateways.Pki, "publisher.pem"), "-inkey",
                Path.Combine(TwoGateways.Pki, "publisher.key"), "-signer", Path.Combine(TwoGateways.Pki, "issuing.pem"),
                "-inkey", Path.Combine(TwoGateways.Pki, "ca", "issuing.key"));
            return await File.ReadAllBytesAsync(output);
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }

    private DirectoryStore Open() =>
        new(
            _database, TrustMaterial.LoadCertificates(Path.Combine(TwoGateways.Pki, "publisher.pem"))[0],
            TimeProvider.System);

    private async Task RefusedAsync(byte[] signed, params string[] codes) =>
        codes.ShouldContain(
            (await Should.ThrowAsync<DirectoryException>(() => _store.ImportAsync(signed, CancellationToken.None))).Code
        );

    /// <summary>The development directory with two gateways that exist on paper only.</summary>
    private static async Task<DirectoryDocument> SampleAsync()
    {
        var work = Directory.CreateTempSubdirectory("smdir").FullName;
        try
        {
            foreach (var letter in new[] { "a", "b" })
            {
                var options = new GatewaySetup
                {
                    Name = $"gateway-{letter}.test",
                    DataFolder = Path.Combine(work, letter),
                };
                var record = options.CreateIdentity("127.0.0.1", 2525);
                await File.WriteAllTextAsync(
                    Path.Combine(work, letter + ".json"),
                    System.Text.Json.JsonSerializer.Serialize(record, System.Text.Json.JsonSerializerOptions.Web));
            }

            SoftHsm.SetNativeVariable("SECUREMAIL_DEV_PKI", TwoGateways.Pki);
            var file = Path.Combine(work, "directory.p7m");
            await SoftHsm.RunAsync(
                Path.Combine(Repository.Root, "certs-dev", "publish"), "5", file, $"a={Path.Combine(work, "a.json")}",
                $"b={Path.Combine(work, "b.json")}");
            return await TestDirectory.ReadAsync(await File.ReadAllBytesAsync(file));
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }
}
