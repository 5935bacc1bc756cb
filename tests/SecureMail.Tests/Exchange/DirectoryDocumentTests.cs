using SecureMail.Exchange;
using SecureMail.Ledger;

namespace SecureMail.Tests.Exchange;

/// <summary>What a directory may say, to the last value and no further; and that no code and no address names two
/// agencies at once.</summary>
public sealed class DirectoryDocumentTests : IDisposable
{
    private static readonly DateTimeOffset Start = WireSamples.Start;

    private readonly WireSamples _samples = new();

    public void Dispose() => _samples.Dispose();

    [Fact]
    public void A_gateway_has_a_name_of_its_own_a_host_a_port_and_keys()
    {
        var directory = _samples.Directory();
        var gateway = directory.Gateways[0];
        Taken(directory with { Gateways = [gateway with { Port = 1 }] });
        Taken(directory with { Gateways = [gateway with { Port = 65535 }] });
        Taken(directory with { Gateways = [gateway with { TlsKeys = [Key(1), Key(2)] }] });
        Taken(directory with { Gateways = [gateway, Second(Key(9))] });
        using var otherLog = _samples.Key(NoteKeyKind.Log, "b.test");
        foreach (
            var bad in new[]
            {
                gateway with { Port = 0 },
                gateway with { Port = -1 },
                gateway with { Port = 65536 },
                gateway with { Host = "" },
                gateway with { TlsKeys = [] },
                gateway with { TlsKeys = [Key(0) with { Sha256 = new byte[31] }] },
                gateway with { TlsKeys = [Key(1), Key(2) with { Sha256 = new byte[33] }] },
                gateway with { TlsKeys = [null!] },
                // One key is listed once, because it authenticates one gateway.
                gateway with { TlsKeys = [Key(1), Key(1)] },
                Log(l => l with { Key = gateway.CosignerKey }),
                Cosigner(gateway.LedgerKey),
                Log(l => l with { Key = "" }),
                Cosigner("a.test+00000000+AA=="),
                Log(l => l with { Key = otherLog.Verifier.ToString() }),
                Log(l => l with { To = Start.AddDays(1) }),
                Log(l => l with { Number = 2 }),
                gateway with { Ledgers = [] },
                gateway with { Cosigners = [] },
                gateway with { Ledgers = [gateway.Ledgers[0], gateway.Ledgers[0]] },
                gateway with { TlsKeys = [Key(1) with { To = Start }] },
                null!,
            })
        {
            Refused(directory with { Gateways = [bad] }, "gateway");
        }

        Refused(directory with { Gateways = [gateway, gateway with { TlsKeys = [Key(7)] }] }, "gateway a.test");
        GatewayRecord Log(Func<LedgerRecord, LedgerRecord> change) =>
            gateway with { Ledgers = [change(gateway.Ledgers[0])] };
        GatewayRecord Cosigner(string key) =>
            gateway with { Cosigners = [gateway.Cosigners[0] with { Key = key }] };
        Refused(directory with { Gateways = [gateway, Second(gateway.TlsKeys[0])] }, "gateway b.test");
    }

    [Fact]
    public void An_agency_has_an_id_of_its_own_a_known_gateway_a_time_and_a_name()
    {
        var directory = _samples.Directory();
        var agency = directory.Agencies[0];
        var certificate = agency.Certificates[0];
        Taken(With(agency with { ValidTo = Start.AddTicks(1) }));
        Taken(With(agency with { Certificates = [] }));
        Taken(With(agency with { Parent = directory.Agencies[1].Id, Successor = directory.Agencies[1].Id }));
        Taken(With(agency with { Capabilities = [.. Enumerable.Repeat(new string('a', 64), 64)] }));
        foreach (
            var bad in new[]
            {
                agency with { Id = Guid.Empty },
                agency with { Id = directory.Agencies[1].Id },
                agency with { Gateways = [new AgencyGateway("b.test", Start, null)] },
                agency with { Gateways = [] },
                agency with { Gateways = [agency.Gateways[0], new AgencyGateway("a.test", Start.AddDays(1), null)] },
                agency with { Gateways = [agency.Gateways[0] with { To = Start }] },
                agency with { ValidTo = Start },
                agency with { ValidTo = Start.AddTicks(-1) },
                agency with { Names = [] },
                agency with { Names = [agency.Names[0], null!] },
                agency with { Certificates = [certificate, null!] },
                agency with { Certificates = [certificate, certificate with { Use = CertificateUse.Seal }] },
                agency with { Certificates = [certificate with { Der = [.. certificate.Der, 0] }] },
                agency with { Certificates = [certificate with { Der = certificate.Der[..^1] }] },
                agency with { Certificates = [certificate with { Der = [] }] },
                agency with { Capabilities = ["id-aes256-GCM", ""] },
                agency with { Parent = Guid.NewGuid() },
                agency with { Successor = Guid.NewGuid() },
                agency with { Successor = agency.Id },
                null!,
            })
        {
            Refused(With(bad), "agency");
        }

        DirectoryDocument With(AgencyRecord first) => directory with { Agencies = [first, directory.Agencies[1]] };
    }

