using Dapper;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Storage;
using SecureMail.Gateway.Vocabulary;

namespace SecureMail.Gateway.Registers;

/// <summary>The register of incoming documents (sổ văn bản đến), for reading: what came, what was found, where it lies,
/// and its documents.</summary>
public sealed class IncomingRegister(GatewayDatabase database, BlobStore blobs, DirectoryStore directories)
{
    /// <summary>The newest first.</summary>
    /// <param name="agencyCode">One agency's, or null for all that this gateway serves.</param>
    /// <param name="place"><c>inbox</c>, <c>quarantine</c>, <c>returned</c>, <c>duplicate</c>, or null for all but
    /// receipts.</param>
    public async Task<IReadOnlyList<IncomingMessage>> ListAsync(
        string? agencyCode, string? place, int limit, CancellationToken cancellationToken)
    {
        var directory = await directories.CurrentAsync(cancellationToken);
        Guid? agency = agencyCode is null
            ? null
            : directory.FindEverByCode(agencyCode)?.Id
                ?? throw new DirectoryException(
                    ReasonCode.AgencyUnknown, $"Không có cơ quan {agencyCode} trong danh bạ.",
                    $"The directory has no agency {agencyCode}.");
        // Ids are UUIDv7 of the time of reception: their order is that of the register, and an index has it.
        return await QueryAsync(
            $"WHERE {(place is null ? $"coalesce(i.place, '') <> '{Disposition.Matched}'" : "i.place = @place")} {(agency is null ? "" : "AND i.agency_id = @agency")} ORDER BY i.incoming_id DESC LIMIT @limit",
            new
            {
                agency,
                place,
                limit,
            },
            directory,
            cancellationToken);
    }

    public async Task<IncomingMessage?> FindAsync(Guid incoming, CancellationToken cancellationToken) =>
        (
            await QueryAsync(
                "WHERE i.incoming_id = @incoming", new { incoming }, await directories.CurrentAsync(cancellationToken),
                cancellationToken)
        ).SingleOrDefault();

    /// <summary>The judgements of a message, oldest first; judging again appends.</summary>
    public async Task<IReadOnlyList<StoredFinding>> FindingsAsync(Guid incoming, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return
        [
            .. await connection.QueryAsync<StoredFinding>(
                new CommandDefinition(
                    "SELECT judged_at AS JudgedAt, verdict AS Verdict, findings::text AS Json FROM gateway.finding "
                        + "WHERE incoming_id = @incoming ORDER BY finding_id",
                    new { incoming },
                    cancellationToken: cancellationToken)),
        ];
    }

    /// <summary>The n-th document of a message, from 1.</summary>
    public async Task<Stream> OpenDocumentAsync(Guid incoming, int n, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var blob = await connection.ExecuteScalarAsync<Guid?>(
            new CommandDefinition(
                "SELECT blob_id FROM gateway.incoming_document WHERE incoming_id = @incoming AND n = @n",
                new { incoming, n }, cancellationToken: cancellationToken));
        return await blobs.OpenAsync(
            blob ?? throw new InvalidDataException($"Không có văn bản số {n}. / There is no document {n}."),
            cancellationToken);
    }

    /// <summary>The mail as it came, octet for octet.</summary>
    public async Task<Stream> OpenReceivedAsync(Guid incoming, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var blob = await connection.ExecuteScalarAsync<Guid>(
            new CommandDefinition(
                "SELECT r.blob_id FROM gateway.incoming i JOIN gateway.received r USING (received_id) WHERE "
                    + "i.incoming_id = @incoming",
                new { incoming },
                cancellationToken: cancellationToken));
        return await blobs.OpenAsync(blob, cancellationToken);
    }

    private async Task<IReadOnlyList<IncomingMessage>> QueryAsync(
        string clause, object parameters, DirectorySnapshot directory, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var rows = await connection.QueryAsync<Row>(
            new CommandDefinition(
                $"""
                SELECT i.incoming_id AS Id, i.agency_id AS Agency, i.state AS State, i.kind AS Kind, i.place AS Place,
                  i.verdict AS Verdict, i.reason AS Reason, i.sender_id AS Sender,
                  i.dispatch_id AS Dispatch, i.arrival_number AS ArrivalNumber, i.manifest_blob AS ManifestBlob,
                    i.entry_id AS Entry, r.received_at AS ReceivedAt, r.peer AS Peer, i.erased_at AS ErasedAt
                FROM gateway.incoming i JOIN gateway.received r USING (received_id) {clause}
                """,
                parameters,
                cancellationToken: cancellationToken));
        List<IncomingMessage> messages = [];
        foreach (var row in rows)
        {
            var manifest =
                row is { ErasedAt: not null, Place: Disposition.Inbox, Dispatch: { } dispatch }
                    ? ErasedManifest.For(
                        dispatch, "—", row.ReceivedAt, row.Sender is { } from ? directory.Find(from) : null)
                : row is { ErasedAt: null, ManifestBlob: { } blob }
                    ? Manifest.Parse(await blobs.ReadAllAsync(blob, Manifest.MaxBytes, cancellationToken))
                : null;
            messages.Add(
                new IncomingMessage(
                    row.Id, directory.Find(row.Agency)?.LastName.Code ?? row.Agency.ToString(),
                    directory.Find(row.Agency)?.LastName.Name ?? "", row.State, row.Kind, row.Place, row.Verdict,
                    row.Reason, row.Sender is { } s ? directory.Find(s)?.LastName.Name : null, row.Dispatch,
                    row.ArrivalNumber, manifest, row.Entry, new DateTimeOffset(row.ReceivedAt, TimeSpan.Zero), row.Peer)
                {
                    ErasedAt = row.ErasedAt,
                });
        }

        return messages;
    }

    private sealed class Row
    {
        public Guid Id { get; init; }

        public Guid Agency { get; init; }

        public string State { get; init; } = "";

        public string? Kind { get; init; }

        public string? Place { get; init; }

        public string? Verdict { get; init; }

        public string? Reason { get; init; }

        public Guid? Sender { get; init; }

        public Guid? Dispatch { get; init; }

        public int? ArrivalNumber { get; init; }

        public Guid? ManifestBlob { get; init; }

        public long? Entry { get; init; }

        public DateTime ReceivedAt { get; init; }

        public string Peer { get; init; } = "";

        public DateTime? ErasedAt { get; init; }
    }
}

/// <summary>
/// A message that came for one of our agencies. The manifest is there only when the dispatch was authentic and for that
/// agency; of an erased one it says so in place of the subject and names no document.
/// </summary>
public sealed record IncomingMessage(
    Guid Id, string AgencyCode, string AgencyName, string State, string? Kind, string? Place, string? Verdict,
    string? Reason, string? SenderName, Guid? DispatchId, int? ArrivalNumber, Manifest? Manifest, long? Entry,
    DateTimeOffset ReceivedAt, string Peer)
{
    /// <summary>When its content was destroyed, UTC; null while it is there.</summary>
    public DateTime? ErasedAt { get; init; }
}

/// <summary>One judgement: the verdict and the findings as the JSON of CLI.md.</summary>
public sealed class StoredFinding
{
    public DateTime JudgedAt { get; init; }

    public string Verdict { get; init; } = "";

    public string Json { get; init; } = "";
}
