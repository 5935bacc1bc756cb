namespace SecureMail.Gateway.Inbound;

/// <summary>How messages are taken in.</summary>
public sealed record InboundOptions
{
    /// <summary>How long a message that cannot be validated yet waits before it is quarantined.</summary>
    public TimeSpan IndeterminateFor { get; init; } = TimeSpan.FromHours(4);
}
