using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Globalization;

namespace SecureMail.Gateway.Health;

/// <summary>From where on a node takes no new work.</summary>
[Category("Limits")]
public sealed record HealthOptions
{
    /// <summary>Bytes that must be free where the data folder and a private cluster lie. Below, the gateway still works
    /// off what it accepted and takes nothing new. Zero: not looked at.</summary>
    [ZeroOrRange(65536, long.MaxValue)]
    public long LeastFree { get; init; } = 1024L * 1024 * 1024;

    /// <summary>Bytes that must be free where temporary files are made. Zero: not looked at.</summary>
    [ZeroOrRange(65536, long.MaxValue)]
    public long LeastFreeTemporary { get; init; } = 512L * 1024 * 1024;

    /// <summary>Pieces of work that may wait to go out, and as many that may wait to be validated, over all nodes. Dead
    /// work is not counted.</summary>
    [Range(1, 10_000_000)]
    public int QueueDepth { get; init; } = 100_000;

    /// <summary>A database that takes longer than this over a few small questions and a commit is too slow for new
    /// work.</summary>
    public TimeSpan SlowDatabase { get; init; } = TimeSpan.FromSeconds(5);
}

/// <summary>A limit that zero switches off.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class ZeroOrRangeAttribute(long minimum, long maximum)
    : RangeAttribute(
        typeof(long), minimum.ToString(CultureInfo.InvariantCulture), maximum.ToString(CultureInfo.InvariantCulture))
{
    public override bool IsValid(object? value) => value is 0L || base.IsValid(value);
}
