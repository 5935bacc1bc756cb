using System.ComponentModel;

namespace SecureMail.Gateway.Clock;

/// <summary>How long a clock that was set is doubted.</summary>
[Category("Delivery")]
public sealed record ClockOptions
{
    /// <summary>After a step of the process' and the database's clock together: how long until the new time is
    /// believed.</summary>
    public TimeSpan ClockSettles { get; init; } = TimeSpan.FromMinutes(10);
}
