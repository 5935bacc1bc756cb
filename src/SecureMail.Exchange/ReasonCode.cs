using SecureMail.Ledger;
using SecureMail.Trust;

namespace SecureMail.Exchange;

/// <summary>Why a dispatch, a message or a request was refused, quarantined or has to wait. The codes are stored in the
/// database, in receipts and in the answers to programs. Their words are in the gateway's resources.</summary>
public static class ReasonCode
{
    /// <summary>The directory has no agency of this code.</summary>
    public const string AgencyUnknown = "AGENCY_UNKNOWN";

    /// <summary>The clock of the gateway or of the database is doubted. Nothing is signed until it is right.</summary>
    public const string ClockSuspect = "CLOCK_SUSPECT";

    /// <summary>The same dispatch id came before with another content.</summary>
    public const string ContentConflict = "CONTENT_CONFLICT";

    /// <summary>The directory file cannot be read.</summary>
    public const string DirectoryDamaged = "DIRECTORY_DAMAGED";

    /// <summary>The directory contradicts itself.</summary>
    public const string DirectoryInconsistent = "DIRECTORY_INCONSISTENT";

    /// <summary>No directory was imported yet.</summary>
    public const string DirectoryMissing = "DIRECTORY_MISSING";

    /// <summary>Another directory with this number is in force, or the one that came before it is another.</summary>
    public const string DirectoryConflict = "DIRECTORY_CONFLICT";

    /// <summary>The directory's number is too far above the one in force.</summary>
    public const string DirectoryStep = "DIRECTORY_STEP";

    /// <summary>The directory is older than the one in force.</summary>
    public const string DirectoryRollback = "DIRECTORY_ROLLBACK";

    /// <summary>The directory's publisher did not sign it.</summary>
    public const string DirectorySignature = "DIRECTORY_SIGNATURE";

    /// <summary>The documents of a message are not those that its manifest lists.</summary>
    public const string DocumentsDiffer = "DOCUMENTS_DIFFER";

    /// <summary>The same dispatch came before with the same content.</summary>
    public const string Duplicate = "DUPLICATE";

    /// <summary>A field of a submission is not valid.</summary>
    public const string FieldInvalid = "FIELD_INVALID";

    /// <summary>A manifest, receipt or directory demands what this program does not know.</summary>
    public const string FormatCriticalUnknown = WireFormatException.CriticalUnknownCode;

    /// <summary>A manifest or receipt cannot be read.</summary>
    public const string FormatDamaged = WireFormatException.DamagedCode;

    /// <summary>A manifest or receipt names no version.</summary>
    public const string FormatNoVersion = WireFormatException.NoVersionCode;

    /// <summary>A manifest or receipt is longer than its limit.</summary>
    public const string FormatTooLarge = WireFormatException.TooLargeCode;

    /// <summary>A manifest or receipt has a newer version.</summary>
    public const string FormatVersionUnknown = WireFormatException.VersionUnknownCode;

    /// <summary>A manifest names an action that this program does not know.</summary>
    public const string ManifestAction = "MANIFEST_ACTION";

    /// <summary>The message is for the gateway's administrator.</summary>
    public const string ForPostmaster = "FOR_POSTMASTER";

    /// <summary>The time allowed for sending is over.</summary>
    public const string GivenUp = "GIVEN_UP";

    /// <summary>A dispatch id is not a UUIDv7.</summary>
    public const string IdInvalid = "ID_INVALID";

    /// <summary>A dispatch id is used by another dispatch.</summary>
    public const string IdTaken = "ID_TAKEN";

    /// <summary>The verdict on a message was indeterminate at its deadline.</summary>
    public const string Indeterminate = "INDETERMINATE";

    /// <summary>The verdict on a message was invalid.</summary>
    public const string Invalid = "INVALID";

    /// <summary>The token has no valid signing key of the agency.</summary>
    public const string KeyAbsent = "KEY_ABSENT";

    /// <summary>The evidence of the sender's ledger is missing or does not hold.</summary>
    public const string LedgerEvidence = "LEDGER_EVIDENCE";

