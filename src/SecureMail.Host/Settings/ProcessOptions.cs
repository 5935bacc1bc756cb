using System.ComponentModel.DataAnnotations;
using System.Net;
using Microsoft.Extensions.Configuration;

namespace SecureMail.Host.Settings;

/// <summary>What the process is told beside the settings of the gateway's folders.</summary>
internal sealed record ProcessOptions
{
    /// <summary>The data folder; null: the folder that the system keeps for such data.</summary>
    [DataType("path")]
    public string? Data { get; init; }

    /// <summary>Where the console listens. It has no sign-in yet.</summary>
    [Loopback]
    public IPEndPoint Http { get; init; } = new(IPAddress.Loopback, 8080);

    /// <summary>Where metrics and traces go; null: nowhere.</summary>
    [ConfigurationKeyName("Telemetry:Otlp")]
    public Uri? Otlp { get; init; }
}

/// <summary>An address that no other machine reaches.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class LoopbackAttribute : ValidationAttribute
{
    public override bool IsValid(object? value) => value is IPEndPoint point && IPAddress.IsLoopback(point.Address);
}
