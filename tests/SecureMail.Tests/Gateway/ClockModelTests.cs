using SecureMail.Gateway.Clock;

namespace SecureMail.Tests.Gateway;

/// <summary>What is believed of two clocks: each row of the table is a history, with what is believed at its
/// end.</summary>
public sealed class ClockModelTests
{
    private static readonly DateTimeOffset Start = new(2026, 11, 30, 8, 0, 0, TimeSpan.Zero);
    private static readonly TimeSpan Settles = TimeSpan.FromMinutes(10);

    public static TheoryData<string, string, bool, bool, string?> Histories() =>
        new()
        {
            // What happened, as steps: own+N and db+N set a clock by N seconds, wait N lets time pass, look compares.
            { "nothing happened", "look wait60 look", false, false, null },
            { "NTP slews", "look own+2 wait60 look db-3 wait60 look", false, false, null },
            { "own clock leaps", "look own+3600 look", true, true, "stepped" },
            { "own clock is set back", "look own-3600 look", true, true, "stepped" },
            { "own clock leaps and is corrected", "look own+3600 look own-3600 look", false, false, "stepped" },
            { "own clock flaps", "look own+3600 own-3600 look", false, false, null },
            { "database leaps", "look db+3600 look", true, true, null },
            { "both leap together", "look own+3600 db+3600 look", true, false, "stepped" },
            {
                "both leap together and time passes", "look own+3600 db+3600 look wait600 look", false, false,
                "stepped"
            },
            { "both leap, time is short", "look own+3600 db+3600 look wait599 look", true, false, "stepped" },
            { "apart from the start", "db+120 look", false, true, "apart" },
            { "far apart from the start", "db+200 look", true, true, "apart" },
            { "a step below the limit", "look own+9 look", false, false, null },
            { "a step at the limit that agrees with the database", "db+10 look own+10 look", false, false, "stepped" },
        };

    [Theory]
    [MemberData(nameof(Histories))]
    public void What_is_believed_after(string what, string history, bool isDoubted, bool isApart, string? anomaly)
    {
        var world = new World();
        world.Play(history);
        world.Model.IsDoubted.ShouldBe(isDoubted, what);
        world.Model.IsApart.ShouldBe(isApart, what);
        world.Anomaly.ShouldBe(anomaly, what);
    }

    [Fact]
    public void An_anomaly_begins_once_and_ends_after_a_moment_of_quiet()
    {
        var world = new World();
        world.Play("look own+3600 look");
        world.Model.HasBegun();
        world.Play("own+3600 look");
        world.Model.BeginningAnomaly.ShouldBeNull();
        world.Play("own-7200 look");
        world.Model.AreAnomaliesOver().ShouldBeFalse();
        world.Play("wait10 look");
        world.Model.AreAnomaliesOver().ShouldBeTrue();
        world.Model.HasEnded();
        world.Model.AreAnomaliesOver().ShouldBeFalse();
    }

    [Fact]
    public void The_doubt_matters_for_a_number_only_where_it_makes_another_year()
    {
        var world = new World();
        world.Play("look own+3600 look");
        world.Model.IsYearDoubted(Start).ShouldBeFalse();
        // An hour before midnight of 31 December in Vietnam, UTC+7.
        world.Model.IsYearDoubted(new DateTimeOffset(2026, 12, 31, 17, 30, 0, TimeSpan.Zero)).ShouldBeTrue();
    }

    [Fact]
    public void A_steady_time_counts_no_step_of_the_database()
    {
        var world = new World();
        world.Play("look wait5 look");
        var before = world.Model.SteadyTime(world.Elapsed)!.Value;
        world.Play("db+3600 wait5 look");
        (world.Model.SteadyTime(world.Elapsed) - before).ShouldBe(TimeSpan.FromSeconds(5));
        (world.Model.ExpectedOfDatabase(world.Elapsed) - before).ShouldBe(TimeSpan.FromSeconds(3605));
    }

    [Fact]
    public void A_time_read_before_a_step_says_nothing_of_other_clocks()
    {
        var world = new World();
        world.Play("look wait60 look");
        world.Model.RanAsNowAt(Start).ShouldBeTrue();
        world.Model.RanAsNowAt(Start.AddDays(1)).ShouldBeFalse();
        world.Play("own+3600 look own-3600 look wait10 look");
        world.Model.RanAsNowAt(Start).ShouldBeFalse();
        world.Model.RanAsNowAt(world.Own).ShouldBeTrue();
    }

    [Fact]
    public void A_clock_that_is_behind_its_ledger_is_doubted()
    {
        var world = new World();
        world.Model.FoundBehindLedger(TimeSpan.FromHours(1));
        world.Model.IsDoubted.ShouldBeTrue();
        world.Model.BeginningAnomaly!.Value.By.ShouldBe(-TimeSpan.FromHours(1));
    }

    /// <summary>Two clocks and a counter.</summary>
    private sealed class World
    {
        private DateTimeOffset _database = Start;
        private TimeSpan _leapt;

        public ClockModel Model { get; } = new(Settles, new ClockReading(TimeSpan.Zero, Start));

        public TimeSpan Elapsed { get; private set; }

        public DateTimeOffset Own { get; private set; } = Start;

        /// <summary>The first anomaly that a look found.</summary>
        public string? Anomaly { get; private set; }

        public void Play(string history)
        {
            foreach (var step in history.Split(' '))
            {
                var digits = step.IndexOfAny(['+', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
                var span = digits < 0
                    ? TimeSpan.Zero
                    : TimeSpan.FromSeconds(
                        int.Parse(step[digits..], System.Globalization.CultureInfo.InvariantCulture));
                switch (digits < 0 ? step : step[..digits])
                {
                    case "own":
                        Own += span;
                        break;
                    case "db":
                        _database += span;
                        break;
                    case "wait":
                        (Elapsed, Own, _database) = (Elapsed + span, Own + span, _database + span);
                        break;
                    default:
                        Look();
                        break;
                }
            }
        }

        private void Look()
        {
            var reading = new ClockReading(Elapsed, _database);
            var step = Model.StepOfDatabase(reading);
            _leapt += step;
            Model.ReadDatabase(reading, _leapt, step, new ClockReading(Elapsed, Own));
            Anomaly ??= Model.BeginningAnomaly?.Kind;
            Model.HasWritten(Model.Unwritten);
        }
    }
}
