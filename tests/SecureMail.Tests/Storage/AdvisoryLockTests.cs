using SecureMail.Storage;

namespace SecureMail.Tests.Storage;

/// <summary>During an upgrade two releases take the same locks, so no key may change.</summary>
public sealed class AdvisoryLockTests
{
    private static readonly Guid Id = new("0192f0c3-0000-7000-8000-000000000001");

    public static TheoryData<AdvisoryLock, string> Keys() =>
        new()
        {
            { AdvisoryLock.Sequencer, "5932061857205641324" },
            { AdvisoryLock.Destruction, "5932061857205641327" },
            { AdvisoryLock.Migration, "104180040400897" },
            { AdvisoryLock.DirectoryImport, "securemail directory" },
            { AdvisoryLock.Dispatch(Id), $"dispatch {Id}" },
            { AdvisoryLock.Seen(Id, Id, Id), $"seen {Id} {Id} {Id}" },
            { AdvisoryLock.Clock("node:a"), "clock node:a" },
            { AdvisoryLock.LedgerObject("x"), "securemail ledger object x" },
            { AdvisoryLock.PeerLedger("b.test"), "securemail ledger peer b.test" },
            { AdvisoryLock.Resend("b.test"), "securemail resend b.test" },
        };

    [Theory]
    [MemberData(nameof(Keys))]
    public void A_key_stays(AdvisoryLock taken, string key) =>
        (taken.Name ?? FormattableString.Invariant($"{taken.Number}")).ShouldBe(key);
}
