using SecureMail.LedgerStore;

namespace SecureMail.Gateway.Vocabulary;

/// <summary>What a person must look at: the kinds of rows in <c>gateway.alarm</c> and <c>ledger.alarm</c>.</summary>
public static class AlarmKind
{
    /// <summary>A peer signed two histories of its ledger. Set by the peer ledger.</summary>
    public const string Fork = PeerAlarmKind.Fork;

    /// <summary>A peer does not prove that an earlier checkpoint belongs to its ledger. Set by the peer
    /// ledger.</summary>
    public const string Rollback = PeerAlarmKind.Rollback;

    /// <summary>A checkpoint that the peer's key did not sign. Set by the peer ledger.</summary>
    public const string BadSignature = PeerAlarmKind.BadSignature;

    /// <summary>The same dispatch id came with another content. Set by the recording step.</summary>
    public const string ContentConflict = "content-conflict";

    /// <summary>Two receipts with one number say different things. Set by the recording step.</summary>
    public const string ReceiptConflict = "receipt-conflict";

    /// <summary>Two directories with one number were signed. Set at an import, and when a peer names
    /// another.</summary>
    public const string DirectoryConflict = "directory-conflict";

    /// <summary>See <see cref="ClockAnomalyKind.Stepped"/>.</summary>
    public const string ClockStepped = "clock-stepped";

    /// <summary>See <see cref="ClockAnomalyKind.Apart"/>.</summary>
    public const string ClockApart = "clock-apart";

    /// <summary>See <see cref="ClockAnomalyKind.Peer"/>.</summary>
    public const string ClockPeer = "clock-peer";

    /// <summary>An agency announced weaker ciphers than before. Set by the recording step.</summary>
    public const string CapabilitiesWeakened = "capabilities-weakened";

    /// <summary>A message could not be validated, however often it was tried; it lies in quarantine. Set by the
    /// recording step.</summary>
    public const string ValidationFailed = "validation-failed";

    /// <summary>Work that always failed lies dead until a person asks for it again. Set when it is given up.</summary>
    public const string WorkGivenUp = "work-given-up";

    /// <summary>The certificate that signed a dispatch in the inbox was revoked before the dispatch came, as a later
    /// CRL says. Set by the recording step.</summary>
    public const string RevokedBeforeReception = "revoked-before-reception";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } =
    [
        Fork, Rollback, BadSignature, ContentConflict, ReceiptConflict, DirectoryConflict, ClockStepped, ClockApart,
        ClockPeer, CapabilitiesWeakened, ValidationFailed, WorkGivenUp, RevokedBeforeReception,
    ];
}
