using Microsoft.Extensions.Logging.Abstractions;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;

namespace SecureMail.SystemTests.Gateway;

/// <summary>One node's watch over its own clock, which the test sets wrong, and the database's, which is
/// right.</summary>
public sealed class ClockWatchTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);

    // An hour and a half before the end, and the middle, of a year of Vietnam (UTC+7).
    private static readonly DateTimeOffset NewYearsEve = new(2027, 12, 31, 15, 30, 0, TimeSpan.Zero);
    private static readonly DateTimeOffset MidYear = new(2027, 6, 30, 15, 30, 0, TimeSpan.Zero);

    [Fact]
    public async Task Before_the_first_look_nothing_is_known_of_the_database_and_nothing_is_doubted()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        using var watch = Watch(pair.A, new ShiftedTime(TimeSpan.Zero));
        (watch.DatabaseNow, watch.SteadyNow, watch.IsDoubted, watch.IsApart).ShouldBe((null, null, false, false));
        await watch.LookAsync(CancellationToken.None);
        (watch.DatabaseNow, watch.SteadyNow).ShouldNotBe((null, null));
        (watch.IsDoubted, watch.IsApart).ShouldBe((false, false));
    }

    [Fact]
    public async Task A_step_of_the_own_clock_is_doubted_at_once_and_moves_no_interval()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var time = new ShiftedTime(TimeSpan.Zero);
        using var watch = Watch(pair.A, time);
        await watch.StartAsync("node", CancellationToken.None);
        var steady = watch.SteadyNow!.Value;
        time.By = Hour;
        // No look was needed.
        watch.IsDoubted.ShouldBeTrue();
        (watch.SteadyNow!.Value - steady).ShouldBeLessThan(Hour);
        watch.RanAsNowAt(time.GetUtcNow()).ShouldBeFalse();
    }

    [Fact]
    public async Task A_step_is_written_once_with_an_alarm_and_once_more_when_it_is_over()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var time = new ShiftedTime(TimeSpan.Zero);
        using var watch = Watch(pair.A, time, settles: TimeSpan.Zero);
        await watch.StartAsync("node", CancellationToken.None);
        time.By = Hour;
        for (var n = 0; n < 3; n++)
        {
            await watch.LookAsync(CancellationToken.None);
        }

        (await EntriesAsync(pair.A)).ShouldBe(new Dictionary<string, long> { [EntryKind.ClockStepped] = 1 });
        (await pair.A.Node.Ledger.AlarmsAsync(CancellationToken.None))
            .ShouldHaveSingleItem()
            .Kind.ShouldBe(AlarmKind.ClockStepped);
        watch.IsDoubted.ShouldBeTrue();

        time.By = TimeSpan.Zero;
        await watch.LookAsync(CancellationToken.None);
        watch.IsDoubted.ShouldBeFalse();
        (await pair.A.Probe.Clock.OpenAnomaliesAsync()).ShouldBe(0);
        (await EntriesAsync(pair.A)).ShouldBe(
            new Dictionary<string, long> { [EntryKind.ClockStepped] = 1, [EntryKind.ClockSettled] = 1 },
            ignoreOrder: true);
    }

    [Fact]
    public async Task A_doubt_refuses_a_number_only_where_it_makes_the_difference_of_a_year()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var time = new ShiftedTime(TimeSpan.Zero);
        using var watch = Watch(pair.A, time);
        await watch.StartAsync("node", CancellationToken.None);
        await watch.RequireYearAsync(NewYearsEve, CancellationToken.None);
        time.By = 2 * Hour;
        await watch.RequireYearAsync(MidYear, CancellationToken.None);
        // It was two hours less before the step: the same year at half past ten, another at half past midnight.
        await watch.RequireYearAsync(NewYearsEve, CancellationToken.None);
        await Should.ThrowAsync<ClockSuspectException>(() =>
            watch.RequireYearAsync(NewYearsEve + (2 * Hour), CancellationToken.None));
    }

    [Fact]
    public async Task A_command_that_nobody_watches_for_looks_by_itself_before_it_draws_a_number()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        using var watch = Watch(pair.A, new ShiftedTime(-2 * Hour));
        watch.IsDoubted.ShouldBeFalse();
        // Its clock is two hours behind the database's: by that one the year is over.
        await Should.ThrowAsync<ClockSuspectException>(() =>
            watch.RequireYearAsync(NewYearsEve, CancellationToken.None));
        watch.IsApart.ShouldBeTrue();
        (await EntriesAsync(pair.A)).ShouldBeEmpty();
    }

    [Fact]
    public async Task A_peer_that_is_ahead_is_written_down_once_and_not_over_with_its_next_message()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        using var watch = Watch(pair.A, new ShiftedTime(TimeSpan.Zero));
        await watch.StartAsync("node", CancellationToken.None);
        await watch.PeerIsAheadAsync("gateway-b.test", Hour, CancellationToken.None);
        await watch.PeerIsAheadAsync("gateway-b.test", 2 * Hour, CancellationToken.None);
        await watch.PeerAgreesAsync("gateway-b.test", CancellationToken.None);
        await watch.PeerAgreesAsync("gateway-c.test", CancellationToken.None);
        // Messages signed before and after a correction come mixed: an hour must pass.
        (await pair.A.Probe.Clock.OpenAnomaliesAsync()).ShouldBe(1);
        await watch.PeerIsAheadAsync("gateway-b.test", Hour, CancellationToken.None);
        (await EntriesAsync(pair.A)).ShouldBe(new Dictionary<string, long> { [EntryKind.ClockPeer] = 1 });
    }

    private static ClockWatch Watch(RunningGateway gateway, TimeProvider time, TimeSpan? settles = null) =>
        new(
            gateway.Node.Database, new ClockOptions { ClockSettles = settles ?? TimeSpan.FromMinutes(10) }, time,
            NullLogger<ClockWatch>.Instance);

    private static Task<IReadOnlyDictionary<string, long>> EntriesAsync(RunningGateway gateway) =>
        gateway.Probe.Ledger.EntriesByKindAsync("clock.");
}
