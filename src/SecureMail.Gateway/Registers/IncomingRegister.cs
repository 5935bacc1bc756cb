using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;

namespace SecureMail.Gateway.Registers;

/// <summary>The register of incoming documents (sổ đăng ký văn bản đến), for reading: what came, the findings, the
/// disposition and the documents.</summary>
public sealed class IncomingRegister(
    GatewayDatabase database, BlobStore blobs, CardCipher cards, DirectoryStore directories)
{
    private const string Postmaster = "postmaster";

    /// <summary>The newest first, without their manifests.</summary>
    /// <param name="agencyCode">One agency's, or null for all that this gateway serves.</param>
    /// <param name="disposition"><c>inbox</c>, <c>quarantine</c>, <c>returned</c>, <c>duplicate</c>, or null for all
    /// but receipts.</param>
    public async Task<IReadOnlyList<IncomingMessage>> ListAsync(
        string? agencyCode, string? disposition, int limit, CancellationToken cancellationToken)
    {
        var directory = await directories.CurrentAsync(cancellationToken);
        Guid? agency = agencyCode is null
            ? null
            : directory.FindEverByCode(agencyCode)?.Id
                ?? throw new DirectoryException(ReasonCode.AgencyUnknown, agencyCode);
        var ofDisposition =
            disposition is null ? $"coalesce(i.place, '') <> '{Disposition.Matched}'" : "i.place = @disposition";
        var ofAgency = agency is null ? "" : "AND i.agency_id = @agency";
        // Ids are UUIDv7 of the time of reception: their order is that of the register, and an index has it.
        return await QueryAsync(
            $"WHERE {ofDisposition} {ofAgency} ORDER BY i.incoming_id DESC LIMIT @limit",
            new { agency, disposition, limit }, directory, withManifest: false, cancellationToken);
    }

    /// <summary>One message with its manifest; null where there is none of that id.</summary>
    public async Task<IncomingMessage?> FindAsync(Guid incoming, CancellationToken cancellationToken) =>
        (
            await QueryAsync(
                "WHERE i.incoming_id = @incoming", new { incoming }, await directories.CurrentAsync(cancellationToken),
                withManifest: true, cancellationToken)
        ).SingleOrDefault();

    /// <summary>The validations of a message, oldest first; validating again adds one.</summary>
    public async Task<IReadOnlyList<StoredFinding>> FindingsAsync(Guid incoming, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return
        [
            .. await connection.ListAsync<StoredFinding>(
                """
                SELECT judged_at AS ValidatedAt, verdict AS Verdict, findings::text AS Json
                FROM gateway.finding WHERE incoming_id = @incoming ORDER BY finding_id
                """,
                new { incoming }, cancellationToken),
        ];
    }

    /// <summary>The n-th document of a message, from 1.</summary>
    public async Task<Stream> OpenDocumentAsync(Guid incoming, int n, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var blob = await connection.ScalarAsync<Guid?>(
            "SELECT blob_id FROM gateway.incoming_document WHERE incoming_id = @incoming AND n = @n",
            new { incoming, n }, cancellationToken);
        return await blobs.OpenAsync(
            blob ?? throw new InvalidDataException($"The message {incoming} has no document {n}."),
            cancellationToken);
    }

    /// <summary>The mail as it came, byte for byte.</summary>
    public async Task<Stream> OpenReceivedAsync(Guid incoming, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var blob = await connection.ScalarAsync<Guid>(
            """
            SELECT r.blob_id FROM gateway.incoming i JOIN gateway.received r USING (received_id)
            WHERE i.incoming_id = @incoming
            """,
            new { incoming }, cancellationToken);
        return await blobs.OpenAsync(blob, cancellationToken);
    }

    private async Task<IReadOnlyList<IncomingMessage>> QueryAsync(
        string clause, object parameters, DirectorySnapshot directory, bool withManifest,
        CancellationToken cancellationToken)
    {
        IReadOnlyList<Row> rows;
        await using (var connection = await database.Source.OpenConnectionAsync(cancellationToken))
        {
            rows = await connection.ListAsync<Row>(
                $"""
                SELECT i.incoming_id AS Id, i.agency_id AS Agency, i.state AS State, i.kind AS Kind,
                  i.place AS Disposition, i.verdict AS Verdict, i.reason AS Reason, i.sender_id AS Sender,
                  i.dispatch_id AS Dispatch, i.arrival_number AS ArrivalNumber, i.manifest_blob AS ManifestBlob,
                  i.card AS Card,
                  i.card_key AS CardKey, i.entry_id AS Entry, r.received_at AS ReceivedAt, r.peer AS Peer,
                  i.erased_at AS ErasedAt
                FROM gateway.incoming i JOIN gateway.received r USING (received_id) {clause}
                """,
                parameters, cancellationToken);
        }

        List<IncomingMessage> messages = [];
        foreach (var row in rows)
        {
            // A row that a node of an older build wrote has no card.
            var manifest =
                row is { ErasedAt: null, ManifestBlob: { } blob } && (withManifest || row.Card is null)
                    ? Manifest.Parse(await blobs.ReadAllAsync(blob, Manifest.MaxBytes, cancellationToken))
                    : null;
            var sender = row.Sender is { } id ? directory.Find(id) : null;
            var agency = directory.Find(row.Agency)?.LastName;
            messages.Add(
                new IncomingMessage(
                    row.Id, agency?.Code ?? CodeOf(row.Agency), agency?.Name ?? NameOf(row.Agency), row.State,
                    row.Kind, row.Disposition, row.Verdict, row.Reason, sender?.LastName.Name, row.Dispatch,
                    row.ArrivalNumber, CardOf(row, manifest, sender), row.Entry,
                    new DateTimeOffset(row.ReceivedAt, TimeSpan.Zero), row.Peer)
                {
                    Manifest = withManifest ? manifest : null,
                    ErasedAt = row.ErasedAt,
                });
        }

        return messages;
    }

    // Mail for the gateway's administrator is for none of its agencies; it is listed under this code and name.
    private static string CodeOf(Guid addressee) =>
        addressee == DirectoryStore.GatewayItself ? Postmaster : addressee.ToString();

    private static string NameOf(Guid addressee) => addressee == DirectoryStore.GatewayItself ? Postmaster : "";

    private DispatchCard? CardOf(Row row, Manifest? manifest, Agency? sender) =>
        row switch
        {
            { ErasedAt: not null, Disposition: Disposition.Inbox, Dispatch: not null } => ErasedContent.CardOf(
                "—", row.ReceivedAt, sender),
            { ErasedAt: not null } => null,
            _ when manifest is not null => DispatchCard.Of(manifest),
            { Card: { } card, CardKey: { } key } => DispatchCard.Decrypt(cards, row.Id, new EncryptedCard(key, card)),
            _ => null,
        };

    private sealed class Row
    {
        public Guid Id { get; init; }

        public Guid Agency { get; init; }

        public string State { get; init; } = "";

        public string? Kind { get; init; }

        public string? Disposition { get; init; }

        public string? Verdict { get; init; }

        public string? Reason { get; init; }

        public Guid? Sender { get; init; }

        public Guid? Dispatch { get; init; }

        public int? ArrivalNumber { get; init; }

        public Guid? ManifestBlob { get; init; }

        public byte[]? Card { get; init; }

        public string? CardKey { get; init; }

        public long? Entry { get; init; }

        public DateTime ReceivedAt { get; init; }

        public string Peer { get; init; } = "";

        public DateTime? ErasedAt { get; init; }
    }
}

/// <summary>A message that came for one of our agencies.</summary>
/// <param name="Card">What a list shows; null unless the dispatch was authentic and for that agency. Of an erased
/// dispatch it says so in place of the subject and names no document.</param>
public sealed record IncomingMessage(
    Guid Id, string AgencyCode, string AgencyName, string State, string? Kind, string? Disposition, string? Verdict,
    string? Reason, string? SenderName, Guid? DispatchId, int? ArrivalNumber, DispatchCard? Card, long? Entry,
    DateTimeOffset ReceivedAt, string Peer)
{
    /// <summary>Null in a list, where there is no card, and where the content is erased.</summary>
    public Manifest? Manifest { get; init; }

    /// <summary>When its content was destroyed, UTC; null while it is there.</summary>
    public DateTime? ErasedAt { get; init; }
}

/// <summary>One validation: the verdict, and the findings as the JSON of CLI.md.</summary>
public sealed class StoredFinding
{
    public DateTime ValidatedAt { get; init; }

    public string Verdict { get; init; } = "";

    public string Json { get; init; } = "";
}
