using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Telemetry;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Clock;

/// <summary>
/// What is written down of clocks: the beginning and the end of an anomaly, each with its entry in the ledger, the
/// beginning with an alarm; and each step of the database's clock. Several nodes see the same thing at once: the first
/// one writes it.
/// </summary>
internal sealed class ClockRecord(GatewayDatabase database, TimeProvider time, ILogger logger)
{
    /// <summary>What the database's clock shows, and by how much it was moved since the beginning, as far as that was
    /// noted.</summary>
    public async Task<(DateTimeOffset Shown, TimeSpan Moved)> ReadDatabaseAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var (shown, moved) = await connection.FindAsync<(DateTime, TimeSpan)>(
            """
            SELECT clock_timestamp(), coalesce((SELECT make_interval(secs => sum(extract(epoch
            FROM after_at - before_at))::float8) FROM gateway.clock_step), interval '0')
            """,
            null, cancellationToken);
        return (new DateTimeOffset(shown, TimeSpan.Zero), moved);
    }

    /// <summary>The time of the latest entries of the ledger. The earliest of twenty, so that one node whose clock ran
    /// ahead does not make the others doubt theirs. Null where there are none.</summary>
    public async Task<DateTimeOffset?> LatestEntryAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return await connection.ScalarAsync<DateTime?>(
            "SELECT min(time) FROM (SELECT time FROM ledger.entry ORDER BY entry_id DESC LIMIT 20) latest", null,
            cancellationToken) is { } latest
            ? new DateTimeOffset(latest, TimeSpan.Zero)
            : null;
    }

    /// <summary>Writes the beginning of an anomaly, where none of the subject is open.</summary>
    public async Task BeginAsync(string subject, string kind, TimeSpan by, CancellationToken cancellationToken)
    {
        // The anomaly, its entry and its alarm are one commit; after a crash before it the next look writes them.
        if (
            await database.Source.InTransactionAsync(
                "clock.begin", transaction => BeginAsync(transaction, subject, kind, by, cancellationToken),
                cancellationToken))
        {
            ClockLog.Began(logger, subject, kind, by);
        }
    }

    /// <summary>Ends the subject's anomaly where one is open and at least so old.</summary>
    public async Task EndAsync(string subject, TimeSpan atLeast, CancellationToken cancellationToken)
    {
        // The end, its entry and the work that is woken are one commit.
        if (
            await database.Source.InTransactionAsync(
                "clock.end", transaction => EndAsync(transaction, subject, atLeast, cancellationToken),
                cancellationToken))
        {
            ClockLog.Ended(logger, subject);
        }
    }

    /// <summary>Moves along what lies ahead of the database's clock, and writes the step and the anomaly.</summary>
    public async Task DatabaseSteppedAsync(
        DateTimeOffset before, DateTimeOffset after, string node, CancellationToken cancellationToken)
    {
        // Before this commit leases end by the clock that was; after it by the clock that is.
        if (
            await database.Source.InTransactionAsync(
                "clock.database-stepped",
                async transaction =>
                    await transaction.ScalarAsync<bool>(
                        "SELECT gateway.note_step(@before, @after, @node)",
                        new { before = before.UtcDateTime, after = after.UtcDateTime, node }, cancellationToken)
                    && await BeginAsync(
                        transaction, "database", ClockAnomalyKind.Stepped, after - before, cancellationToken),
                cancellationToken))
        {
            ClockLog.Began(logger, "database", ClockAnomalyKind.Stepped, after - before);
        }
    }

    private async Task<bool> EndAsync(
        NpgsqlTransaction transaction, string subject, TimeSpan atLeast, CancellationToken cancellationToken)
    {
        var open = await transaction.FindAsync<long?>(
            """
            SELECT anomaly_id FROM gateway.clock_anomaly
            WHERE subject = @subject AND ended_at IS NULL
              AND (@atLeast = interval '0' OR began_at <= now() - @atLeast)
            FOR UPDATE
            """,
            new { subject, atLeast }, cancellationToken);
        if (open is not { } anomaly)
        {
            return false;
        }

        var entry = await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = time.GetUtcNow(),
                Agency = DirectoryStore.GatewayItself,
                Kind = EntryKind.ClockSettled,
                Object = "clock:" + subject,
            },
            cancellationToken);
        await transaction.ExecuteAsync(
            "UPDATE gateway.clock_anomaly SET ended_at = now(), ended_entry = @EntryId WHERE anomaly_id = @anomaly",
            new { entry.EntryId, anomaly }, cancellationToken);
        // What waited for a clock is looked at by the clock that is believed now.
        await WorkQueue.WakeAsync(
            transaction, [ReasonCode.ClockSuspect, ReasonCode.SignedInFuture], cancellationToken);
        return true;
    }

    private async Task<bool> BeginAsync(
        NpgsqlTransaction transaction, string subject, string kind, TimeSpan by, CancellationToken cancellationToken)
    {
        await AdvisoryLock.Clock(subject).TakeAsync(transaction, cancellationToken);
        if (
            await transaction.ScalarAsync<bool>(
                "SELECT EXISTS (SELECT FROM gateway.clock_anomaly WHERE subject = @subject AND ended_at IS NULL)",
                new { subject }, cancellationToken))
        {
            return false;
        }

        var now = time.GetUtcNow();
        var seconds = Math.Round(by.TotalSeconds);
        var committed = string.Create(CultureInfo.InvariantCulture, $"{kind}|{seconds}");
        var entry = await AlarmTable.AddWithEntryAsync(
            transaction,
            new LedgerEntry
            {
                Time = now,
                Agency = DirectoryStore.GatewayItself,
                Kind = ClockAnomalyKind.EntryOf(kind),
                Object = "clock:" + subject,
                // Not salted: the seconds stand in clear in gateway.clock_anomaly, and anybody shall be able to
                // compare.
                Commitments = new Dictionary<string, string>
                {
                    ["seconds"] =
                        "sha256:" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(committed))),
                },
            },
            ClockAnomalyKind.AlarmOf(kind), subject, string.Create(CultureInfo.InvariantCulture, $"{seconds:+0;-0} s"),
            cancellationToken);
        await transaction.ExecuteAsync(
            """
            INSERT INTO gateway.clock_anomaly (subject, kind, seconds, began_entry)
            VALUES (@subject, @kind, @seconds, @EntryId)
            """,
            new { subject, kind, seconds, entry.EntryId }, cancellationToken);
        return true;
    }
}
