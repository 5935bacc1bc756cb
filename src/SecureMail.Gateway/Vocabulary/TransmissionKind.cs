using SecureMail.Ledger;

namespace SecureMail.Gateway.Vocabulary;

/// <summary>The kinds of a transmission.</summary>
public static class TransmissionKind
{
    /// <summary>A dispatch of ours to one of its recipients.</summary>
    public const string Dispatch = "dispatch";

    /// <summary>A receipt of ours to the sender of a dispatch.</summary>
    public const string Receipt = "receipt";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Dispatch, Receipt];

    /// <summary>The kind of the ledger entry about a transmission of this kind that reached this state.</summary>
    /// <exception cref="ArgumentException">No entry is written for this pair.</exception>
    public static string EntryOf(string kind, string state) =>
        (kind, state) switch
        {
            (Dispatch, TransmissionState.Sent) => EntryKind.DispatchSent,
            (Dispatch, TransmissionState.Unknown) => EntryKind.DispatchUnknown,
            (Dispatch, TransmissionState.Failed) => EntryKind.DispatchFailed,
            (Receipt, TransmissionState.Sent) => EntryKind.ReceiptSent,
            (Receipt, TransmissionState.Unknown) => EntryKind.ReceiptUnknown,
            (Receipt, TransmissionState.Failed) => EntryKind.ReceiptFailed,
            _ => throw new ArgumentException($"No ledger entry is written for a {kind} that is {state}."),
        };
}
