using System.Globalization;
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

namespace SecureMail.Gateway.Recovery;

/// <summary>
/// What a peer that was restored asks of us, as private SMTP commands between gateways that know each other's keys
/// (docs/formats.md): which checkpoint of its ledger we hold, and to send again what we sent to it since. The listener
/// reads the commands and makes the replies.
/// </summary>
internal sealed class PeerRequests(
    GatewayDatabase database, DirectoryStore directories, TimeProvider time, ILogger<PeerRequests> logger)
{
    /// <summary>The command <c>XHELD SIZE</c>.</summary>
    public const string Held = "XHELD";

    /// <summary>The command <c>XRESEND TIME</c>.</summary>
    public const string Resend = "XRESEND";

    /// <summary>How both commands write a time.</summary>
    public const string TimeFormat = "yyyy-MM-dd'T'HH:mm:ss'Z'";

    private const int LongestNote = 32 * 1024;

    // A peer is restored once in years. The same time again is answered from the row.
    private const int RequestsPerDay = 8;
    private const int LargestResend = 100_000;

    /// <summary>Reads the size of a ledger, as <see cref="Held"/> and its answer carry it.</summary>
    public static bool TryReadSize(string text, out long size)
    {
        size = 0;
        // The platform's parser passes over NUL behind the digits.
        return text.All(char.IsAsciiDigit)
            && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out size);
    }

    /// <summary>Reads a time, as <see cref="Resend"/> and the answer to <see cref="Held"/> carry it.</summary>
    public static bool TryReadTime(string text, out DateTimeOffset time) =>
        DateTimeOffset.TryParseExact(
            text, TimeFormat, CultureInfo.InvariantCulture,
            DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out time);

    /// <summary>The highest checkpoint we hold of the asker's ledger, proven or not: it signed it. Null:
    /// none.</summary>
    /// <param name="peer">The asker's name, which is its ledger's origin.</param>
    /// <param name="has">The size that the asker has.</param>
    public async Task<HeldCheckpoint?> FindHeldAsync(string peer, long has, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var row = await connection.FindAsync<(long Size, byte[] Note, DateTime? Since)?>(
            """
            SELECT size, note, (SELECT min(seen_at) FROM ledger.peer_checkpoint WHERE origin = @peer AND size > @has)
            FROM ledger.peer_checkpoint
            WHERE origin = @peer AND octet_length(note) <= @LongestNote
            ORDER BY size DESC, state DESC LIMIT 1
            """,
            new { peer, has, LongestNote }, cancellationToken);
        return row is { } held ? new HeldCheckpoint(held.Size, held.Note, held.Since) : null;
    }

    /// <summary>Puts into the queue what went to the asker's agencies since then, whatever became of it: what it still
    /// has it knows as a duplicate.</summary>
    /// <returns>How many messages go again; the same time asked again has the same answer.</returns>
    /// <exception cref="ResendRefusedException">The time is to come, or the peer asked too often today.</exception>
    public async Task<int> ResendAsync(string peer, DateTimeOffset since, CancellationToken cancellationToken)
    {
        if (since > time.GetUtcNow())
        {
            throw new ResendRefusedException("The time is in the future.", isTooOften: false);
        }

        var directory = await directories.CurrentAsync(cancellationToken);
        var now = time.GetUtcNow();
        var agencies = directory.Agencies.Where(a => a.GatewayAt(now) == peer).Select(a => a.Id).ToArray();
        // From this commit on it is our business to send again. Before it the peer was told nothing and asks once more.
        var (count, isNew) = await database.Source.InTransactionAsync(
            "peer.resend",
            async transaction =>
            {
                await AdvisoryLock.Resend(peer).TakeAsync(transaction, cancellationToken);
                return await FindAnsweredAsync(transaction, peer, since, cancellationToken) is { } known
                    ? (known, false)
                    : (await QueueAgainAsync(transaction, peer, agencies, since, cancellationToken), true);
            },
            cancellationToken);
        if (isNew)
        {
            RecoveryLog.ResendServed(logger, peer, since, count);
        }

        return count;
    }

    private static async Task<int?> FindAnsweredAsync(
        NpgsqlTransaction transaction, string peer, DateTimeOffset since, CancellationToken cancellationToken)
    {
        var (before, today) = await transaction.FindAsync<(int?, long)>(
            """
            SELECT (SELECT count FROM gateway.resend_request WHERE peer = @peer AND since = @since),
              (SELECT count(*) FROM gateway.resend_request WHERE peer = @peer AND asked_at > now() - interval '1 day')
            """,
            new { peer, since = since.UtcDateTime }, cancellationToken);
        return before is null && today >= RequestsPerDay
            ? throw new ResendRefusedException("The peer asked too often today.", isTooOften: true)
            : before;
    }

    private async Task<int> QueueAgainAsync(
        NpgsqlTransaction transaction, string peer, Guid[] agencies, DateTimeOffset since,
        CancellationToken cancellationToken)
    {
        var again = await TransmissionTable.MarkResendAsync(
            transaction, agencies, since, LargestResend, cancellationToken);
        await WorkQueue.EnqueueAsync(
            transaction, WorkKind.Send, [.. again.Select(a => new NewWork(a.Transmission, peer, a.Batch))],
            awaitsEntry: null, cancellationToken);
        await transaction.ExecuteAsync(
            "INSERT INTO gateway.resend_request (peer, since, count) VALUES (@peer, @since, @Count)",
            new { peer, since = since.UtcDateTime, again.Count }, cancellationToken);
        await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = time.GetUtcNow(),
                Agency = DirectoryStore.GatewayItself,
                Kind = EntryKind.GatewayResendAsked,
                Object = peer,
            },
            cancellationToken);
        return again.Count;
    }
}

/// <param name="Note">The signed note.</param>
/// <param name="Since">When something above the asker's size was first seen here; null: never.</param>
internal sealed record HeldCheckpoint(long Size, byte[] Note, DateTime? Since);

/// <summary>A peer's request to send again is not served.</summary>
internal sealed class ResendRefusedException(string message, bool isTooOften) : Exception(message)
{
    /// <summary>True: a later request is served. False: this request never is.</summary>
    public bool IsTooOften => isTooOften;
}
