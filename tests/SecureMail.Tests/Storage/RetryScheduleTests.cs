using SecureMail.Storage.Queue;

namespace SecureMail.Tests.Storage;

/// <summary>The retry schedule, run on a clock that is only counted.</summary>
public sealed class RetryScheduleTests
{
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);

    // Failures in a row, and the seconds until the next try: the least, the middle and the most that the jitter gives.
    [Theory]
    [InlineData(1, 1.5, 2, 2.5)]
    [InlineData(2, 3, 4, 5)]
    [InlineData(3, 6, 8, 10)]
    [InlineData(4, 12, 16, 20)]
    [InlineData(5, 24, 32, 40)]
    [InlineData(6, 48, 64, 80)]
    [InlineData(7, 96, 128, 160)]
    [InlineData(8, 192, 256, 320)]
    [InlineData(9, 384, 512, 640)]
    [InlineData(10, 768, 1024, 1280)]
    [InlineData(11, 1350, 1800, 2250)]
    [InlineData(12, 1350, 1800, 2250)]
    [InlineData(int.MaxValue, 1350, 1800, 2250)]
    [InlineData(0, 1.5, 2, 2.5)]
    [InlineData(int.MinValue, 1.5, 2, 2.5)]
    public void Work_is_tried_again_after_seconds_at_first_and_half_an_hour_in_the_end(
        int failures, double least, double middle, double most)
    {
        new[] { 0, 0.5, 1 }
            .Select(n => RetrySchedule.OfWork.After(failures, new Drawn(n)).TotalSeconds)
            .ShouldBe([least, middle, most]);
    }

    [Theory]
    [InlineData(1, 1.5, 2.5)]
    [InlineData(5, 24, 40)]
    [InlineData(6, 45, 75)]
    [InlineData(7, 45, 75)]
    [InlineData(1000, 45, 75)]
    public void A_destination_is_probed_after_seconds_at_first_and_a_minute_in_the_end(
        int failures, double least, double most)
    {
        new[] { 0.0, 1 }
            .Select(n => RetrySchedule.OfDestination.After(failures, new Drawn(n)).TotalSeconds)
            .ShouldBe([least, most]);
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

    /// <summary>What is drawn is always this.</summary>
    private sealed class Drawn(double number) : Random
    {
        public override double NextDouble() => number;
    }
}