    /// <summary>The sender's ledger was rewritten.</summary>
    public const string LedgerFork = "LEDGER_FORK";

    /// <summary>A field of a manifest is out of bounds.</summary>
    public const string ManifestField = "MANIFEST_FIELD";

    /// <summary>No recipient of a dispatch can be reached.</summary>
    public const string NoRecipient = "NO_RECIPIENT";

    /// <summary>A signed message is no dispatch.</summary>
    public const string NotADispatch = "NOT_A_DISPATCH";

    /// <summary>A signed report is no receipt.</summary>
    public const string NotAReceipt = "NOT_A_RECEIPT";

    /// <summary>The manifest does not name the agency that got the message.</summary>
    public const string NotAddressedToUs = "NOT_ADDRESSED_TO_US";

    /// <summary>A number and notation has not the form that the rules ask for.</summary>
    public const string NumberInvalid = "NUMBER_INVALID";

    /// <summary>A number and notation is used in this year.</summary>
    public const string NumberTaken = "NUMBER_TAKEN";

    /// <summary>A part of a message cannot be decoded.</summary>
    public const string PartDamaged = "PART_DAMAGED";

    /// <summary>The verdict on a message was partial.</summary>
    public const string Partial = "PARTIAL";

    /// <summary>The restored gateway does not wait for a peer of this name.</summary>
    public const string PeerUnknown = "PEER_UNKNOWN";

    /// <summary>The token locked its PIN.</summary>
    public const string PinLocked = "PIN_LOCKED";

    /// <summary>The token refused the PIN, or there is none.</summary>
    public const string PinRefused = "PIN_REFUSED";

    /// <summary>The certificate of the directory's publisher is not configured.</summary>
    public const string PublisherMissing = "PUBLISHER_MISSING";

    /// <summary>A field of a receipt is out of bounds.</summary>
    public const string ReceiptField = "RECEIPT_FIELD";

    /// <summary>A receipt that says something else than an earlier one with its number.</summary>
    public const string ReceiptConflict = "RECEIPT_CONFLICT";

    /// <summary>A receipt for a dispatch whose content was erased.</summary>
    public const string ReceiptForErased = "RECEIPT_FOR_ERASED";

    /// <summary>A receipt for a dispatch that was not sent to this signer.</summary>
    public const string ReceiptForNothing = "RECEIPT_FOR_NOTHING";

    /// <summary>A receipt for another content than was signed.</summary>
    public const string ReceiptForOtherContent = "RECEIPT_FOR_OTHER_CONTENT";

    /// <summary>A recipient has no valid encryption certificate.</summary>
    public const string RecipientCertificate = "RECIPIENT_CERTIFICATE";

    /// <summary>A recipient is no longer in the directory.</summary>
    public const string RecipientNotInDirectory = "RECIPIENT_NOT_IN_DIRECTORY";

    /// <summary>A recipient is not in force and has no successor.</summary>
    public const string RecipientNotInForce = "RECIPIENT_NOT_IN_FORCE";

    /// <summary>A recipient was succeeded by another agency.</summary>
    public const string RecipientSucceeded = "RECIPIENT_SUCCEEDED";

    /// <summary>The directory has no recipient of this code.</summary>
    public const string RecipientUnknown = "RECIPIENT_UNKNOWN";

    /// <summary>A rule forbids sending to a recipient.</summary>
    public const string RouteRefused = "ROUTE_REFUSED";

    /// <summary>A dispatch has a mark of secrecy that the agency does not exchange here.</summary>
    public const string SecrecyRefused = "SECRECY_REFUSED";

    /// <summary>The signing certificate is not one of the named sender's.</summary>
    public const string SenderBinding = "SENDER_BINDING";

    /// <summary>Another gateway serves the sender.</summary>
    public const string SenderNotHere = "SENDER_NOT_HERE";

    /// <summary>The signer is no agency of the directory.</summary>
    public const string SenderNotInDirectory = "SENDER_NOT_IN_DIRECTORY";

    /// <summary>The sender is not in force.</summary>
    public const string SenderNotInForce = "SENDER_NOT_IN_FORCE";

    /// <summary>The directory has no sender of this code.</summary>
    public const string SenderUnknown = "SENDER_UNKNOWN";

