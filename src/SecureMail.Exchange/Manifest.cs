using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using SecureMail.Ledger;
using SecureMail.Mail.Mime;

namespace SecureMail.Exchange;

/// <summary>
/// The first signed part of a dispatch: its fields, its sender, every addressee, and the digests of its documents.
/// <c>application/vnd.securemail.dispatch+json</c> version 1; docs/formats.md gives the format.
/// </summary>
/// <remarks>
/// The addressees are inside the signature, so that a dispatch cannot be redirected to another agency. The salt is
/// random for each dispatch. The ledger commits to the signed bytes under this salt, and after the manifest was erased
/// nobody can tie the commitment to a document.
/// </remarks>
public sealed record Manifest
{
    public const string MediaType = "application/vnd.securemail.dispatch+json";

    /// <summary>The longest manifest in bytes: twice the size of one to 3,300 communes at some 200 bytes
    /// each.</summary>
    public const int MaxBytes = 2 * 1024 * 1024;

    private const int MostRecipients = 20_000;
    private const int MostDocuments = 500;
    private const int MostRelated = 16;
    private const int MostApprovals = 16;

    /// <summary>What the member <c>crit</c> may name: the members that a manifest may lack.</summary>
    private static readonly string[] Critical = ["action", "relatesTo", "series", "deliverAt", "approvals"];

    public int V { get; init; } = 1;

    public required Guid DispatchId { get; init; }

    public required DateTimeOffset Issued { get; init; }

    public required Party Sender { get; init; }

    public required IReadOnlyList<Party> Recipients { get; init; }

    public required DispatchFields Fields { get; init; }

    public required IReadOnlyList<DocumentDigest> Documents { get; init; }

    /// <summary>32 random bytes; base64 in the JSON.</summary>
    public required byte[] Salt { get; init; }

    /// <summary>One of <see cref="DispatchAction"/>. Absent: an earlier build wrote a document of its own.</summary>
    public string Action { get; init; } = DispatchAction.New;

    /// <summary>The dispatches that the action is about. Null: none.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<RelatedDispatch>? RelatesTo { get; init; }

    /// <summary>The series of the number. Null: an earlier build did not say.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public SeriesName? Series { get; init; }

    /// <summary>When a document of the urgency 4 (hỏa tốc hẹn giờ) must be with its addressees.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public DateTimeOffset? DeliverAt { get; init; }

    /// <summary>Who approved the documents, and in which capacity. Null: the sender does not say.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<Approval>? Approvals { get; init; }

    /// <summary>Members that a reader must know, or refuse the dispatch.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<string>? Crit { get; init; }

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, WireJson.Options);

    /// <exception cref="WireFormatException">The manifest is damaged, too large, of an unknown version or action,
    /// demands what this build does not know, or has a field out of bounds.</exception>
    public static Manifest Parse(ReadOnlyMemory<byte> bytes)
    {
        var manifest = WireJson.Read<Manifest>(bytes, MaxBytes, "manifest", Critical);
        if (!DispatchAction.All.Contains(manifest.Action))
        {
            throw new WireFormatException(ReasonCode.ManifestAction, "The action of the manifest is unknown.");
        }

        if (manifest.Validate() is { } field)
        {
            throw new WireFormatException(
                ReasonCode.ManifestField, $"The field \"{field}\" of the manifest is out of bounds.");
        }

        return manifest;
    }

    /// <summary>The first field that is out of bounds (DOMAIN.md, Annex VI lengths), or null.</summary>
    public string? Validate() =>
        Salt.Length != 32 ? "salt"
        : Recipients.Count is 0 or > MostRecipients
        || Recipients.Any(r => r is not { IsValid: true })
        || Recipients.DistinctBy(r => r.Id).Count() != Recipients.Count
            ? "recipients"
        : !Sender.IsValid ? "sender"
        : Documents.Count is 0 or > MostDocuments
        || Documents.Any(d => d is not { IsValid: true })
        || Documents.DistinctBy(d => d.Name).Count() != Documents.Count
            ? "documents"
        : Fields.Validate() is { } field ? field
        : RelatesTo is { Count: 0 or > MostRelated }
        || RelatesTo?.Any(r => r is not { IsValid: true }) == true
        || (Action != DispatchAction.New && RelatesTo is null)
            ? "relatesTo"
        : Series is not null && !Series.IsOf(Fields.Number) ? "series"
        : DeliverAt is not null && Fields.Priority != DispatchFields.TimedPriority ? "deliverAt"
        : Approvals is { Count: 0 or > MostApprovals } || Approvals?.Any(a => a is not { IsValid: true }) == true
            ? "approvals"
        : null;
}

/// <summary>A dispatch that an action is about.</summary>
/// <param name="Number">Its number and notation as printed; null: the sender does not say.</param>
public sealed record RelatedDispatch(Guid DispatchId, string? Number = null)
{
    [JsonIgnore]
    internal bool IsValid =>
        DispatchId != Guid.Empty && (Number is null || NumberAndNotation.TryParse(Number) is not null);
}

