using Microsoft.Extensions.Time.Testing;
using SecureMail.Exchange;
using SecureMail.Gateway.Policy;
using SecureMail.Tests.Exchange;

namespace SecureMail.Tests.Gateway;

/// <summary>Whom a sender may reach, and what the clerk is told who may not.</summary>
public sealed class SendingRoutesTests : IDisposable
{
    private static readonly DateTimeOffset Ended = WireSamples.Start.AddDays(20);

    private readonly WireSamples _samples = new();

    public void Dispose() => _samples.Dispose();

    [Fact]
    public void An_agency_in_force_is_reached_unless_a_rule_names_it_or_all()
    {
        var directory = Directory(successor: false);
        var (first, second) = (directory.Agencies.First(), directory.Agencies.Last());
        Routes(directory).MayReach(first).ShouldBeNull();
        Routes(directory, (second.Id, "Gửi qua huyện")).MayReach(first).ShouldBeNull();
        Refused(Routes(directory, (first.Id, "Gửi qua huyện")), first, "ROUTE_REFUSED", "Gửi qua huyện");
        Refused(Routes(directory, (null, "Tạm dừng")), first, "ROUTE_REFUSED", "Tạm dừng");
        // The rule that names the agency says more than the one for all, whichever was ruled first.
        var both = Routes(directory, (null, "Tạm dừng"), (first.Id, "Gửi qua huyện"), (first.Id, "Sau này"));
        Refused(both, first, "ROUTE_REFUSED", "Gửi qua huyện");
        Refused(both, second, "ROUTE_REFUSED", "Tạm dừng");
    }

    [Fact]
    public void An_agency_that_ended_is_not_reached_and_its_successor_is_named()
    {
        var alone = Directory(successor: false);
        Refused(Routes(alone, Ended), alone.Agencies.First(), "RECIPIENT_NOT_IN_FORCE");
        var followed = Directory(successor: true);
        Refused(
            Routes(followed, Ended), followed.Agencies.First(), "RECIPIENT_SUCCEEDED", "H90.SL.102", "Đảng ủy xã số 2");
        Routes(followed, Ended.AddTicks(-1)).MayReach(followed.Agencies.First()).ShouldBeNull();
        // A successor that is not in force itself is no help.
        Refused(
            Routes(followed, WireSamples.Start.AddTicks(-1)), followed.Agencies.First(), "RECIPIENT_NOT_IN_FORCE");
    }

    private static void Refused(SendingRoutes routes, Agency recipient, string code, params string[] names)
    {
        var refusal = routes.MayReach(recipient).ShouldNotBeNull();
        refusal.Code.ShouldBe(code);
        foreach (var name in names)
        {
            refusal.Vi.ShouldContain(name);
            refusal.En.ShouldContain(name);
        }
    }

    private static SendingRoutes Routes(DirectorySnapshot directory, params (Guid? Recipient, string Reason)[] rules) =>
        new(directory, rules.ToLookup(r => r.Recipient, r => r.Reason), At(WireSamples.Start));

    private static SendingRoutes Routes(DirectorySnapshot directory, DateTimeOffset now) =>
        new(directory, Array.Empty<string>().ToLookup(_ => (Guid?)null), At(now));

    private static FakeTimeProvider At(DateTimeOffset now) => new(now);

    private DirectorySnapshot Directory(bool successor)
    {
        var document = _samples.Directory();
        var (first, second) = (document.Agencies[0], document.Agencies[1]);
        return new DirectorySnapshot(
            document with
            {
                Agencies = [first with { ValidTo = Ended, Successor = successor ? second.Id : null }, second],
            });
    }
}
