using System.Text.Json;
using System.Text.Json.Serialization;

namespace SecureMail.Gateway.Jobs;

/// <summary>A job as it stands. Times are UTC.</summary>
public sealed class JobRow
{
    public Guid Id { get; init; }

    /// <summary>One of <see cref="Vocabulary.JobKind"/>.</summary>
    public string Kind { get; init; } = "";

    /// <summary>One of <see cref="Vocabulary.JobState"/>.</summary>
    public string State { get; init; } = "";

    public DateTime RequestedAt { get; init; }

    /// <summary>The person who asked for it; null: the gateway itself, or the command line.</summary>
    public Guid? RequestedBy { get; init; }

    public DateTime? StartedAt { get; init; }

    public DateTime? EndedAt { get; init; }

    /// <summary>How often a node began it.</summary>
    public int Runs { get; init; }

    /// <summary>How much is done, and of how much: blobs, entries or bytes, as the kind has it.</summary>
    public long Done { get; init; }

    /// <summary>Null: not known.</summary>
    public long? Total { get; init; }

    /// <summary>What was found or made; null before the end.</summary>
    public JsonElement? Result => ResultText is null ? null : JsonSerializer.Deserialize<JsonElement>(ResultText);

    /// <summary>Why it failed: one of <see cref="Vocabulary.JobReason"/>, or the name of an exception's type.</summary>
    public string? Reason { get; init; }

    [JsonIgnore]
    public string? ResultText { get; init; }

    [JsonIgnore]
    internal string? Argument { get; init; }

    [JsonIgnore]
    internal DateTime? LeaseUntil { get; init; }

    [JsonIgnore]
    internal string? LeaseOwner { get; init; }
}
