using System.Text.Json.Serialization;

namespace SecureMail.Storage.Queue;

/// <summary>A row to be shown. Errors in it carry no subject, body or secret.</summary>
public sealed class WorkRow
{
    public long Id { get; init; }

    public string Kind { get; init; } = "";

    public Guid Subject { get; init; }

    public string State { get; init; } = "";

    public DateTime RunAt { get; init; }

    public int Attempts { get; init; }

    /// <summary>See <see cref="WorkItem.Failures"/>.</summary>
    public int Failures { get; init; }

    public long? AwaitsEntry { get; init; }

    public string? LastError { get; init; }

    /// <summary>The gateway that the work goes to; null for work that goes nowhere, or whose destination is not known
    /// yet.</summary>
    [JsonPropertyName("lane")]
    public string? Destination { get; init; }

    /// <summary>When that gateway is tried again; null when it is not backing off.</summary>
    [JsonPropertyName("laneNotBefore")]
    public DateTime? DestinationNotBefore { get; init; }
}
