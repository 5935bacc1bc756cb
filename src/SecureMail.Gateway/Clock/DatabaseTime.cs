namespace SecureMail.Gateway.Clock;

/// <summary>
/// The database's time for a library that wants a clock: all nodes have the same, and no node's own clock stops or hurries what recurs. Before the first look, the process' own.
/// </summary>
internal sealed class DatabaseTime(ClockWatch clock, TimeProvider time) : TimeProvider
{
    public override DateTimeOffset GetUtcNow() => clock.DatabaseNow is { } now ? new DateTimeOffset(now, TimeSpan.Zero) : time.GetUtcNow();

    public override long TimestampFrequency => time.TimestampFrequency;

    public override long GetTimestamp() => time.GetTimestamp();

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) => time.CreateTimer(callback, state, dueTime, period);
}
