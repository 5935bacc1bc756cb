using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace SecureMail.Gateway.Retention;

/// <summary>
/// How many days each kind of octets is kept; null: for ever. Registers, findings, alarms about other ledgers and the
/// ledger's entries are not octets and stay whatever stands here.
/// </summary>
[Category("Retention")]
public sealed record RetentionOptions
{
    // A mistyped figure must not destroy what cannot come back: a week is the least.
    private const int Week = 7;
    private const int Century = 36_500;

    /// <summary>Documents that were sent or taken in, and the signed mail that brought them. For ever: archives law
    /// sets the term of each file, and only the office knows it; it erases by name.</summary>
    [Range(Week, Century)]
    public int? Documents { get; init; }

    /// <summary>The encrypted mail that left, once every addressee has answered or was given up. It is needed to send
    /// again, no longer than a month's dispute about that.</summary>
    [Range(Week, Century)]
    public int? Composed { get; init; } = 30;

    /// <summary>The signed mail of receipts that were matched. The state and the ledger keep what they said; the
    /// signature itself is kept past the yearly inspection.</summary>
    [Range(Week, Century)]
    public int? Receipts { get; init; } = 730;

    /// <summary>Mail that was set aside or returned: long enough for a person to ask the sender, and for an
    /// inquiry.</summary>
    [Range(Week, Century)]
    public int? Quarantine { get; init; } = 180;

    /// <summary>Mail that repeated what had come before: its octets say nothing new.</summary>
    [Range(Week, Century)]
    public int? Duplicates { get; init; } = 30;

    /// <summary>Work that was given up and whose subject has come to its end all the same.</summary>
    [Range(Week, Century)]
    public int? DeadWork { get; init; } = 90;

    /// <summary>Alarms of this gateway's own about contents in conflict; those about peers' ledgers stay, being
    /// evidence.</summary>
    [Range(Week, Century)]
    public int? Alarms { get; init; } = 1095;

    /// <summary>After how long checkpoints and cosignatures are thinned to the last of each day; not below 7.</summary>
    [Range(Week, Century)]
    public int? Checkpoints { get; init; } = 30;
}
