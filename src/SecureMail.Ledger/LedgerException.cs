namespace SecureMail.Ledger;

/// <summary>The kinds of ledger errors, by what the caller does next.</summary>
public enum LedgerFault
{
    /// <summary>Bytes from outside do not have the form that docs/ledger.md gives. Refuse them.</summary>
    Malformed,

    /// <summary>Bytes from outside are over a limit. Refuse them.</summary>
    TooLarge,

    /// <summary>A key file is missing, readable by others, or not an Ed25519 key. A person must correct it.</summary>
    KeyUnreadable,

    /// <summary>The rows of this gateway's ledger contradict each other. Nothing is signed until a person has examined
    /// them.</summary>
    Damaged,

    /// <summary>The entry or checkpoint asked for is not in the ledger.</summary>
    NotFound,

    /// <summary>The entry is committed, but no checkpoint covers it yet. Retry after the sequencer ran.</summary>
    NotCovered,
}

/// <summary>The exception of this module. The message has sizes, indexes and reasons, never the content of an
/// entry.</summary>
public sealed class LedgerException : Exception
{
    public LedgerException(LedgerFault fault, string message, Exception? inner = null)
        : base(message, inner) => Fault = fault;

    public LedgerFault Fault { get; }

    public static LedgerException Malformed(string message) => new(LedgerFault.Malformed, message);
}
