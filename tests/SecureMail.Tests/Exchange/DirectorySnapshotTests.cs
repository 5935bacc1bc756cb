using System.Security.Cryptography.X509Certificates;
using SecureMail.Exchange;

namespace SecureMail.Tests.Exchange;

/// <summary>Who an agency was on a day: by code, by address, by its gateway's key.</summary>
public sealed class DirectorySnapshotTests : IDisposable
{
    private static readonly DateTimeOffset Start = WireSamples.Start;
    private static readonly DateTimeOffset Renamed = Start.AddDays(10);
    private static readonly DateTimeOffset Ended = Start.AddDays(20);

    private readonly WireSamples _samples = new();

    public void Dispose() => _samples.Dispose();

    [Fact]
    public void An_agency_is_found_by_the_name_of_the_day()
    {
        // The first agency bore "CU", then "MOI", then ended; the second one bears "CU" since then.
        var snapshot = Snapshot();
        var first = snapshot.Agencies.First();
        var second = snapshot.Agencies.Last();
        foreach (
            var (day, old, now) in new (DateTimeOffset, Agency?, Agency?)[]
            {
                (Start.AddTicks(-1), null, null),
                (Start, first, null),
                (Renamed.AddTicks(-1), first, null),
                (Renamed, null, first),
                (Ended.AddTicks(-1), null, first),
                (Ended, second, null),
                (Ended.AddYears(100), second, null),
            })
        {
            snapshot.FindByCode("CU", day).ShouldBe(old, $"CU {day}");
            snapshot.FindByCode("MOI", day).ShouldBe(now, $"MOI {day}");
            snapshot.FindByAddress("CU@xa.test", day).ShouldBe(old, $"cu@xa.test {day}");
            snapshot.FindByAddress("moi@XA.test", day).ShouldBe(now, $"moi@xa.test {day}");
        }

        // Codes are told apart by case, addresses are not (RFC 5321 leaves the local part to its host, which is ours).
        snapshot.FindByCode("cu", Start).ShouldBeNull();
        snapshot.FindByCode("KHONG", Start).ShouldBeNull();
        snapshot.FindByAddress("khong@xa.test", Start).ShouldBeNull();
        snapshot.FindEverByCode("MOI").ShouldBe(first);
        snapshot.FindEverByCode("KHONG").ShouldBeNull();
        snapshot.Find(first.Id).ShouldBe(first);
        snapshot.Find(Guid.NewGuid()).ShouldBeNull();
    }

    [Fact]
    public void An_agency_is_in_force_from_its_first_instant_and_not_at_its_last()
    {
        var snapshot = Snapshot();
        var first = snapshot.Agencies.First();
        foreach (
            var (day, code) in new (DateTimeOffset, string?)[]
            {
                (Start.AddTicks(-1), null),
                (Start, "CU"),
                (Renamed.AddTicks(-1), "CU"),
                (Renamed, "MOI"),
                (Ended.AddTicks(-1), "MOI"),
                (Ended, null),
            })
        {
            (first.IsInForce(day), first.NameAt(day)?.Code).ShouldBe((code is not null, code), $"{day}");
        }

        first.LastName.Code.ShouldBe("MOI");
        snapshot.Agencies.Last().IsInForce(Ended.AddYears(100)).ShouldBeTrue();
        // Between two names an agency in force has none.
        var record = first.Record with
        {
            Names = [first.Record.Names[0], first.Record.Names[1] with { From = Renamed.AddDays(1) }],
        };
        new Agency(record, Start).NameAt(Renamed).ShouldBeNull();
    }

    [Fact]
    public void Certificates_are_those_of_their_use_and_a_key_finds_its_gateway()
    {
        var document = _samples.Directory();
        var der = document.Agencies[0].Certificates[0].Der;
        var record = document.Agencies[0] with
        {
            Certificates =
            [
                new(CertificateUse.Dispatch, der, Start, Renamed),
                new(CertificateUse.Encrypt, der, Start, null),
                new(CertificateUse.Dispatch, der, Start, null) { RevokedAt = Ended },
            ],
        };
        var agency = new Agency(record, Start);
        agency.CertificatesFor(CertificateUse.Encrypt).ShouldHaveSingleItem().HoldsAt(Ended).ShouldBeTrue();
        var signing = agency.CertificatesFor(CertificateUse.Dispatch).ToList();
        signing.ShouldAllBe(c => c.Is(X509CertificateLoader.LoadCertificate(der)));
        foreach (
            var (day, first, second) in new[]
            {
                (Start.AddTicks(-1), false, false),
                (Start, true, true),
                (Renamed.AddTicks(-1), true, true),
                (Renamed, false, true),
                (Ended.AddTicks(-1), false, true),
                (Ended, false, false),
            })
        {
            signing.Select(c => c.HoldsAt(day)).ShouldBe([first, second], $"{day}");
        }

        agency.CertificatesFor(CertificateUse.Receipt).ShouldBeEmpty();

        byte[] pin = [.. Enumerable.Repeat((byte)7, 32)];
        var gateway = document.Gateways[0] with
        {
            TlsKeys = [new TlsKey(new byte[32], Start, null), new TlsKey(pin, Start, Ended)],
        };
        var snapshot = new DirectorySnapshot(document with { Gateways = [gateway] });
        snapshot.FindGatewayByTlsKey(pin, Start).ShouldBe(gateway);
        snapshot.FindGatewayByTlsKey(pin, Ended).ShouldBeNull();
        snapshot.FindGatewayByTlsKey(new byte[32], Ended).ShouldBe(gateway);
        snapshot.FindGatewayByTlsKey([.. Enumerable.Repeat((byte)8, 32)], Start).ShouldBeNull();
        snapshot.FindGatewayByTlsKey(pin.AsSpan(0, 31), Start).ShouldBeNull();
        snapshot.FindGateway(WireSamples.Gateway).ShouldBe(gateway);
        snapshot.FindGateway("A.TEST").ShouldBeNull();
        (snapshot.Version, snapshot.Issued, snapshot.Gateways.Single()).ShouldBe((1, Start, gateway));
    }

    private DirectorySnapshot Snapshot()
    {
        var document = _samples.Directory();
        var (first, second) = (document.Agencies[0], document.Agencies[1]);
        return new DirectorySnapshot(
            document with
            {
                Agencies =
                [
                    first with
                    {
                        ValidTo = Ended,
                        Names =
                        [
                            new AgencyName("CU", "Xã Cũ", "cu@xa.test", Start.AddDays(-1), Renamed),
                            new AgencyName("MOI", "Xã Mới", "moi@xa.test", Renamed, null),
                        ],
                    },
                    second with { Names = [new AgencyName("CU", "Xã Cũ", "cu@xa.test", Ended, null)] },
                ],
            });
    }
}
