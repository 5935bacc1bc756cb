namespace SecureMail.Gateway.Clock;

/// <summary>
/// <see cref="ClockWatch.SteadyNow"/> for a library that wants a clock: all nodes have the same, and no step of any
/// clock stops or hurries what recurs. Before the first look, the process' own.
/// </summary>
internal sealed class StepTolerantTimeProvider(ClockWatch clock, TimeProvider time) : TimeProvider
{
    public override DateTimeOffset GetUtcNow() => clock.SteadyNow ?? time.GetUtcNow();

    public override long TimestampFrequency => time.TimestampFrequency;

    public override long GetTimestamp() => time.GetTimestamp();

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        time.CreateTimer(callback, state, dueTime, period);
}
