namespace SecureMail.Ledger;

/// <summary>A person who acts, and what gives that person the right to.</summary>
/// <param name="Actor">The person's random UUID. It tells nothing about the person by itself.</param>
/// <param name="Grant">The id of the grant or approval that is used; the alphabet of
/// <see cref="LedgerEntry.Object"/>. Null: none is needed.</param>
public sealed record Authority(Guid Actor, string? Grant = null);
