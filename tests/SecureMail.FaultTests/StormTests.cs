using Xunit.Abstractions;

namespace SecureMail.FaultTests;

/// <summary>Everything fails at once and at random; nothing is lost, nothing comes twice. The long form is
/// scripts/storm.</summary>
public sealed class StormTests(ITestOutputHelper output)
{
    private static readonly StormPlan Short = new(
        Seed: 20_261_121, Dispatches: 60, Kills: 24, DatabaseStops: 2, Cuts: 12, LargestDocument: 5_000_000);

    [Fact]
    public async Task After_a_storm_every_accepted_dispatch_is_in_each_inbox_exactly_once()
    {
        await using var storm = await Storm.OpenAsync(StormPlan.FromEnvironment(Short));
        output.WriteLine(await storm.BlowAsync());
    }
}
