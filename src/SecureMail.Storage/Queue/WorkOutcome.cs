namespace SecureMail.Storage.Queue;

/// <summary>What a handler answers about its work, and about the rows leased with it, where it did not complete
/// them.</summary>
public abstract record WorkOutcome
{
    private WorkOutcome() { }

    /// <summary>Completed: its row is gone.</summary>
    public sealed record Done : WorkOutcome;

    /// <summary>A timer did what was due; it falls due again after its period.</summary>
    public sealed record Recur : WorkOutcome;

    /// <summary>Failed for now; again after the back-off of its attempts.</summary>
    public sealed record Retry(string Reason) : WorkOutcome
    {
        /// <summary>A cap of its own on the delay; null: the schedule's.</summary>
        public TimeSpan? Within { get; init; }
    }

    /// <summary>Not yet; try again after a time. It does not count as an attempt.</summary>
    public sealed record Snooze(TimeSpan Delay, string Reason) : WorkOutcome;

    /// <summary>The work goes to another destination than its row says. It moves there at once and does not count as an
    /// attempt.</summary>
    public sealed record Move(string Destination) : WorkOutcome;

    /// <summary>A person must act first (a PIN, a missing key).</summary>
    public sealed record Hold(string Reason) : WorkOutcome;

    /// <summary>Given up and kept for a person to look at.</summary>
    public sealed record Dead(string Reason) : WorkOutcome;

    /// <summary>The rows of one go ended differently.</summary>
    public sealed record Each(IReadOnlyList<(WorkItem Item, WorkOutcome Outcome)> Outcomes) : WorkOutcome;
}
