using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Registers;
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

    public async Task BeginAsync(string subject, string kind, TimeSpan by, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        if (await BeginAsync(transaction, subject, kind, by, cancellationToken))
        {
            // The anomaly, its entry and its alarm are one commit; a crash before it and the next look writes them.
            await transaction.CommitAsync("clock.begin", cancellationToken);
            ClockLog.Began(logger, subject, kind, by);
        }
    }

    /// <summary>Ends what is open and at least so old; else nothing.</summary>
    public async Task EndAsync(string subject, TimeSpan atLeast, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var open = await transaction.FindAsync<long?>(
            """
            SELECT anomaly_id FROM gateway.clock_anomaly WHERE subject = @subject
              AND ended_at IS NULL AND (@atLeast = interval '0' OR began_at <= now() - @atLeast) FOR UPDATE
            """,
            new { subject, atLeast }, cancellationToken);
        if (open is not { } anomaly)
        {
            return;
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
        // What waited for a clock is looked at by the one that is believed now.
        await transaction.ExecuteAsync(
            $"""
            UPDATE gateway.work SET run_at = now() WHERE state = '{WorkState.Ready}' AND run_at > now()
              AND last_error = ANY(@waits)
            """,
            new { waits = new[] { ReasonCode.ClockSuspect, ReasonCode.SignedInFuture } }, cancellationToken);
        await transaction.CommitAsync("clock.end", cancellationToken);
        ClockLog.Ended(logger, subject);
    }

    /// <summary>The step, the times that are moved along with it, and the anomaly are one commit.</summary>
    public async Task DatabaseSteppedAsync(
        DateTimeOffset before, DateTimeOffset after, string node, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var first = await transaction.ScalarAsync<bool>(
            "SELECT gateway.note_step(@before, @after, @node)",
            new { before = before.UtcDateTime, after = after.UtcDateTime, node }, cancellationToken);
        if (!first)
        {
            return;
        }

        var begins = await BeginAsync(
            transaction, "database", ClockAnomalyKind.Stepped, after - before, cancellationToken);
        // Before this commit leases end by the clock that was; after it by the clock that is.
        await transaction.CommitAsync("clock.database-stepped", cancellationToken);
        if (begins)
        {
            ClockLog.Began(logger, "database", ClockAnomalyKind.Stepped, after - before);
        }
    }

    private async Task<bool> BeginAsync(
        NpgsqlTransaction transaction, string subject, string kind, TimeSpan by, CancellationToken cancellationToken)
    {
        var connection = transaction.Connection!;
        await transaction.ExecuteAsync(
            "SELECT pg_advisory_xact_lock(hashtextextended(@key, 0))",
            new { key = "clock " + subject }, cancellationToken);
        if (
            await transaction.ScalarAsync<bool>(
                "SELECT EXISTS (SELECT FROM gateway.clock_anomaly WHERE subject = @subject AND ended_at IS NULL)",
                new { subject }, cancellationToken))
        {
            return false;
        }

        var now = time.GetUtcNow();
        var seconds = Math.Round(by.TotalSeconds);
        var said = string.Create(CultureInfo.InvariantCulture, $"{kind}|{seconds}");
        var entry = await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = now,
                Agency = DirectoryStore.GatewayItself,
                Kind = ClockAnomalyKind.EntryOf(kind),
                Object = "clock:" + subject,
                // Not salted: by how much stands in clear in gateway.clock_anomaly, and anybody shall be able to
                // compare.
                Commitments = new Dictionary<string, string>
                {
                    ["seconds"] = "sha256:" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(said))),
                },
            },
            cancellationToken);
        await transaction.ExecuteAsync(
            """
            INSERT INTO gateway.clock_anomaly (subject, kind, seconds, began_entry) VALUES (@subject, @kind,
              @seconds, @EntryId);
            INSERT INTO gateway.alarm (raised_at, kind, subject, detail, entry_id) VALUES (@now, @Alarm, @subject,
              @Detail, @EntryId);
            """,
            new
            {
                subject,
                kind,
                seconds,
                entry.EntryId,
                now = now.UtcDateTime,
                Alarm = ClockAnomalyKind.AlarmOf(kind),
                Detail = string.Create(CultureInfo.InvariantCulture, $"{seconds:+0;-0} s"),
            }, cancellationToken);
        return true;
    }
}