/// <summary>The series that a number is of, as values (<see cref="NumberAndNotation.Body"/>).</summary>
/// <param name="Type">Empty where all types share the series.</param>
/// <param name="Period">A year, or the day on which a term of the committee began.</param>
public sealed record SeriesName(string Body, string Type, string Period)
{
    internal bool IsOf(string number) =>
        NumberAndNotation.TryParse(number) is { } parsed
        && parsed.Body == Body
        && (Type.Length == 0 || parsed.Type == Type)
        && (
            Period is [>= '0' and <= '9', >= '0' and <= '9', >= '0' and <= '9', >= '0' and <= '9']
            || DateOnly.TryParseExact(
                Period, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _));
}

/// <summary>A person's approval of a document.</summary>
/// <param name="Certificate">The person's certificate, DER.</param>
/// <param name="Capacity">In which capacity: <c>T/M</c>, <c>K/T</c>, <c>T/L</c> …</param>
/// <param name="Digest">SHA-256 of the approved document.</param>
public sealed record Approval(byte[] Certificate, string Capacity, byte[] Digest, DateTimeOffset Time)
{
    [JsonIgnore]
    internal bool IsValid =>
        AgencyCertificate.IsReadable(Certificate)
        && Capacity.Length is > 0 and <= 20
        && DispatchFields.IsText(Capacity)
        && Digest.Length == 32;
}

/// <summary>An agency as a dispatch names it. The id identifies the agency. Code and name are those at the time of
/// writing.</summary>
public sealed record Party(Guid Id, string Code, string Name)
{
    /// <summary>The unit or the person of an addressee whom the dispatch is for. Null: the agency decides.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Attention { get; init; }

    [JsonIgnore]
    public bool IsValid =>
        Id != Guid.Empty
        && Code.Length is > 0 and <= 30
        && Name.Length is > 0 and <= 200
        && (Attention is null || (Attention.Length is > 0 and <= 200 && DispatchFields.IsText(Attention)));
}

/// <summary>One document: its name with diacritics, media type, length in bytes and SHA-256.</summary>
public sealed record DocumentDigest(string Name, string MediaType, long Length, byte[] Sha256)
{
    /// <summary>One of <see cref="DocumentRole"/>. Null: the sender does not say.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Role { get; init; }

    /// <summary>One of <see cref="DocumentCopy"/>; null: an original, or the sender does not say.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Copy { get; init; }

    [JsonIgnore]
    public bool IsValid =>
        Name.Length is > 0 and <= 255
        && Name.AsSpan().IndexOfAny('/', '\\') < 0
        && Name is not ("." or "..")
        && DispatchFields.IsText(Name)
        && MediaType.Length is > 0 and <= 127
        && IsMediaType(MediaType)
        && Length >= 0
        && Sha256.Length == 32
        && (Role is null || DocumentRole.All.Contains(Role))
        && (Copy is null || DocumentCopy.All.Contains(Copy));

    private static bool IsMediaType(string text)
    {
        try
        {
            return DispatchFields.IsText(text) && MimeContentType.Parse(text).MediaType.Length > 0;
        }
        catch (MimeException)
        {
            return false;
        }
    }
}

/// <summary>The fields that the office fills in for a document (Decree 30/2020 Annex VI; names and lengths in
/// DOMAIN.md).</summary>
public sealed record DispatchFields
{
    /// <summary>Hỏa tốc hẹn giờ.</summary>
    internal const int TimedPriority = 4;

    /// <summary>Number and notation as printed, e.g. <c>36-HD/VPTW</c>.</summary>
    public required string Number { get; init; }

    public required string Subject { get; init; }

    public string? TypeName { get; init; }

    public DateOnly? IssuedDate { get; init; }

    public string? Language { get; init; }

    public int? PageAmount { get; init; }

    public string? Description { get; init; }

    public Signatory? SignerInfo { get; init; }

    /// <summary>0 Thường, 1 Khẩn, 2 Thượng khẩn, 3 Hỏa tốc, 4 Hỏa tốc hẹn giờ.</summary>
    public int Priority { get; init; }

    /// <summary>Null, or <c>MẬT</c>, <c>TỐI MẬT</c>, <c>TUYỆT MẬT</c>.</summary>
    public string? Secrecy { get; init; }

    public int? IssuedAmount { get; init; }

    public DateOnly? DueDate { get; init; }

    /// <summary>Whether a header field can carry the text: no control character, no half of a surrogate pair.</summary>
    public static bool IsText(string text)
    {
        for (var rest = text.AsSpan(); !rest.IsEmpty;)
        {
            if (Rune.DecodeFromUtf16(rest, out var rune, out var used) != OperationStatus.Done || Rune.IsControl(rune))
            {
                return false;
            }

            rest = rest[used..];
        }

        return true;
    }

    /// <summary>The first field that is out of bounds, or null.</summary>
    public string? Validate() =>
        NumberAndNotation.TryParse(Number) is null ? "number"
        : Subject.Length is 0 or > 500 || !IsText(Subject) ? "subject"
        : TypeName?.Length > 100 ? "typeName"
        : Language?.Length > 30 ? "language"
        : PageAmount is < 0 or > 999 ? "pageAmount"
        : Description?.Length > 500 ? "description"
        : SignerInfo is { Position.Length: > 100 } or { FullName.Length: > 50 } ? "signerInfo"
        : Priority is < 0 or > TimedPriority ? "priority"
        : Secrecy is not null && SecrecyMark.Rank(Secrecy) == 0 ? "secrecy"
        : IssuedAmount is < 0 or > 999 ? "issuedAmount"
        : null;
}

public sealed record Signatory(string Position, string FullName);
