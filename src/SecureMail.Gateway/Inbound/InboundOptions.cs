using System.ComponentModel;

namespace SecureMail.Gateway.Inbound;

/// <summary>How messages are taken in.</summary>
[Category("Delivery")]
public sealed record InboundOptions
{
    /// <summary>How long a message that cannot be validated yet waits before it is quarantined.</summary>
    public TimeSpan IndeterminateFor { get; init; } = TimeSpan.FromHours(4);
}
