using System.Globalization;
using Dapper;
using Microsoft.Extensions.Logging;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Mail.Smtp;
using SecureMail.Mail.Smtp.Server;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Recovery;

/// <summary>
/// What a peer that was restored asks of us, as private SMTP commands between gateways that know each other's keys
/// (docs/formats.md): <c>XHELD SIZE</c>, which checkpoint of its ledger we hold, and <c>XRESEND TIME</c>, to send again
/// what we sent to it since.
/// </summary>
internal sealed class PeerRequests(
    GatewayDatabase database, DirectoryStore directories, TimeProvider time, ILogger<PeerRequests> logger)
{
    public const string Held = "XHELD";
    public const string Resend = "XRESEND";

    /// <summary>How <see cref="Resend"/> writes its time.</summary>
    public const string TimeFormat = "yyyy-MM-dd'T'HH:mm:ss'Z'";

    // RFC 5321 §4.5.3.1.5: a reply line has 512 octets with its code.
    private const int LineLength = 480;
    private const int LongestNote = 32 * 1024;

    // A peer is restored once in years. The same time again is answered from the row.
    private const int RequestsPerDay = 8;
    private const int LargestResend = 100_000;

    public IReadOnlyDictionary<string, Func<SmtpPeer, string, CancellationToken, Task<SmtpReply>>> Commands =>
        new Dictionary<string, Func<SmtpPeer, string, CancellationToken, Task<SmtpReply>>>
        {
            [Held] = HeldAsync,
            [Resend] = ResendAsync,
        };

    /// <summary>The highest checkpoint we hold of the asker's ledger, proven or not: it signed it. And when we first
    /// saw something above the size it has.</summary>
    private async Task<SmtpReply> HeldAsync(SmtpPeer peer, string argument, CancellationToken cancellationToken)
    {
        if (!long.TryParse(argument, NumberStyles.None, CultureInfo.InvariantCulture, out var has))
        {
            return new SmtpReply(501, "5.5.4", "XHELD takes the size of your ledger");
        }

        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var row = await connection.QuerySingleOrDefaultAsync<(long Size, byte[] Note, DateTime? Since)?>(
            new CommandDefinition(
                """
                SELECT size, note, (SELECT min(seen_at) FROM ledger.peer_checkpoint WHERE origin = @Id AND size > @has)
                  FROM ledger.peer_checkpoint
                WHERE origin = @Id AND octet_length(note) <= @LongestNote ORDER BY size DESC, state DESC LIMIT 1
                """,
                new
                {
                    peer.Id,
                    has,
                    LongestNote,
                },
                cancellationToken: cancellationToken));
        if (row is not { } held)
        {
            return new SmtpReply(250, "2.0.0", "0 -");
        }

        var since = held.Since is { } s ? s.ToString(TimeFormat, CultureInfo.InvariantCulture) : "-";
        var base64 = Convert.ToBase64String(held.Note);
        return new SmtpReply(
            250,
            "2.0.0",
            [
                string.Create(CultureInfo.InvariantCulture, $"{held.Size} {since}"),
                .. base64.Chunk(LineLength).Select(c => new string(c)),
            ]);
    }

    /// <summary>Puts into the queue what went to the asker's agencies since then, whatever became of it: what it still
    /// has it knows as a duplicate.</summary>
    private async Task<SmtpReply> ResendAsync(SmtpPeer peer, string argument, CancellationToken cancellationToken)
    {
        if (
            !DateTimeOffset.TryParseExact(
                argument, TimeFormat, CultureInfo.InvariantCulture,
                DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var since)
            || since > time.GetUtcNow())
        {
            return new SmtpReply(501, "5.5.4", "XRESEND takes a time in the past, in UTC");
        }

        var directory = await directories.CurrentAsync(cancellationToken);
        var agencies = directory.Agencies.Where(a => a.Record.Gateway == peer.Id).Select(a => a.Id).ToArray();
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        await connection.ExecuteAsync(
            new CommandDefinition(
                "SELECT pg_advisory_xact_lock(hashtextextended('securemail resend ' || @Id, 0))", new { peer.Id },
                transaction, cancellationToken: cancellationToken));
        var (before, today) = await connection.QuerySingleAsync<(int?, long)>(
            new CommandDefinition(
                """
                SELECT (SELECT count FROM gateway.resend_request WHERE peer = @Id AND since = @since),
                       (SELECT count(*) FROM gateway.resend_request WHERE peer = @Id
                         AND asked_at > now() - interval '1 day')
                """,
                new { peer.Id, since = since.UtcDateTime },
                transaction,
                cancellationToken: cancellationToken));
        if (before is { } known)
        {
            return Answer(known);
        }

        if (today >= RequestsPerDay)
        {
            return new SmtpReply(450, "4.7.1", "Asked too often: tomorrow again");
        }

        var again = (
            await connection.QueryAsync<(Guid Id, Guid? Batch)>(
                new CommandDefinition(
                    $"""
                    UPDATE gateway.transmission SET resend_at = now() WHERE transmission_id IN (
                      SELECT transmission_id FROM gateway.transmission
                      WHERE recipient_id = ANY(@agencies) AND state IN ('{TransmissionState.Sent}',
                        '{TransmissionState.Unknown}', '{TransmissionState.Acknowledged}',
                        '{TransmissionState.Refused}') AND first_sent_at >= @since
                        AND message_blob IN (SELECT blob_id FROM gateway.blob WHERE erased_at IS NULL)
                      ORDER BY first_sent_at LIMIT @LargestResend)
                    RETURNING transmission_id, CASE WHEN kind = '{TransmissionKind.Dispatch}' THEN dispatch_id END
                    """,
                    new
                    {
                        agencies,
                        since = since.UtcDateTime,
                        LargestResend,
                    },
                    transaction,
                    cancellationToken: cancellationToken))
        ).ToList();
        await WorkQueue.EnqueueAsync(
            transaction, WorkKind.Send, [.. again.Select(a => new NewWork(a.Id, peer.Id, a.Batch))], awaitsEntry: null,
            cancellationToken);
        await connection.ExecuteAsync(
            new CommandDefinition(
                "INSERT INTO gateway.resend_request (peer, since, count) VALUES (@Id, @since, @Count)",
                new
                {
                    peer.Id,
                    since = since.UtcDateTime,
                    again.Count,
                },
                transaction,
                cancellationToken: cancellationToken));
        await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = time.GetUtcNow(),
                Agency = DirectoryStore.GatewayItself,
                Kind = EntryKind.GatewayResendAsked,
                Object = peer.Id!,
            },
            cancellationToken);
        // From this commit on it is our business that it is sent again; before it the peer was told nothing and asks
        // once more.
        await transaction.CommitAsync("peer.resend", cancellationToken);
        RecoveryLog.ResendServed(logger, peer.Id!, since, again.Count);
        return Answer(again.Count);
    }

    private static SmtpReply Answer(int count) => new(250, "2.0.0", count.ToString(CultureInfo.InvariantCulture));
}
