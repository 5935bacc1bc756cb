using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using SecureMail.Ledger;

namespace SecureMail.Exchange;

/// <summary>
/// A recipient's signed answer: what became of a dispatch, the digest of the validated bytes, and the evidence of the
/// recipient's ledger. The answers to one dispatch are a sequence: held is not final, and the highest
/// <see cref="Seq"/> counts.
/// <c>application/vnd.securemail.receipt+json</c> version 1, inside a signed <c>multipart/report</c> (RFC 6522, RFC
/// 8098); docs/formats.md gives the format.
/// </summary>
public sealed record Receipt
{
    public const string MediaType = "application/vnd.securemail.receipt+json";

    /// <summary>The longest receipt in bytes.</summary>
    public const int MaxBytes = 256 * 1024;

    // A dispatch has a handful.
    private const int MostReceipts = 10_000;

    public int V { get; init; } = 1;

    public required Guid DispatchId { get; init; }

    public required Guid Sender { get; init; }

    public required Guid Recipient { get; init; }

    /// <summary>An event of ETSI EN 319 522-1: <see cref="ReceiptEvent"/>.</summary>
    public required string Event { get; init; }

    /// <summary>SHA-256 of the signed bytes as received, so that the sender knows what was validated.</summary>
    public required byte[] Digest { get; init; }

    public required string Verdict { get; init; }

    /// <summary>The arrival number in the recipient's register, or null if the dispatch was not registered.</summary>
    public required int? ArrivalNumber { get; init; }

    public required DateTimeOffset Time { get; init; }

    public required ReceiptReason? Reason { get; init; }

    /// <summary>The recipient's ledger entry, its checkpoint and the proof, as LedgerEvidence writes them.</summary>
    public required string Ledger { get; init; }

    /// <summary>Which answer to the dispatch this is, from 1. Null is 1: an earlier build wrote the only one.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? Seq { get; init; }

    /// <summary>SHA-256 of the answer before it, as it was signed. Null: there is none, or it was never
    /// signed.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public byte[]? Prior { get; init; }

    /// <summary>One of <see cref="ReceiptState"/>. Null: the event says it.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? State { get; init; }

    /// <summary>What became of the dispatch: <see cref="State"/>, or what the event says where an earlier build wrote
    /// none.</summary>
    [JsonIgnore]
    public string StateOrEvent =>
        State ?? Event switch
        {
            ReceiptEvent.ContentConsignment => ArrivalNumber is null ? ReceiptState.Arrived : ReceiptState.Registered,
            ReceiptEvent.RelayRejection => ReceiptState.Returned,
            _ => ReceiptState.Held,
        };

    /// <summary>SHA-256 over what the receipt says, without its time and its evidence: a receipt that is signed again
    /// says the same.</summary>
    public byte[] DigestOfContent() =>
        SHA256.HashData(
            (this with { Time = default, Ledger = "", Prior = null, Seq = Seq ?? 1, State = StateOrEvent }).ToBytes());

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, WireJson.Options);

    /// <exception cref="WireFormatException">The receipt is damaged, too large, of an unknown version, or has a field
    /// out of bounds.</exception>
    public static Receipt Parse(ReadOnlyMemory<byte> bytes)
    {
        var receipt = WireJson.Read<Receipt>(bytes, MaxBytes, "receipt");
        return
            receipt.Digest.Length == 32
            && ReceiptEvent.All.Contains(receipt.Event)
            && IsName(receipt.Verdict)
            && receipt.ArrivalNumber is null or > 0
            && receipt.Reason is null or { IsValid: true }
            && receipt.Seq is null or (> 0 and <= MostReceipts)
            && receipt.Prior is null or { Length: 32 }
            && (receipt.Prior is null || receipt.Seq > 1)
            && (receipt.State is null || ReceiptState.EventOf(receipt.State) == receipt.Event)
            && (receipt.State is null || (receipt.State == ReceiptState.Registered) == (receipt.ArrivalNumber > 0))
            ? receipt
            : throw new WireFormatException(ReasonCode.ReceiptField, "A field of the receipt is out of bounds.");
    }

    /// <summary>Whether a text can be a code or a verdict: 1 to 60 of <c>A-Z a-z 0-9 - _</c>.</summary>
    public static bool IsName(string text) =>
        text.Length is > 0 and <= 60 && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_');
}

/// <summary>Why a dispatch was not accepted: a code and a sentence in both languages, without any of its
/// content.</summary>
public sealed record ReceiptReason(string Code, string Vi, string En)
{
    // The code must be a name, because it is stored and shown.
    [JsonIgnore]
    public bool IsValid => Receipt.IsName(Code) && Vi.Length <= 1000 && En.Length <= 1000;
}

/// <summary>The events of a dispatch, by the names of ETSI EN 319 522-1.</summary>
public static class ReceiptEvent
{
    /// <summary>The dispatch is in the addressee's inbox.</summary>
    public const string ContentConsignment = "ContentConsignment";

    /// <summary>The dispatch is in quarantine; a person of the addressee decides.</summary>
    public const string ContentConsignmentFailure = "ContentConsignmentFailure";

    /// <summary>The dispatch was returned, because it is not for this addressee.</summary>
    public const string RelayRejection = "RelayRejection";

    public static readonly string[] All = [ContentConsignment, ContentConsignmentFailure, RelayRejection];
}
