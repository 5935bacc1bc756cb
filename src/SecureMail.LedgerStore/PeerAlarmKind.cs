namespace SecureMail.LedgerStore;

/// <summary>The kinds of alarms about a peer's ledger: the column <c>kind</c> of <c>ledger.alarm</c>. Set by <see
/// cref="PeerLedger"/>.</summary>
public static class PeerAlarmKind
{
    /// <summary>The peer signed two histories of its ledger.</summary>
    public const string Fork = "fork";

    /// <summary>The peer was asked to prove that an earlier checkpoint belongs to its ledger, and did not.</summary>
    public const string Rollback = "rollback";

    /// <summary>A checkpoint that the peer's key did not sign.</summary>
    public const string BadSignature = "bad-signature";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Fork, Rollback, BadSignature];
}
