namespace SecureMail.Gateway.Vocabulary;

/// <summary>The states of a message in <c>gateway.incoming</c>.</summary>
public static class IncomingState
{
    /// <summary>The message is stored as it came and waits to be validated. Set before the answer 250.</summary>
    public const string Received = "received";

    /// <summary>The message has its verdict, its disposition and its ledger entry. Set by the recording step.</summary>
    public const string Recorded = "recorded";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Received, Recorded];
}
