using SecureMail.Mail;

namespace SecureMail.Gateway.Health;

/// <summary>What one node may cost, and from where on it takes nothing new.</summary>
public sealed record GatewayLimits
{
    /// <summary>Octets that must be free where the data folder and a database of our own lie. Below, what was accepted
    /// is still worked off and nothing new is taken. Zero: not looked at.</summary>
    public long LeastFree { get; init; } = 1024L * 1024 * 1024;

    /// <summary>Octets that must be free where temporary files are made. Zero: not looked at.</summary>
    public long LeastFreeTemporary { get; init; } = 512L * 1024 * 1024;

    /// <summary>Pieces of work that may wait to go out, and as many that may wait to be judged, over all nodes; those
    /// given up are not counted.</summary>
    public int QueueDepth { get; init; } = 100_000;

    /// <summary>A database that takes longer than this over a few small questions and a commit is too slow for new
    /// work.</summary>
    public TimeSpan SlowDatabase { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>What the listener for mail bears. The size of a message is
    /// <see cref="GatewayOptions.LargestMessage"/>.</summary>
    public SmtpServerLimits Smtp { get; init; } = new();
}
