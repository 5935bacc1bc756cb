using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;

namespace SecureMail.Gateway.Registers;

/// <summary>The register of outgoing documents (sổ đăng ký văn bản đi), for reading: what was accepted, and how far it
/// came at each addressee.</summary>
public sealed class OutgoingRegister(
    GatewayDatabase database, BlobStore blobs, CardCipher cards, DirectoryStore directories)
{
    /// <summary>The newest first, without their manifests.</summary>
    public Task<IReadOnlyList<OutgoingDispatch>> ListAsync(int limit, CancellationToken cancellationToken) =>
        QueryAsync(
            "ORDER BY accepted_at DESC, dispatch_id DESC LIMIT @limit", new { limit }, withManifest: false,
            cancellationToken);

    /// <summary>Every dispatch of one agency, the oldest first, without their manifests.</summary>
    internal Task<IReadOnlyList<OutgoingDispatch>> ListOfAsync(Guid agency, CancellationToken cancellationToken) =>
        QueryAsync(
            "WHERE agency_id = @agency ORDER BY accepted_at, dispatch_id", new { agency }, withManifest: false,
            cancellationToken);

    /// <summary>One dispatch with its manifest; null where there is none of that id.</summary>
    public async Task<OutgoingDispatch?> FindAsync(Guid dispatch, CancellationToken cancellationToken) =>
        (
            await QueryAsync(
                "WHERE dispatch_id = @dispatch", new { dispatch }, withManifest: true, cancellationToken)
        ).SingleOrDefault();

    private async Task<IReadOnlyList<OutgoingDispatch>> QueryAsync(
        string clause, object parameters, bool withManifest, CancellationToken cancellationToken)
    {
        var directory = await directories.CurrentAsync(cancellationToken);
        var (rows, recipients) = await RowsAsync(clause, parameters, cancellationToken);
        List<OutgoingDispatch> dispatches = [];
        foreach (var row in rows)
        {
            // A row that a node of an older build wrote has no card.
            var manifest =
                row.ErasedAt is null && (withManifest || row.Card is null)
                    ? Manifest.Parse(
                        await blobs.ReadAllAsync(row.ManifestBlob, Manifest.MaxBytes, cancellationToken))
                    : null;
            var card =
                row.ErasedAt is not null
                    ? ErasedContent.CardOf(row.Number, row.AcceptedAt, directory.Find(row.Agency))
                : manifest is not null ? DispatchCard.Of(manifest)
                : DispatchCard.Decrypt(cards, row.Id, new EncryptedCard(row.CardKey!, row.Card!));
            var named = recipients[row.Id].ToList();
            var limiting = row.CipherLimitedBy.ToHashSet();
            named.ForEach(r => r.Name = r.Id is { } id ? directory.Find(id)?.LastName.Name : null);
            dispatches.Add(
                new OutgoingDispatch(
                    row.Id, card, row.State, row.Reason, row.MessageBlob,
                    new DateTimeOffset(row.AcceptedAt, TimeSpan.Zero), named)
                {
                    Manifest = withManifest ? manifest : null,
                    ErasedAt = row.ErasedAt,
                    Cipher = row.Cipher,
                    CipherLimitedBy =
                    [
                        .. named.Where(r => r.Id is { } id && limiting.Contains(id)).Select(r => r.Code),
                    ],
                });
        }

        return dispatches;
    }

    private async Task<(IReadOnlyList<Row> Rows, ILookup<Guid, OutgoingRecipient> Recipients)> RowsAsync(
        string clause, object parameters, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var rows = await connection.ListAsync<Row>(
            $"""
            SELECT dispatch_id AS Id, state AS State, reason AS Reason, manifest_blob AS ManifestBlob,
              card AS Card, card_key AS CardKey, accepted_at AS AcceptedAt, agency_id AS Agency,
              CASE WHEN message_gone_at IS NULL THEN message_blob END AS MessageBlob,
              number_text AS Number, erased_at AS ErasedAt, cipher AS Cipher, cipher_limited_by AS CipherLimitedBy
            FROM gateway.outgoing {clause}
            """,
            parameters, cancellationToken);
        var recipients = await connection.ListAsync<OutgoingRecipient>(
            $"""
            SELECT transmission_id AS Transmission, dispatch_id AS Dispatch, recipient_id AS Id,
              recipient_code AS Code, state AS State, reason AS Reason, first_sent_at AS FirstSentAt,
              closed_at AS ClosedAt, overdue_at AS OverdueAt, receipt_event AS ReceiptEvent,
              answer_state AS Answer, arrival_number AS ArrivalNumber
            FROM gateway.transmission
            WHERE kind = '{TransmissionKind.Dispatch}' AND dispatch_id = ANY(@ids)
            ORDER BY recipient_code
            """,
            new { ids = rows.Select(r => r.Id).ToArray() }, cancellationToken);
        return (rows, recipients.ToLookup(r => r.Dispatch));
    }

    private sealed class Row
    {
        public Guid Id { get; init; }

        public string State { get; init; } = "";

        public string? Reason { get; init; }

        public Guid ManifestBlob { get; init; }

        public byte[]? Card { get; init; }

        public string? CardKey { get; init; }

        public Guid? MessageBlob { get; init; }

        public DateTime AcceptedAt { get; init; }

        public Guid Agency { get; init; }

        public string Number { get; init; } = "";

        public DateTime? ErasedAt { get; init; }

        public string? Cipher { get; init; }

        public Guid[] CipherLimitedBy { get; init; } = [];
    }
}

/// <summary>A dispatch of ours.</summary>
/// <param name="Card">What a list shows. Of an erased dispatch it says so in place of the subject and names no
/// document.</param>
/// <param name="MessageBlob">The mail as it left, once composed and while it is kept.</param>
public sealed record OutgoingDispatch(
    Guid Id, DispatchCard Card, string State, string? Reason, Guid? MessageBlob, DateTimeOffset AcceptedAt,
    IReadOnlyList<OutgoingRecipient> Recipients)
{
    /// <summary>Null in a list, and where the content is erased.</summary>
    public Manifest? Manifest { get; init; }

    /// <summary>When its content was destroyed, UTC; null while it is there.</summary>
    public DateTime? ErasedAt { get; init; }

    /// <summary>The cipher, such as <c>AES-256-GCM</c>; null until the dispatch is encrypted, or where an older build
    /// encrypted it.</summary>
    public string? Cipher { get; init; }

    /// <summary>The codes of the addressees because of which the cipher is not the best one.</summary>
    public IReadOnlyList<string> CipherLimitedBy { get; init; } = [];
}

/// <summary>One addressee of a dispatch and how far it came there. Times are UTC.</summary>
public sealed class OutgoingRecipient
{
    public Guid Transmission { get; init; }

    public Guid Dispatch { get; init; }

    public Guid? Id { get; init; }

    public string Code { get; init; } = "";

    public string? Name { get; set; }

    public string State { get; init; } = "";

    public string? Reason { get; init; }

    public DateTime? FirstSentAt { get; init; }

    public DateTime? ClosedAt { get; init; }

    public DateTime? OverdueAt { get; init; }

    public string? ReceiptEvent { get; init; }

    /// <summary>What the last receipt says: one of <see cref="ReceiptState"/>; null: none came, or an earlier build
    /// recorded it.</summary>
    public string? Answer { get; init; }

    /// <summary>The arrival number in the addressee's register.</summary>
    public int? ArrivalNumber { get; init; }
}
