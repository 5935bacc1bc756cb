using Npgsql;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// What a clerk is told about what could not be sent, is late or is overdue: the facts that RFC 3464 reports (action,
/// reason, remote gateway, what it last said, until when it is tried), as a row that the console and <c>securemail
/// inbox</c> show. No mail: the clerk is here, and a mail could itself get lost.
/// </summary>
internal static class Notice
{
    /// <summary>Adds one for each transmission, in the caller's transaction; to be called while the work still says
    /// what it last met.</summary>
    public static async Task AddAsync(
        NpgsqlTransaction transaction, IReadOnlyCollection<Guid> transmissions, string action, string? reason,
        string? diagnostic, CancellationToken cancellationToken, TimeSpan? retryFor = null)
    {
        if (transmissions.Count == 0)
        {
            return;
        }

        await transaction.ExecuteAsync(
            $"""
            INSERT INTO gateway.notice (agency_id, transmission_id, action, reason, remote, diagnostic, retry_until)
            SELECT t.agency_id, t.transmission_id, @action, @reason, w.lane, coalesce(@diagnostic, CASE
              WHEN d.failures > 0 THEN d.last_error END, w.last_error, t.reason), t.queued_at + @retryFor::interval
            FROM gateway.transmission t LEFT JOIN gateway.work w ON w.kind = '{WorkKind.Send}'
              AND w.subject = t.transmission_id LEFT JOIN gateway.destination d ON d.lane = w.lane
            WHERE t.transmission_id = ANY(@ids)
            """,
            new { ids = transmissions.ToArray(), action, reason, diagnostic, retryFor }, cancellationToken);
    }
}
