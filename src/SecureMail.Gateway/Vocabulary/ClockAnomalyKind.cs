using SecureMail.Ledger;

namespace SecureMail.Gateway.Vocabulary;

/// <summary>What is wrong with a clock: the column <c>kind</c> of <c>gateway.clock_anomaly</c>.</summary>
public static class ClockAnomalyKind
{
    /// <summary>The clock of a node or of the database was moved. Set by the clock watch.</summary>
    public const string Stepped = "stepped";

    /// <summary>The clock of a node and that of the database show different times. Set by the clock watch.</summary>
    public const string Apart = "apart";

    /// <summary>A peer's signatures lie in our future. Set when a message of the peer is validated.</summary>
    public const string Peer = "peer";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Stepped, Apart, Peer];

    /// <summary>The kind of the ledger entry that begins such an anomaly.</summary>
    /// <exception cref="ArgumentException">Not a kind of anomaly.</exception>
    public static string EntryOf(string kind) =>
        kind switch
        {
            Stepped => EntryKind.ClockStepped,
            Apart => EntryKind.ClockApart,
            Peer => EntryKind.ClockPeer,
            _ => throw new ArgumentException($"There is no clock anomaly of the kind {kind}."),
        };

    /// <summary>The kind of the alarm that begins with such an anomaly.</summary>
    /// <exception cref="ArgumentException">Not a kind of anomaly.</exception>
    public static string AlarmOf(string kind) =>
        kind switch
        {
            Stepped => AlarmKind.ClockStepped,
            Apart => AlarmKind.ClockApart,
            Peer => AlarmKind.ClockPeer,
            _ => throw new ArgumentException($"There is no clock anomaly of the kind {kind}."),
        };
}
