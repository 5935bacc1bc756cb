namespace SecureMail.Gateway.Vocabulary;

/// <summary>The states of a job in <c>gateway.job</c>.</summary>
public static class JobState
{
    /// <summary>Asked for; no node does it. Set by the request, and when a node gave the job back.</summary>
    public const string Requested = "requested";

    /// <summary>A node does it and holds its lease.</summary>
    public const string Running = "running";

    /// <summary>It came to its end; the result says what was found or made.</summary>
    public const string Done = "done";

    /// <summary>It is not tried any more; the reason says why.</summary>
    public const string Failed = "failed";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Requested, Running, Done, Failed];
}
