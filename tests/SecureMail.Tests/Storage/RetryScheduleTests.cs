using SecureMail.Storage.Queue;

namespace SecureMail.Tests.Storage;

/// <summary>The retry schedule, run on a clock that is only counted.</summary>
public sealed class RetryScheduleTests
{
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);

    [Theory]
    [InlineData(int.MinValue, 2)]
    [InlineData(0, 2)]
    [InlineData(1, 2)]
    [InlineData(2, 4)]
    [InlineData(5, 32)]
    [InlineData(10, 1024)]
    [InlineData(11, 1800)]
    [InlineData(1000, 1800)]
    [InlineData(int.MaxValue, 1800)]
    public void The_delay_doubles_to_half_an_hour_give_or_take_a_quarter(int failures, double seconds)
    {
        var random = new Random(7);
        var delays = Enumerable
            .Range(0, 200)
            .Select(_ => RetrySchedule.OfWork.After(failures, random).TotalSeconds)
            .ToList();
        delays.ShouldAllBe(d => d >= seconds * 0.75 && d <= seconds * 1.25);
        delays.Distinct().Count().ShouldBeGreaterThan(100);
        // Both halves of the span are used: it is a spread, not a shift.
        delays.Count(d => d < seconds).ShouldBeInRange(60, 140);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(42)]
    [InlineData(4711)]
    public void A_message_is_tried_a_few_times_in_its_first_minutes_and_then_about_twice_an_hour(int seed)
    {
        var tries = Tries(RetrySchedule.OfWork, TimeSpan.FromDays(5), seed);
        tries.Count(t => t < TimeSpan.FromMinutes(1)).ShouldBeInRange(5, 7);
        tries.Count(t => t < Hour).ShouldBeInRange(10, 13);
        // RFC 5321 §4.5.4.1: in the long run half an hour apart.
        tries.Count(t => t >= Hour).ShouldBeInRange(220, 250);
        tries.Zip(tries.Skip(1), (a, b) => b - a).Max().ShouldBeLessThanOrEqualTo(TimeSpan.FromMinutes(37.5));
    }

    [Fact]
    public void A_destination_that_comes_back_is_found_within_its_cap()
    {
        foreach (var seed in Enumerable.Range(0, 50))
        {
            var probes = Tries(RetrySchedule.OfDestination, TimeSpan.FromDays(2), seed);
            probes.Zip(probes.Skip(1), (a, b) => b - a).Max().ShouldBeLessThanOrEqualTo(TimeSpan.FromSeconds(75));
            probes.Count.ShouldBeInRange(2750, 3050);
        }
    }

    [Fact]
    public void A_hundred_senders_do_not_come_back_in_one_moment()
    {
        // All of them failed at once, ten times: where they stand now is spread over most of a minute, no quarter of
        // them within three seconds.
        var random = new Random(3);
        var next = Enumerable
            .Range(0, 100)
            .Select(_ => Enumerable.Range(1, 10).Sum(n => RetrySchedule.OfDestination.After(n, random).TotalSeconds))
            .Order()
            .ToList();
        (next[^1] - next[0]).ShouldBeGreaterThan(45);
        Enumerable.Range(0, 75).ShouldAllBe(i => next[i + 25] - next[i] > 3);
    }

    private static List<TimeSpan> Tries(RetrySchedule schedule, TimeSpan until, int seed)
    {
        var random = new Random(seed);
        List<TimeSpan> tries = [];
        for (var (now, failures) = (TimeSpan.Zero, 0); now < until; now += schedule.After(++failures, random))
        {
            tries.Add(now);
        }

        return tries;
    }
}