    /// <summary>The signing time is later than the gateway's clock; the message waits.</summary>
    public const string SignedInFuture = "SIGNED_IN_FUTURE";

    /// <summary>The agency's signing certificate has expired or is revoked.</summary>
    public const string SigningCertificateExpired = "SIGNING_CERTIFICATE_EXPIRED";

    /// <summary>The agency's token is not connected.</summary>
    public const string TokenAbsent = "TOKEN_ABSENT";

    /// <summary>A submission is larger than the limit.</summary>
    public const string TooLarge = "TOO_LARGE";

    /// <summary>The verdict on a message was unreadable.</summary>
    public const string Unreadable = "UNREADABLE";

    /// <summary>The verdict on a message was unsigned.</summary>
    public const string Unsigned = "UNSIGNED";

    /// <summary>The verdict on a message was untrusted.</summary>
    public const string Untrusted = "UNTRUSTED";

    /// <summary>The gateway could not validate a message, however often it tried.</summary>
    public const string ValidationFailed = "VALIDATION_FAILED";

    /// <summary>The verdict on a message was wrong-sender.</summary>
    public const string WrongSender = "WRONG_SENDER";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } =
    [
        AgencyUnknown,
        ClockSuspect,
        ContentConflict,
        DirectoryConflict,
        DirectoryDamaged,
        DirectoryInconsistent,
        DirectoryMissing,
        DirectoryRollback,
        DirectorySignature,
        DirectoryStep,
        DocumentsDiffer,
        Duplicate,
        FieldInvalid,
        FormatCriticalUnknown,
        FormatDamaged,
        FormatNoVersion,
        FormatTooLarge,
        FormatVersionUnknown,
        ForPostmaster,
        GivenUp,
        IdInvalid,
        IdTaken,
        Indeterminate,
        Invalid,
        KeyAbsent,
        LedgerEvidence,
        LedgerFork,
        ManifestAction,
        ManifestField,
        NoRecipient,
        NotADispatch,
        NotAReceipt,
        NotAddressedToUs,
        NumberInvalid,
        NumberTaken,
        PartDamaged,
        Partial,
        PeerUnknown,
        PinLocked,
        PinRefused,
        PublisherMissing,
        ReceiptConflict,
        ReceiptField,
        ReceiptForErased,
        ReceiptForNothing,
        ReceiptForOtherContent,
        RecipientCertificate,
        RecipientNotInDirectory,
        RecipientNotInForce,
        RecipientSucceeded,
        RecipientUnknown,
        RouteRefused,
        SecrecyRefused,
        SenderBinding,
        SenderNotHere,
        SenderNotInDirectory,
        SenderNotInForce,
        SenderUnknown,
        SignedInFuture,
        SigningCertificateExpired,
        TokenAbsent,
        TooLarge,
        Unreadable,
        Unsigned,
        Untrusted,
        ValidationFailed,
        WrongSender,
    ];

    private const string SelfCheckPrefix = "SELF_CHECK_";

    /// <summary>The gateway's own validator does not accept what the token signed. The code ends in the code of the
    /// finding (<see cref="Reason.Code"/>).</summary>
    public static string SelfCheck(string finding) => SelfCheckPrefix + finding;

    /// <summary>The code without its variable part: all codes of <see cref="SelfCheck"/> become one.</summary>
    public static string Generic(string code) =>
        code.StartsWith(SelfCheckPrefix, StringComparison.Ordinal) ? "SELF_CHECK" : code;

    /// <summary>The code of a message that is quarantined because of its verdict.</summary>
    public static string Of(Verdict verdict) =>
        verdict switch
        {
            Verdict.WrongSender => WrongSender,
            Verdict.Partial => Partial,
            Verdict.Indeterminate => Indeterminate,
            Verdict.Untrusted => Untrusted,
            Verdict.Invalid => Invalid,
            Verdict.Unsigned => Unsigned,
            Verdict.Unreadable => Unreadable,
            _ => throw new ArgumentOutOfRangeException(nameof(verdict), verdict, "A valid message is not quarantined."),
        };
}
