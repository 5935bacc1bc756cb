using Npgsql;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.Gateway.Telemetry;

/// <summary>The writing side of <c>gateway.alarm</c>: what an administrator must look at. Every alarm has an entry in
/// the ledger.</summary>
internal static class AlarmTable
{
    /// <summary>Appends an entry and raises the alarm of the same event, in the caller's transaction.</summary>
    /// <returns>What the ledger gave for the entry.</returns>
    /// <inheritdoc cref="AddAsync" path="/param"/>
    public static async Task<LedgerReceipt> AddWithEntryAsync(
        NpgsqlTransaction transaction, LedgerEntry entry, string kind, string subject, string detail,
        CancellationToken cancellationToken)
    {
        var appended = await StoredLedger.AppendAsync(transaction, entry, cancellationToken);
        await AddAsync(transaction, kind, subject, detail, appended.EntryId, entry.Time, cancellationToken);
        return appended;
    }

    /// <summary>Raises an alarm in the caller's transaction.</summary>
    /// <param name="kind">One of <see cref="Vocabulary.AlarmKind"/>.</param>
    /// <param name="subject">What it is about: an agency's code, a gateway, a clock.</param>
    /// <param name="detail">Facts for the administrator; never a subject or a body.</param>
    /// <param name="entry">The ledger entry that records the same event.</param>
    public static Task AddAsync(
        NpgsqlTransaction transaction, string kind, string subject, string detail, long entry, DateTimeOffset now,
        CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(
            """
            INSERT INTO gateway.alarm (raised_at, kind, subject, detail, entry_id)
            VALUES (@now, @kind, @subject, @detail, @entry)
            """,
            new { now = now.UtcDateTime, kind, subject, detail, entry }, cancellationToken);
}
