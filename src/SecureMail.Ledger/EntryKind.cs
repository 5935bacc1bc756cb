namespace SecureMail.Ledger;

/// <summary>The kinds of ledger entries: the values of the field <c>kind</c>. They are part of the format
/// (docs/ledger.md).</summary>
public static class EntryKind
{
    /// <summary>A dispatch was accepted and has its number. Written by the accepting step.</summary>
    public const string DispatchAccepted = "dispatch.accepted";

    /// <summary>A dispatch is signed; the entry commits to the signed content. Written by the queuing step.</summary>
    public const string DispatchSigned = "dispatch.signed";

    /// <summary>The recipient's gateway took a dispatch. Written by the sending step.</summary>
    public const string DispatchSent = "dispatch.sent";

    /// <summary>The connection broke after DATA. Written by the sending step.</summary>
    public const string DispatchUnknown = "dispatch.unknown";

    /// <summary>A dispatch is given up for one recipient. Written by the authorising, sending and giving-up
    /// steps.</summary>
    public const string DispatchFailed = "dispatch.failed";

    /// <summary>The recipient's receipt says that the dispatch is in its inbox. Written when the receipt is
    /// recorded.</summary>
    public const string DispatchAcknowledged = "dispatch.acknowledged";

    /// <summary>The recipient's receipt says that the dispatch is in quarantine. Written when the receipt is
    /// recorded.</summary>
    public const string DispatchHeld = "dispatch.held";

    /// <summary>The recipient's receipt says that a person took the dispatch in. Written when the receipt is
    /// recorded.</summary>
    public const string DispatchRegistered = "dispatch.registered";

    /// <summary>The recipient's receipt says that the dispatch was returned or destroyed. Written when the receipt is
    /// recorded.</summary>
    public const string DispatchRejected = "dispatch.rejected";

    /// <summary>Policy refuses a dispatch for all recipients. Written by the authorising step.</summary>
    public const string DispatchRefused = "dispatch.refused";

    /// <summary>A dispatch was encrypted with a weaker cipher because of a recipient. Written by the queuing
    /// step.</summary>
    public const string DispatchDowngraded = "dispatch.downgraded";

    /// <summary>No receipt came in the time allowed. Written by the overdue step.</summary>
    public const string DispatchOverdue = "dispatch.overdue";

    /// <summary>The content of a dispatch or message was erased by order. Written by the erasure.</summary>
    public const string DispatchErased = "dispatch.erased";

    /// <summary>A message was received and stored. Written before the answer 250.</summary>
    public const string MessageReceived = "message.received";

    /// <summary>A message was validated and recorded; the entry commits to the findings and the disposition.</summary>
    public const string MessageValidated = "message.judged";

    /// <summary>A person took a dispatch in (tiếp nhận); it has its arrival number. Written with that.</summary>
    public const string MessageRegistered = "message.registered";

    /// <summary>What a receipt after the first one says. Written with what makes the receipt due; the receipt proves
    /// it.</summary>
    public const string ReceiptStated = "receipt.stated";

    /// <summary>A receipt for a transmission of this gateway was recorded.</summary>
    public const string ReceiptMatched = "receipt.matched";

    /// <summary>The sender's gateway took our receipt. Written by the sending step.</summary>
    public const string ReceiptSent = "receipt.sent";

    /// <summary>The connection broke after DATA of a receipt. Written by the sending step.</summary>
    public const string ReceiptUnknown = "receipt.unknown";

    /// <summary>A receipt is given up. Written by the sending and giving-up steps.</summary>
    public const string ReceiptFailed = "receipt.failed";

    /// <summary>An agency announced weaker ciphers than before. Written by the recording step.</summary>
    public const string CapabilitiesWeakened = "capabilities.weakened";

    /// <summary>A clock was moved. Written by the clock watch.</summary>
    public const string ClockStepped = "clock.stepped";

