namespace SecureMail.Gateway.Vocabulary;

/// <summary>What a peer answered a restored gateway: the states in <c>gateway.restoration_peer</c>.</summary>
public static class RestorationPeerState
{
    /// <summary>The peer has not answered yet.</summary>
    public const string Waiting = "waiting";

    /// <summary>The restored ledger contains everything that the peer holds of it.</summary>
    public const string Consistent = "consistent";

    /// <summary>The peer holds more entries than were restored.</summary>
    public const string Ahead = "ahead";

    /// <summary>The peer holds another root for the same size.</summary>
    public const string Fork = "fork";

    /// <summary>An operator decided to go on without this peer's answer.</summary>
    public const string Excused = "excused";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Waiting, Consistent, Ahead, Fork, Excused];
}
