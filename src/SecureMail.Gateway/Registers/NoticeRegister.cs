using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;

namespace SecureMail.Gateway.Registers;

/// <summary>What the clerks were told about what they sent: late, given up, refused for good, or without a
/// receipt.</summary>
public sealed class NoticeRegister(GatewayDatabase database, DirectoryStore directories)
{
    /// <summary>The newest first. The transmission's state shows whether the matter is settled since (the receipt came,
    /// the message left).</summary>
    /// <param name="agency">The sending agency's code; null: all.</param>
    public async Task<IReadOnlyList<SenderNotice>> ListAsync(
        string? agency, int limit, CancellationToken cancellationToken)
    {
        var directory = await directories.CurrentAsync(cancellationToken);
        // The agencies are known before the query, so that the limit counts the notices of these agencies alone.
        var agencies = directory.Agencies.Where(a => a.LastName.Code == agency).Select(a => a.Id).ToArray();
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var notices = (
            await connection.ListAsync<SenderNotice>(
                $"""
                SELECT n.notice_id AS Id, n.raised_at AS RaisedAt, n.action AS Action, n.reason AS Reason,
                  n.remote AS Remote, n.diagnostic AS Diagnostic, n.retry_until AS RetryUntil,
                  n.agency_id AS AgencyId, t.kind AS Kind, t.dispatch_id AS DispatchId,
                  t.recipient_code AS RecipientCode, t.state AS State,
                  t.first_sent_at IS NOT NULL AS MayHaveArrived, o.number_text AS Number
                FROM gateway.notice n
                  JOIN gateway.transmission t USING (transmission_id)
                  LEFT JOIN gateway.outgoing o
                    ON t.kind = '{TransmissionKind.Dispatch}' AND o.dispatch_id = t.dispatch_id
                WHERE @all OR n.agency_id = ANY(@agencies)
                ORDER BY n.raised_at DESC, n.notice_id DESC LIMIT @limit
                """,
                new { all = agency is null, agencies, limit }, cancellationToken)
        ).ToList();
        notices.ForEach(n => n.AgencyCode = directory.Find(n.AgencyId)?.LastName.Code);
        return notices;
    }
}

/// <summary>One notice. Times are UTC.</summary>
public sealed class SenderNotice
{
    public long Id { get; init; }

    public DateTime RaisedAt { get; init; }

    /// <summary><c>delayed</c>, <c>failed</c>, or <c>overdue</c>: taken by the other gateway, and no receipt.</summary>
    public string Action { get; init; } = "";

    public string? Reason { get; init; }

    /// <summary>The gateway it goes to.</summary>
    public string? Remote { get; init; }

    /// <summary>What that gateway last said, or what became of the connection.</summary>
    public string? Diagnostic { get; init; }

    public DateTime? RetryUntil { get; init; }

    public Guid AgencyId { get; init; }

    public string? AgencyCode { get; set; }

    /// <summary><c>dispatch</c>, or <c>receipt</c>: an answer of ours that did not arrive.</summary>
    public string Kind { get; init; } = "";

    public Guid DispatchId { get; init; }

    public string? Number { get; init; }

    public string RecipientCode { get; init; } = "";

    /// <summary>Of the transmission, now.</summary>
    public string State { get; init; } = "";

    /// <summary>It left at least once, and nobody said that it did not arrive.</summary>
    public bool MayHaveArrived { get; init; }
}