    [Fact]
    public void A_name_is_taken_to_its_last_letter_and_no_further()
    {
        var directory = _samples.Directory();
        var agency = directory.Agencies[0];
        var name = agency.Names[0];
        // RFC 5321 §4.5.3.1.3: 254 octets without the brackets.
        var longest = new string('a', 246) + "@xa1.vnm";
        longest.Length.ShouldBe(254);
        foreach (
            var good in new[]
            {
                name with { Code = "A" },
                name with { Code = new string('A', 30) },
                name with { Name = "ậ" },
                name with { Name = new string('ậ', 200) },
                name with { Address = longest },
                name with { Address = "a@b" },
                name with { To = Start.AddTicks(1) },
            })
        {
            Taken(With(good));
        }

        foreach (
            var bad in new[]
            {
                name with { Code = "" },
                name with { Code = new string('A', 31) },
                name with { Name = "" },
                name with { Name = new string('ậ', 201) },
                name with { Name = "a\nb" },
                name with { Address = "a" + longest },
                name with { Address = "" },
                name with { Address = "xa1.test" },
                name with { Address = "@xa1.test" },
                name with { Address = "vanthu@" },
                name with { Address = "van thu@xa1.test" },
                name with { Address = "vanthu@xa1.test\u0001" },
                name with { To = Start },
                name with { To = Start.AddTicks(-1) },
            })
        {
            Refused(With(bad), "agency");
        }

        DirectoryDocument With(AgencyName only) =>
            directory with { Agencies = [agency with { Names = [only] }, directory.Agencies[1]] };
    }

    /// <summary>The first agency bears a code and an address from day to day, the second one bears the same; the days
    /// count from the start, and none is for ever.</summary>
    [Theory]
    // one after the other, in both orders of the list
    [InlineData(0, 10, 10, null, false)]
    [InlineData(10, null, 0, 10, false)]
    // at the same time: from the same day, within, across the end, for ever
    [InlineData(0, null, 0, null, true)]
    [InlineData(0, 10, 3, 4, true)]
    [InlineData(3, 4, 0, 10, true)]
    [InlineData(0, 10, 9, null, true)]
    [InlineData(9, null, 0, 10, true)]
    public void A_code_or_an_address_names_one_agency_at_a_time(
        int from, int? to, int otherFrom, int? otherTo, bool refused)
    {
        var directory = _samples.Directory();
        var (first, second) = (directory.Agencies[0], directory.Agencies[1]);
        var name = first.Names[0] with { From = Day(from), To = to is { } t ? Day(t) : null };
        var other = second.Names[0] with { From = Day(otherFrom), To = otherTo is { } o ? Day(o) : null };
        foreach (
            var (same, what) in new[]
            {
                (other with { Code = name.Code }, name.Code),
                (other with { Address = name.Address.ToUpperInvariant() }, name.Address.ToUpperInvariant()),
            })
        {
            Check(directory with { Agencies = [first with { Names = [name] }, second with { Names = [same] }] }, what);
        }

        // The same days, as the days of the agencies themselves: a name is valid only while its agency is in force.
        var always = first.Names[0] with { Code = "H90.SL.CHUNG", From = Day(-5), To = null };
        Check(
            directory with
            {
                Agencies =
                [
                    first with { ValidFrom = name.From, ValidTo = name.To, Names = [always] },
                    second with
                    {
                        ValidFrom = other.From,
                        ValidTo = other.To,
                        Names = [always with { Address = "khac@xa2.test" }],
                    },
                ],
            },
            "H90.SL.CHUNG");

        void Check(DirectoryDocument document, string what)
        {
            if (refused)
            {
                Refused(document, $"{what} names two agencies at once");
            }
            else
            {
                Taken(document);
            }
        }
    }

    [Fact]
    public void A_long_time_of_one_agency_meets_a_later_one_behind_short_times_of_its_own()
    {
        var directory = _samples.Directory();
        var (first, second) = (directory.Agencies[0], directory.Agencies[1]);
        var name = first.Names[0];
        Refused(
            directory with
            {
                Agencies =
                [
                    first with
                    {
                        Names =
                        [
                            name with { To = Day(100) },
                            name with { From = Day(10), To = Day(20) },
                            name with { From = Day(30), To = Day(40) },
                        ],
                    },
                    second with { Names = [name with { From = Day(50), To = Day(60) }] },
                ],
            },
            "names two agencies at once");
        // An agency may state its own name twice, and a name outside of the agency's time names nobody.
        Taken(directory with { Agencies = [first with { Names = [name, name] }, second] });
        Taken(
            directory with
            {
                Agencies =
                [
                    first with { ValidTo = Day(10), Names = [name, name with { From = Day(10), To = Day(20) }] },
                    second with { Names = [name with { From = Day(10) }] },
                ],
            });
    }

    private static DateTimeOffset Day(int n) => Start.AddDays(n);

    private static TlsKey Key(byte n) => new([.. Enumerable.Repeat(n, 32)], Start, null);

    private GatewayRecord Second(TlsKey tlsKey)
    {
        using var log = _samples.Key(NoteKeyKind.Log, "b.test");
        using var cosigner = _samples.Key(NoteKeyKind.Cosigner, "b.test");
        return new GatewayRecord(
            "b.test", "127.0.0.1", 2526, [tlsKey],
            [new LedgerRecord(1, log.Verifier.ToString(), Start, null, null)],
            [new CosignerRecord(cosigner.Verifier.ToString(), Start, null)]);
    }

    private static void Taken(DirectoryDocument document) =>
        DirectoryDocument.Parse(document.ToBytes()).ToBytes().ShouldBe(document.ToBytes());

    private static void Refused(DirectoryDocument document, string fault)
    {
        var refusal = Should.Throw<WireFormatException>(() => DirectoryDocument.Parse(document.ToBytes()));
        (refusal.Code, refusal.Message.Contains(fault, StringComparison.Ordinal)).ShouldBe(
            ("DIRECTORY_INCONSISTENT", true), refusal.Message);
    }
}
