using System.Text.Json;
using System.Text.Json.Serialization;
using SecureMail.Ledger;

namespace SecureMail.Exchange;

/// <summary>
/// A recipient's signed answer: what it did with a dispatch, which octets it judged, and where its ledger says so.
/// <c>application/vnd.securemail.receipt+json</c> version 1, inside a signed <c>multipart/report</c> (RFC 6522, RFC
/// 8098); docs/formats.md gives the format.
/// </summary>
public sealed record Receipt
{
    public const string MediaType = "application/vnd.securemail.receipt+json";

    public const int LongestOctets = 256 * 1024;

    public int V { get; init; } = 1;

    public required Guid DispatchId { get; init; }

    public required Guid Sender { get; init; }

    public required Guid Recipient { get; init; }

    /// <summary>An event of ETSI EN 319 522-1: <see cref="ReceiptEvent"/>.</summary>
    public required string Event { get; init; }

    /// <summary>SHA-256 of the signed octets as they came, so that the sender knows what was judged.</summary>
    public required byte[] Digest { get; init; }

    public required string Verdict { get; init; }

    /// <summary>The number under which the recipient's register took it, or null where it did not.</summary>
    public required int? ArrivalNumber { get; init; }

    public required DateTimeOffset Time { get; init; }

    public required ReceiptReason? Reason { get; init; }

    /// <summary>The recipient's ledger entry, its checkpoint and the proof, as LedgerEvidence writes them.</summary>
    public required string Ledger { get; init; }

    public byte[] ToOctets() => JsonSerializer.SerializeToUtf8Bytes(this, WireJson.Options);

    /// <exception cref="WireFormatException">Damaged, too large, or of an unknown version.</exception>
    public static Receipt Parse(ReadOnlyMemory<byte> octets)
    {
        var receipt = WireJson.Read<Receipt>(octets, LongestOctets, "receipt");
        return
            receipt.Digest.Length == 32
            && ReceiptEvent.All.Contains(receipt.Event)
            && IsName(receipt.Verdict)
            && receipt.ArrivalNumber is null or > 0
            && receipt.Reason is null or { IsValid: true }
            ? receipt
            : throw new WireFormatException(ReasonCode.ReceiptField, "A field of the receipt is out of bounds.");
    }

    public static bool IsName(string text) =>
        text.Length is > 0 and <= 60 && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_');
}

/// <summary>Why a dispatch was not taken: a code and a sentence in both languages, nothing of its content.</summary>
public sealed record ReceiptReason(string Code, string Vi, string En)
{
    // The code is stored and shown.
    [JsonIgnore]
    public bool IsValid => Receipt.IsName(Code) && Vi.Length <= 1000 && En.Length <= 1000;
}

/// <summary>What can be said of a dispatch, by the names of ETSI EN 319 522-1.</summary>
public static class ReceiptEvent
{
    /// <summary>It lies in the addressee's inbox.</summary>
    public const string ContentConsignment = "ContentConsignment";

    /// <summary>It was kept aside; a person of the addressee decides.</summary>
    public const string ContentConsignmentFailure = "ContentConsignmentFailure";

    /// <summary>It was sent back: not for this addressee.</summary>
    public const string RelayRejection = "RelayRejection";

    public static readonly string[] All = [ContentConsignment, ContentConsignmentFailure, RelayRejection];
}
