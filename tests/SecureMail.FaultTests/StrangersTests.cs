using System.Text.RegularExpressions;

namespace SecureMail.FaultTests;

/// <summary>scripts/strangers in its short form: every dispatch arrives beside 600 strangers. Its times are for a quiet
/// machine and are not looked at here.</summary>
public sealed partial class StrangersTests
{
    [Fact]
    public async Task Beside_six_hundred_strangers_every_dispatch_is_delivered_and_acknowledged()
    {
        var folder = Directory.CreateTempSubdirectory("smstrange").FullName;
        try
        {
            var said = await SoftHsm.RunAsync(
                // The script makes tokens of its own; those of the other tests must stay.
                "env", "-u", "SECUREMAIL_DEV_SOFTHSM2_CONF", "-u", "SOFTHSM2_CONF",
                $"SECUREMAIL_STRANGERS_FOLDER={Path.Combine(folder, "run")}",
                $"SECUREMAIL_DEV_PKI={Path.Combine(folder, "pki")}",
                Path.Combine(Repository.Root, "scripts", "strangers"), "--seconds", "20");
            var counts = Counts().Matches(said).Select(m => m.Groups.Values.Skip(1).Select(g => g.Value).Distinct());
            counts.Count().ShouldBe(2, said);
            counts.ShouldAllBe(c => c.Count() == 1, said);
            Strangers().IsMatch(said).ShouldBeTrue(said);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [GeneratedRegex("accepted ([1-9][0-9]*), delivered ([0-9]+), acknowledged ([0-9]+)")]
    private static partial Regex Counts();

    [GeneratedRegex("[1-9][0-9]{2,} connections of 600 strangers")]
    private static partial Regex Strangers();
}
