using Dapper;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Storage;
using SecureMail.Gateway.Vocabulary;

namespace SecureMail.Gateway.Registers;

/// <summary>The register of outgoing documents (sổ văn bản đi), for reading: what was accepted, and how far it came at
/// each addressee.</summary>
public sealed class OutgoingRegister(GatewayDatabase database, BlobStore blobs, DirectoryStore directories)
{
    /// <summary>The newest first.</summary>
    public async Task<IReadOnlyList<OutgoingDispatch>> ListAsync(int limit, CancellationToken cancellationToken) =>
        await QueryAsync("ORDER BY accepted_at DESC, dispatch_id DESC LIMIT @limit", new { limit }, cancellationToken);

    public async Task<OutgoingDispatch?> FindAsync(Guid dispatch, CancellationToken cancellationToken) =>
        (await QueryAsync("WHERE dispatch_id = @dispatch", new { dispatch }, cancellationToken)).SingleOrDefault();

    private async Task<IReadOnlyList<OutgoingDispatch>> QueryAsync(
        string clause, object parameters, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var rows = (
            await connection.QueryAsync<Row>(
                new CommandDefinition(
                    $"SELECT dispatch_id AS Id, state AS State, reason AS Reason, manifest_blob AS ManifestBlob, CASE "
                        + $"WHEN message_gone_at IS NULL THEN message_blob END AS MessageBlob, accepted_at AS "
                        + $"AcceptedAt, agency_id AS Agency, number_text AS Number, erased_at AS ErasedAt, cipher AS "
                        + $"Cipher, cipher_limited_by AS CipherLimitedBy FROM gateway.outgoing {clause}",
                    parameters,
                    cancellationToken: cancellationToken))
        ).ToList();
        var recipients = (
            await connection.QueryAsync<OutgoingRecipient>(
                new CommandDefinition(
                    $"""
                    SELECT transmission_id AS Transmission, dispatch_id AS Dispatch, recipient_id AS Id,
                      recipient_code AS Code, state AS State, reason AS Reason, first_sent_at AS FirstSentAt,
                      closed_at AS ClosedAt, overdue_at AS OverdueAt, receipt_event AS ReceiptEvent
                    FROM gateway.transmission WHERE kind = '{TransmissionKind.Dispatch}'
                      AND dispatch_id = ANY(@ids) ORDER BY recipient_code
                    """,
                    new { ids = rows.Select(r => r.Id).ToArray() },
                    cancellationToken: cancellationToken))
        ).ToLookup(r => r.Dispatch);
        var directory = await directories.CurrentAsync(cancellationToken);
        List<OutgoingDispatch> dispatches = [];
        foreach (var row in rows)
        {
            var manifest = row.ErasedAt is null
                ? Manifest.Parse(await blobs.ReadAllAsync(row.ManifestBlob, Manifest.MaxBytes, cancellationToken))
                : ErasedManifest.For(row.Id, row.Number, row.AcceptedAt, directory.Find(row.Agency));
            var named = recipients[row.Id].ToList();
            var limiting = row.CipherLimitedBy.ToHashSet();
            named.ForEach(r => r.Name = r.Id is { } id ? directory.Find(id)?.LastName.Name : null);
            dispatches.Add(
                new OutgoingDispatch(
                    row.Id, manifest, row.State, row.Reason, row.MessageBlob,
                    new DateTimeOffset(row.AcceptedAt, TimeSpan.Zero), named)
                {
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

    private sealed class Row
    {
        public Guid Id { get; init; }

        public string State { get; init; } = "";

        public string? Reason { get; init; }

        public Guid ManifestBlob { get; init; }

        public Guid? MessageBlob { get; init; }

        public DateTime AcceptedAt { get; init; }

        public Guid Agency { get; init; }

        public string Number { get; init; } = "";

        public DateTime? ErasedAt { get; init; }

        public string? Cipher { get; init; }

        public Guid[] CipherLimitedBy { get; init; } = [];
    }
}

/// <summary>
/// A dispatch of ours. <paramref name="MessageBlob"/>: the mail as it left, once composed and while it is kept. Of an
/// erased one <paramref name="Manifest"/> says so in place of the subject and names no document.
/// </summary>
public sealed record OutgoingDispatch(
    Guid Id, Manifest Manifest, string State, string? Reason, Guid? MessageBlob, DateTimeOffset AcceptedAt,
    IReadOnlyList<OutgoingRecipient> Recipients)
{
    /// <summary>When its content was destroyed, UTC; null while it is there.</summary>
    public DateTime? ErasedAt { get; init; }

    /// <summary>How it is encrypted, as <c>AES-256-GCM</c>; null until it is, or where an older build did it.</summary>
    public string? Cipher { get; init; }

    /// <summary>The codes of the addressees because of which that is not the best there is.</summary>
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
}
