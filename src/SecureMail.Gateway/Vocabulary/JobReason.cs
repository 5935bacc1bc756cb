namespace SecureMail.Gateway.Vocabulary;

/// <summary>Why a job failed. Where an unexpected exception ended it, the reason is the name of the exception's
/// type.</summary>
public static class JobReason
{
    /// <summary>The processes that did it ended before it did, again and again.</summary>
    public const string ProcessEnded = "JOB_PROCESS_ENDED";

    /// <summary>No node that tried it has what it needs: the storage key, or a configured backup.</summary>
    public const string NotHere = "JOB_NOT_HERE";

    /// <summary>The gateway was restored from a backup meanwhile.</summary>
    public const string Restored = "JOB_RESTORED";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [ProcessEnded, NotHere, Restored];
}
