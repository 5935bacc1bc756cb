using System.Text.Json.Serialization;

namespace SecureMail.Exchange;

/// <summary>What the directory says from a day on: until another day, and not after it was withdrawn.</summary>
/// <param name="From">The first instant.</param>
/// <param name="To">The first instant at which it is over; null: open.</param>
public abstract record Dated(DateTimeOffset From, DateTimeOffset? To)
{
    /// <summary>The instant from which it is withdrawn, because the key was lost or stolen. Null: it is
    /// not.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public DateTimeOffset? RevokedAt { get; init; }

    public bool HoldsAt(DateTimeOffset at) =>
        From <= at && (To is not { } to || at < to) && (RevokedAt is not { } revoked || at < revoked);

    [JsonIgnore]
    internal bool HasOrder => To is null || To > From;
}
