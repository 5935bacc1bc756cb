namespace SecureMail.Storage.Queue;

/// <summary>
/// When something is tried again: soon at first, then with doubling delays up to a cap, each with a jitter of its own.
/// </summary>
/// <remarks>
/// RFC 5321 §4.5.4.1 asks for at least 30 minutes between tries of one message, or better for a strategy that knows why
/// the last try failed; it expects "two connection attempts in the first hour … and then backing off to one every two
/// or three hours", and four to five days before giving up. Postfix begins at 5 minutes and ends at 67. Both protect
/// strangers from thousands of senders. Our destinations are a few known gateways, restarted in seconds and asked by
/// one probe for a whole destination, not by one try for each message; so the first steps are seconds, doubling to a
/// cap of the same order as theirs. The jitter is a quarter either way: after an outage neither all rows nor all
/// senders come back in one moment.
/// </remarks>
/// <param name="First">Before the second try.</param>
/// <param name="Longest">The cap, before jitter.</param>
public sealed record RetrySchedule(TimeSpan First, TimeSpan Longest)
{
    /// <summary>For one piece of work, where the failure concerns it alone.</summary>
    public static RetrySchedule OfWork { get; } = new(TimeSpan.FromSeconds(2), TimeSpan.FromMinutes(30));

    /// <summary>
    /// For a destination. The cap is far lower, because a probe is one connection a minute and everything for the
    /// destination waits for it. In a storm of ten minutes a cap of ten minutes kept whole destinations shut long after
    /// their gateways were back.
    /// </summary>
    public static RetrySchedule OfDestination { get; } = new(TimeSpan.FromSeconds(2), TimeSpan.FromMinutes(1));

    /// <summary>How long to wait after so many failures in a row.</summary>
    /// <param name="failures">From 1; a smaller number counts as 1.</param>
    public TimeSpan After(int failures) => After(failures, Random.Shared);

    internal TimeSpan After(int failures, Random random)
    {
        var exact = Math.Min(Longest.TotalSeconds, First.TotalSeconds * Math.Pow(2, Math.Clamp(failures, 1, 30) - 1));
        return TimeSpan.FromSeconds(exact * (0.75 + (random.NextDouble() / 2)));
    }
}
