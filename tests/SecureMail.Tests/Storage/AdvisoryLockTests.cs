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
            { AdvisoryLock.DirectoryImport, "hashtextextended('securemail directory', 0)" },
            { AdvisoryLock.Dispatch(Id), $"hashtextextended('dispatch {Id}', 0)" },
            { AdvisoryLock.Seen(Id, Id, Id), $"hashtextextended('seen {Id} {Id} {Id}', 0)" },
            { AdvisoryLock.Clock("node:a'b"), "hashtextextended('clock node:a''b', 0)" },
            { AdvisoryLock.LedgerObject("x"), "hashtextextended('securemail ledger object x', 0)" },
            { AdvisoryLock.PeerLedger("b.test"), "hashtextextended('securemail ledger peer b.test', 0)" },
            { AdvisoryLock.Resend("b.test"), "hashtextextended('securemail resend b.test', 0)" },
        };

    [Theory]
    [MemberData(nameof(Keys))]
    public void A_key_stays(AdvisoryLock taken, string key) =>
        taken.Statement.ShouldBe($"SELECT pg_advisory_xact_lock({key})");
}