    /// <summary>The clocks of a node and of the database differ. Written by the clock watch.</summary>
    public const string ClockApart = "clock.apart";

    /// <summary>A peer's clock is ahead of ours. Written when a message of the peer is validated.</summary>
    public const string ClockPeer = "clock.peer";

    /// <summary>An anomaly of a clock ended. Written by the clock watch.</summary>
    public const string ClockSettled = "clock.settled";

    /// <summary>Work that always failed was given up. Written when the work is left dead.</summary>
    public const string WorkGivenUp = "work.given-up";

    /// <summary>A person asked for work again. Written with that.</summary>
    public const string WorkRetried = "work.retried";

    /// <summary>A person asked for all held work again; the entry commits to what it is about.</summary>
    public const string WorkReleased = "work.released";

    /// <summary>A person dropped work. Written with that.</summary>
    public const string WorkDropped = "work.dropped";

    /// <summary>A person asked for a job. Written with the job's row.</summary>
    public const string JobRequested = "job.requested";

    /// <summary>A person begins to move everything to a storage key. Written before anything is moved.</summary>
    public const string StorageRotationBegun = "storage.rotation-begun";

    /// <summary>A version of the directory was imported.</summary>
    public const string DirectoryImported = "directory.imported";

    /// <summary>Two directories with one number were signed.</summary>
    public const string DirectoryConflict = "directory.conflict";

    /// <summary>A rule that forbids sending was made.</summary>
    public const string PolicyRouteForbidden = "policy.route-forbidden";

    /// <summary>A rule that forbids sending was taken back.</summary>
    public const string PolicyRoutePermitted = "policy.route-permitted";

    /// <summary>An agency decided to exchange documents up to a mark of secrecy.</summary>
    public const string PolicySecrecyPermitted = "policy.secrecy-permitted";

    /// <summary>An agency took its decision about marks of secrecy back.</summary>
    public const string PolicySecrecyRefused = "policy.secrecy-refused";

    /// <summary>A number that was drawn and not issued was cancelled. Written with the cancellation.</summary>
    public const string NumberCancelled = "number.cancelled";

    /// <summary>A person set how a body of an agency numbers. Written with that.</summary>
    public const string NumberingSet = "number.numbering-set";

    /// <summary>A batch of data was destroyed because its retention period ended.</summary>
    public const string RetentionSwept = "retention.swept";

    /// <summary>A restored peer asked for its mail again.</summary>
    public const string GatewayResendAsked = "gateway.resend-asked";

    /// <summary>A restored gateway was opened.</summary>
    public const string GatewayRestored = "gateway.restored";

    /// <summary>An operator excused a peer that did not answer a restored gateway.</summary>
    public const string GatewayRestoredWithout = "gateway.restored-without";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } =
    [
        DispatchAccepted,
        DispatchSigned,
        DispatchSent,
        DispatchUnknown,
        DispatchFailed,
        DispatchAcknowledged,
        DispatchHeld,
        DispatchRegistered,
        DispatchRejected,
        DispatchRefused,
        DispatchDowngraded,
        DispatchOverdue,
        DispatchErased,
        MessageReceived,
        MessageValidated,
        MessageRegistered,
        ReceiptStated,
        ReceiptMatched,
        ReceiptSent,
        ReceiptUnknown,
        ReceiptFailed,
        CapabilitiesWeakened,
        ClockStepped,
        ClockApart,
        ClockPeer,
        ClockSettled,
        WorkGivenUp,
        WorkRetried,
        WorkReleased,
        WorkDropped,
        JobRequested,
        StorageRotationBegun,
        DirectoryImported,
        DirectoryConflict,
        PolicyRouteForbidden,
        PolicyRoutePermitted,
        PolicySecrecyPermitted,
        PolicySecrecyRefused,
        NumberCancelled,
        NumberingSet,
        RetentionSwept,
        GatewayResendAsked,
        GatewayRestored,
        GatewayRestoredWithout,
    ];
}
