namespace SecureMail.Gateway.Vocabulary;

/// <summary>The states of a restored gateway in <c>gateway.restoration</c>.</summary>
public static class RestorationState
{
    /// <summary>The gateway is closed and asks its peers what they hold of its ledger. Set by the restore.</summary>
    public const string Asking = "asking";

    /// <summary>Every peer agrees, or is excused; the gateway is open. Set when the last answer is in.</summary>
    public const string Proven = "proven";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Asking, Proven];
}
