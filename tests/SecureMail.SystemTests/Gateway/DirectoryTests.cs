using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
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
            var (other, code) in new[]
            {
                (_document with { Version = 4 }, "DIRECTORY_ROLLBACK"),
                (_document with { Issued = _document.Issued.AddDays(1) }, "DIRECTORY_CONFLICT"),
            })
        {
            (
                await Should.ThrowAsync<DirectoryException>(async () =>
                    await _store.ImportAsync(await TestDirectory.SignAsync(other), CancellationToken.None))
            ).Code.ShouldBe(code);
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
        await RefusedAsync(await SignAsync(octets, Pinned(), Publisher("stranger")), "DIRECTORY_SIGNATURE");
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
    [InlineData("""{"v":2}""", "FORMAT_DAMAGED")]
    [InlineData("""{"v":3}""", "FORMAT_VERSION_UNKNOWN")]
    [InlineData("""{"v":2,"crit":["tomorrow"]}""", "FORMAT_CRITICAL_UNKNOWN")]
    [InlineData("""{"v":2,"crit":["expires",1]}""", "FORMAT_DAMAGED")]
    [InlineData("""{"v":2,"crit":[]}""", "FORMAT_DAMAGED")]
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
            ["a short TLS key"] = Gateway(
                gateway with { TlsKeys = [gateway.TlsKeys[0] with { Sha256 = new byte[31] }] }),
            ["one TLS key for two gateways"] = Gateway(gateway with { TlsKeys = _document.Gateways[1].TlsKeys }),
            ["a damaged ledger key"] = Gateway(gateway with { Ledgers = [gateway.Ledgers[0] with { Key = "x" }] }),
            ["the ledger key of another gateway"] = Gateway(
                gateway with
                {
                    Ledgers = _document.Gateways[1].Ledgers,
                }),
            ["a ledger key for a cosigner key"] = Gateway(
                gateway with { Cosigners = [gateway.Cosigners[0] with { Key = gateway.LedgerKey }] }),
            ["no host"] = Gateway(gateway with { Host = "" }),
            ["an agency twice"] = _document with { Agencies = [first, .. _document.Agencies] },
            ["no name"] = First(first with { Names = [] }),
            ["a gateway that is not there"] = First(first.ServedBy("nowhere.test")),
            ["an end before the beginning"] = First(first with { ValidTo = first.ValidFrom }),
            ["a parent that is not there"] = First(first with { Parent = Guid.NewGuid() }),
            ["a successor that is not there"] = First(first with { Successor = Guid.NewGuid() }),
            ["its own successor"] = First(first with { Successor = first.Id }),
            ["a damaged certificate"] = First(
                first with { Certificates = [TestDirectory.Listed(CertificateUse.Dispatch, [1, 2, 3])] }),
            ["an unknown use"] = First(first with { Certificates = [first.Certificates[0] with { Use = "BOTH" }] }),
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

    [Fact]
    public async Task The_next_version_is_signed_by_as_many_as_the_last_one_names()
    {
        var (pinned, first, second, third) = (Pinned(), Publisher("1"), Publisher("2"), Publisher("3"));
        DirectoryDocument Version(int version, int threshold, params Signer[] publishers) =>
            _document with
            {
                Version = version,
                Publishers = [.. publishers.Select(p => p.Certificate.RawData)],
                Threshold = threshold,
            };

        await ImportAsync(Version(5, 2, first, second, third), pinned);
        await RefusedAsync(await SignAsync(Version(6, 1), pinned), "DIRECTORY_SIGNATURE");
        await RefusedAsync(await SignAsync(Version(6, 1), first), "DIRECTORY_SIGNATURE");
        await RefusedAsync(await SignAsync(Version(6, 1), first, pinned), "DIRECTORY_SIGNATURE");
        await ImportAsync(Version(6, 2, first, second, third), first, third);
        await ImportAsync(Version(7, 1, second), second, third);
        await RefusedAsync(await SignAsync(Version(8, 1), first, third), "DIRECTORY_SIGNATURE");

        // Another process reads who may sign from what is stored.
        var elsewhere = Open();
        (await elsewhere.CurrentAsync(CancellationToken.None)).Version.ShouldBe(7);
        await elsewhere.ImportAsync(await SignAsync(Version(8, 1), second), CancellationToken.None);
        await RefusedAsync(await SignAsync(Version(9, 1), second), "DIRECTORY_SIGNATURE");
        await ImportAsync(Version(9, 1), pinned);
        (await Open().CurrentAsync(CancellationToken.None)).Version.ShouldBe(9);
        foreach (var (threshold, publishers) in new[] { (0, [first]), (2, [first]), (1, new[] { first, first }) })
        {
            await RefusedAsync(await SignAsync(Version(10, threshold, publishers), pinned), "DIRECTORY_INCONSISTENT");
        }
    }

    [Fact]
    public async Task A_version_goes_a_step_and_follows_the_one_it_names()
    {
        var signed = await TestDirectory.SignAsync(_document);
        await _store.ImportAsync(signed, CancellationToken.None);
        var reference = new DirectoryReference(5, SHA256.HashData(signed));
        await RefusedAsync(await TestDirectory.SignAsync(_document with { Version = 1006 }), "DIRECTORY_STEP");
        await RefusedAsync(
            await TestDirectory.SignAsync(_document with { Version = long.MaxValue }), "DIRECTORY_STEP");
        (await _probe.Ledger.AlarmsAsync()).ShouldBeEmpty();

        var forged = _document with { Version = 6, Previous = reference with { Sha256 = new byte[32] } };
        await RefusedAsync(await TestDirectory.SignAsync(forged), "DIRECTORY_CONFLICT");
        await RefusedAsync(await TestDirectory.SignAsync(forged), "DIRECTORY_CONFLICT");
        (await _probe.Ledger.AlarmsAsync()).ShouldHaveSingleItem().ShouldStartWith(
            "directory-conflict publisher directory 5: ");
        (await _store.CurrentAsync(CancellationToken.None)).Version.ShouldBe(5);
        foreach (
            var bad in new[]
            {
                reference with { Version = 6 },
                reference with { Sha256 = new byte[31] },
            })
        {
            await RefusedAsync(
                await TestDirectory.SignAsync(_document with { Version = 6, Previous = bad }),
                "DIRECTORY_INCONSISTENT");
        }

        // What was skipped cannot be compared.
        await ImportAsync(_document with { Version = 1005, Previous = new DirectoryReference(1004, new byte[32]) });
        await ImportAsync(_document with { Version = 1006, Previous = null });
    }

    [Fact]
    public async Task A_peer_that_has_another_directory_under_the_same_number_raises_one_alarm()
    {
        var signed = await TestDirectory.SignAsync(_document);
        await _store.ImportAsync(signed, CancellationToken.None);
        var ours = Convert.ToHexStringLower(SHA256.HashData(signed));
        var other = new string('a', 64);
        foreach (
            var said in new[]
            {
                $"5 {ours}", $"4 {other}", $"6 {other}", "5", "", $"5  {other}", $"x {other}", $"5 {other}0",
                $"5 {other[1..]}z", $"-5 {other}",
            })
        {
            await _store.CompareAsync("gateway-b.test", said, CancellationToken.None);
        }

        (await _probe.Ledger.AlarmsAsync()).ShouldBeEmpty();
        await _store.CompareAsync("gateway-b.test", $"5 {other}", CancellationToken.None);
        await _store.CompareAsync("gateway-b.test", $"5 {other}", CancellationToken.None);
        (await _probe.Ledger.AlarmsAsync()).ShouldBe([$"directory-conflict gateway-b.test directory 5: {other}"]);
    }

    private static Signer Pinned()
    {
        var key = RSA.Create();
        key.ImportFromPem(File.ReadAllText(Path.Combine(TwoGateways.Pki, "publisher.key")));
        return new Signer(
            X509CertificateLoader.LoadCertificateFromFile(Path.Combine(TwoGateways.Pki, "publisher.pem")), key);
    }

    private static Signer Publisher(string name)
    {
        var key = RSA.Create(2048);
        return new Signer(
            new CertificateRequest($"CN=Publisher {name}", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
                .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1)),
            key);
    }

    private async Task ImportAsync(DirectoryDocument document, params Signer[] signers) =>
        await _store.ImportAsync(
            signers.Length == 0 ? await TestDirectory.SignAsync(document) : await SignAsync(document, signers),
            CancellationToken.None);

    private static Task<byte[]> SignAsync(DirectoryDocument document, params Signer[] signers) =>
        SignAsync(document.ToBytes(), signers);

    /// <summary>CMS SignedData with a SignerInfo for each, by openssl.</summary>
    private static async Task<byte[]> SignAsync(byte[] octets, params Signer[] signers)
    {
        var work = Directory.CreateTempSubdirectory("smdir").FullName;
        try
        {
            string In(string name) => Path.Combine(work, name);
            await File.WriteAllBytesAsync(In("in"), octets);
            List<string> by = [];
            foreach (var (signer, n) in signers.Select((s, n) => (s, n)))
            {
                await File.WriteAllTextAsync(In($"{n}.pem"), signer.Certificate.ExportCertificatePem());
                await File.WriteAllTextAsync(In($"{n}.key"), signer.Key.ExportPkcs8PrivateKeyPem());
                by.AddRange(["-signer", In($"{n}.pem"), "-inkey", In($"{n}.key")]);
            }

            await SoftHsm.RunAsync(
                "openssl",
                [
                    "cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-in", In("in"), "-out", In("out"),
                    .. by,
                ]);
            return await File.ReadAllBytesAsync(In("out"));
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }

    private sealed record Signer(X509Certificate2 Certificate, RSA Key);

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
