namespace SecureMail.TestKit;

/// <summary>
/// A time-out for work that cannot be cancelled: when it is not disposed in time, the process ends and names the work.
/// It guards against work that never ends; no test asserts how long something takes.
/// </summary>
internal sealed class TimeLimit : IDisposable
{
    /// <summary>How long a test waits for anything before it fails.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    private readonly Timer _timer;

    /// <param name="what">For the person who reads why the process ended.</param>
    public TimeLimit(string what) =>
        _timer = new Timer(
            _ => Environment.FailFast($"{what} takes more than {Limit}"), null, Limit, Timeout.InfiniteTimeSpan);

    public void Dispose() => _timer.Dispose();
}
