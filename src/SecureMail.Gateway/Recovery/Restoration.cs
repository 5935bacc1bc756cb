using System.Globalization;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Storage;

namespace SecureMail.Gateway.Recovery;

/// <summary>
/// After a restoration: the gateway asks every peer of the directory for the highest checkpoint that the peer holds of
/// its ledger. Where our tree had that root at that size, nothing that the peer was ever shown is missing. Until all
/// peers have answered so, the gateway takes no work and signs no checkpoint, because a checkpoint over a ledger that
/// lost its end would be a second history. Then the gateway notes in the ledger that it was restored, opens, and asks
/// the peers to send again what they sent since the last moment that was restored.
/// </summary>
/// <remarks>
/// A peer that cannot be reached is asked again until it answers, or an operator goes on without it, which is an entry
/// of the ledger. A peer that holds more than we have (ahead) keeps the gateway closed. The report names the missing
/// entries by index; a later backup may hold them. If an operator goes on without such a peer, the peer will see two
/// histories and raise an alarm.
/// </remarks>
public sealed class Restoration
{
    private static readonly TimeSpan AskAgain = TimeSpan.FromSeconds(5);

    private readonly GatewayDatabase _database;
    private readonly DirectoryStore _directories;
    private readonly GatewayIdentity _identity;
    private readonly DirectoryOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;

    internal Restoration(
        GatewayDatabase database, DirectoryStore directories, GatewayIdentity identity, DirectoryOptions options,
        TimeProvider time, ILogger<Restoration> logger) =>
        (_database, _directories, _identity, _options, _time, _logger) = (
            database, directories, identity, options, time, logger);

    /// <summary>The last restoration as far as it is known; null where this gateway was never restored.</summary>
    public async Task<RestorationReport?> ReportAsync(CancellationToken cancellationToken)
    {
        await using var connection = await _database.Source.OpenConnectionAsync(cancellationToken);
        if (await LastAsync(connection, cancellationToken) is not { } last)
        {
            return null;
        }

        var rows = await connection.ListAsync<(string Peer, string State, long? Held, DateTime? Since, string? Problem, DateTime? Asked, int? Resent)>(
            """
            SELECT peer, state, held_size, missing_since, problem, asked_at, resend_count
            FROM gateway.restoration_peer WHERE restoration_id = @Id ORDER BY peer
            """,
            new { last.Id }, cancellationToken);
        return new RestorationReport(
            last.Proven,
            last.RestoredAt,
            last.Size,
            [
                .. rows.Select(r => new RestorationPeer(
                    r.Peer,
                    r.State,
                    r.Held,
                    r is { State: RestorationPeerState.Ahead, Held: { } held }
                        ? new MissingEntries(
                            last.Size, held - 1, held - last.Size,
                            r.Since is { } s ? new DateTimeOffset(s, TimeSpan.Zero) : null)
                        : null,
                    r.Problem,
                    r.Asked is { } a ? new DateTimeOffset(a, TimeSpan.Zero) : null,
                    r.Resent)),
            ]);
    }

    /// <summary>Asks each peer whose answer is still open, and answers what is known then. Null where this gateway was
    /// never restored.</summary>
    public async Task<RestorationReport?> AskAsync(CancellationToken cancellationToken)
    {
        if (await ReportAsync(cancellationToken) is not { Proven: false } report)
        {
            return await ReportAsync(cancellationToken);
        }

        var settled = report
            .Peers.Where(p => p.State is RestorationPeerState.Consistent or RestorationPeerState.Excused)
            .Select(p => p.Peer)
            .ToHashSet(StringComparer.Ordinal);
        var directory = await _directories.CurrentAsync(cancellationToken);
        await Task.WhenAll(
            directory
                .Gateways.Where(g => g.Name != _options.Name && !settled.Contains(g.Name))
                .Select(g => AskAsync(g, report.LedgerSize, cancellationToken)));
        return await ReportAsync(cancellationToken);
    }

    /// <summary>Writes an operator's decision to open without this peer's answer, with an entry in the
    /// ledger.</summary>
    /// <exception cref="DirectoryException">There is no such gateway in the directory, or nothing waits for
    /// one.</exception>
    public async Task ExcuseAsync(string peer, Authority by, CancellationToken cancellationToken)
    {
        var directory = await _directories.CurrentAsync(cancellationToken);
        long id;
        await using (var connection = await _database.Source.OpenConnectionAsync(cancellationToken))
        {
            id =
                directory.FindGateway(peer) is not null
                && peer != _options.Name
                && await LastAsync(connection, cancellationToken) is { Proven: false } last
                    ? last.Id
                    : throw new DirectoryException(ReasonCode.PeerUnknown, peer);
        }

        // The excuse and its entry are one commit.
        await _database.Source.InTransactionAsync(
            "restoration.excuse",
            async transaction =>
            {
                await transaction.ExecuteAsync(
                    $"""
                    INSERT INTO gateway.restoration_peer (restoration_id, peer, state)
                    VALUES (@id, @peer, '{RestorationPeerState.Excused}')
                    ON CONFLICT (restoration_id, peer) DO UPDATE SET state = '{RestorationPeerState.Excused}'
                    """,
                    new { id, peer }, cancellationToken);
                await AppendAsync(transaction, EntryKind.GatewayRestoredWithout, peer, by, cancellationToken);
            },
            cancellationToken);
    }

    /// <summary>Returns when the gateway may work: at once where it was not restored, else when its peers have shown
    /// that nothing is missing.</summary>
    internal async Task ProveAsync(CancellationToken stop)
    {
        var warned = false;
        while (true)
        {
            stop.ThrowIfCancellationRequested();
            try
            {
                if (await AskAsync(stop) is not { Proven: false } report)
                {
                    return;
                }

                if (!warned)
                {
                    RecoveryLog.Restored(_logger, report.LedgerSize);
                    warned = true;
                }

                if (await OpenAsync(report, stop))
                {
                    RecoveryLog.Proven(_logger, report.LedgerSize);
                    return;
                }
            }
            catch (Exception e) when (DatabaseFault.Is(e) || e is DirectoryException)
            {
                // The database is away, or there is no directory to ask by. Try again later.
            }

            await Task.Delay(AskAgain, _time, stop);
        }
    }

    /// <summary>After the proof, asks each peer until it answers to send again what it sent since the last moment that
    /// was restored.</summary>
    internal async Task AskForMailAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            var left = 1;
            try
            {
                left = await AskForMailOnceAsync(stop);
            }
            catch (Exception e)
                when (DatabaseFault.Is(e) || e is DirectoryException or OperationCanceledException)
            {
                // As above.
            }

            if (left == 0)
            {
                return;
            }

            await Task.Delay(AskAgain, _time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task<int> AskForMailOnceAsync(CancellationToken cancellationToken)
    {
        (long Id, DateTime Since, string Peer)[] due;
        await using (var connection = await _database.Source.OpenConnectionAsync(cancellationToken))
        {
            due =
            [
                .. await connection.ListAsync<(long, DateTime, string)>(
                    $"""
                    SELECT r.restoration_id, r.mail_since, p.peer FROM gateway.restoration r
                      JOIN gateway.restoration_peer p USING (restoration_id)
                    WHERE r.restoration_id = (SELECT max(restoration_id) FROM gateway.restoration)
                      AND r.state = '{RestorationState.Proven}' AND p.resend_asked_at IS NULL
                    """,
                    null, cancellationToken),
            ];
        }

        if (due.Length == 0)
        {
            return 0;
        }

        var directory = await _directories.CurrentAsync(cancellationToken);
        var left = 0;
        foreach (var (id, since, peer) in due)
        {
            if (directory.FindGateway(peer) is not { } gateway
                || await RequestMailAsync(gateway, since, cancellationToken) is not { } count)
            {
                left++;
                continue;
            }

            await using var connection = await _database.Source.OpenConnectionAsync(cancellationToken);
            await connection.CommitAsync("restoration.resend", c => c.ExecuteAsync(
                """
                UPDATE gateway.restoration_peer SET resend_asked_at = now(), resend_count = @count
                WHERE restoration_id = @id AND peer = @peer
                """,
                new { count, id, peer }, cancellationToken));
            RecoveryLog.ResendAsked(_logger, peer, new DateTimeOffset(since, TimeSpan.Zero), count);
        }

        return left;
    }

    private async Task<int?> RequestMailAsync(
        GatewayRecord gateway, DateTime since, CancellationToken cancellationToken)
    {
        try
        {
            await using var client = await SmtpClient.ConnectAsync(CallTo(gateway), _time, cancellationToken);
            var reply = await client.CommandAsync(
                $"{PeerRequests.Resend} {since.ToString(PeerRequests.TimeFormat, CultureInfo.InvariantCulture)}",
                cancellationToken);
            return
                reply.Code == 250
                && int.TryParse(reply.Lines[0], NumberStyles.None, CultureInfo.InvariantCulture, out var count)
                ? count
                : null;
        }
        catch (SmtpException)
        {
            return null;
        }
    }

    private async Task AskAsync(GatewayRecord gateway, long size, CancellationToken cancellationToken)
    {
        var answer = await AnswerOfAsync(gateway, size, cancellationToken);
        await using var connection = await _database.Source.OpenConnectionAsync(cancellationToken);
        var state = await StateOfAsync(connection, answer, size, cancellationToken);
        var changed = await connection.CommitAsync("restoration.peer", c => c.ListAsync<string>(
            $"""
            INSERT INTO gateway.restoration_peer (restoration_id, peer, state, held_size, held_note,
              missing_since, problem, asked_at)
            SELECT restoration_id, @Name, @state, @Size, @Note, @Since, @Problem, now()
              FROM gateway.restoration WHERE state = '{RestorationState.Asking}'
            ON CONFLICT (restoration_id, peer) DO UPDATE SET state = excluded.state,
              held_size = excluded.held_size, held_note = excluded.held_note,
              missing_since = excluded.missing_since, problem = excluded.problem, asked_at = excluded.asked_at
              WHERE restoration_peer.state <> '{RestorationPeerState.Excused}'
            RETURNING state
            """,
            new
            {
                gateway.Name,
                state,
                answer.Checkpoint?.Size,
                Note = answer.Checkpoint?.Note.ToArray(),
                Since = answer.Since?.UtcDateTime,
                answer.Problem,
            }, cancellationToken));
        if (changed.Any() && state != RestorationPeerState.Consistent)
        {
            var detail =
                state == RestorationPeerState.Ahead
                    ? string.Create(
                        CultureInfo.InvariantCulture,
                        $"{answer.Checkpoint!.Size - size} entries missing, {size}..{answer.Checkpoint.Size - 1}")
                    : answer.Problem ?? "";
            RecoveryLog.PeerAnswered(_logger, gateway.Name, state, detail);
        }
    }

    private static async Task<string> StateOfAsync(
        NpgsqlConnection connection, HeldAnswer answer, long size, CancellationToken cancellationToken)
    {
        if (answer is not { Problem: null, Checkpoint: { } held })
        {
            // A peer without a checkpoint and without a problem has never seen anything of ours.
            return answer.Problem is null ? RestorationPeerState.Consistent : RestorationPeerState.Waiting;
        }

        if (held.Size > size)
        {
            return RestorationPeerState.Ahead;
        }

        var root = await StoredLedger.RootAsync(connection, held.Size, cancellationToken);
        return held.Root.Span.SequenceEqual(root) ? RestorationPeerState.Consistent : RestorationPeerState.Fork;
    }

    private async Task<HeldAnswer> AnswerOfAsync(
        GatewayRecord gateway, long size, CancellationToken cancellationToken)
    {
        try
        {
            await using var client = await SmtpClient.ConnectAsync(CallTo(gateway), _time, cancellationToken);
            var reply = await client.CommandAsync(
                string.Create(CultureInfo.InvariantCulture, $"{PeerRequests.Held} {size}"), cancellationToken);
            return reply.Code == 250
                ? HeldAnswer.Read(reply.Lines, _options.Name, _identity.Ledger.Verifier)
                : HeldAnswer.None($"{reply.Code} {reply.Enhanced}");
        }
        catch (SmtpException e)
        {
            return HeldAnswer.None(e.Failure.ToString());
        }
    }

    /// <summary>Opens when every peer of the directory has shown that nothing is missing, or was excused.</summary>
    private async Task<bool> OpenAsync(RestorationReport report, CancellationToken cancellationToken)
    {
        var directory = await _directories.CurrentAsync(cancellationToken);
        var settled = report
            .Peers.Where(p => p.State is RestorationPeerState.Consistent or RestorationPeerState.Excused)
            .Select(p => p.Peer)
            .ToHashSet(StringComparer.Ordinal);
        if (directory.Gateways.Any(g => g.Name != _options.Name && !settled.Contains(g.Name)))
        {
            return false;
        }

        // From this commit on the gateway takes work, and its ledger says why it was silent.
        await _database.Source.InTransactionAsync(
            "restoration.open",
            async transaction =>
            {
                var asking = await transaction.ScalarAsync<long?>(
                    $"""
                    SELECT restoration_id FROM gateway.restoration
                    WHERE state = '{RestorationState.Asking}' FOR UPDATE
                    """,
                    null, cancellationToken);
                if (asking is null)
                {
                    // Another node was quicker.
                    return;
                }

                var entry = await AppendAsync(
                    transaction, EntryKind.GatewayRestored,
                    string.Create(CultureInfo.InvariantCulture, $"{_options.Name}/{report.LedgerSize}"),
                    by: null, cancellationToken);
                await transaction.ExecuteAsync(
                    $"""
                    UPDATE gateway.restoration
                    SET state = '{RestorationState.Proven}', proven_at = now(), entry_id = @EntryId
                    WHERE restoration_id = @asking
                    """,
                    new { entry.EntryId, asking }, cancellationToken);
            },
            cancellationToken);
        return true;
    }

    private Task<LedgerReceipt> AppendAsync(
        NpgsqlTransaction transaction, string kind, string about, Authority? by,
        CancellationToken cancellationToken) =>
        StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = _time.GetUtcNow(),
                Agency = DirectoryStore.GatewayItself,
                Kind = kind,
                Object = about,
                Actor = by?.Actor,
                Grant = by?.Grant,
            },
            cancellationToken);

    // The connection is that of mail with short time-outs, because a peer that is slow is asked again.
    private SmtpClientOptions CallTo(GatewayRecord gateway) =>
        _identity.CallTo(
            gateway,
            _options.Name,
            SmtpClientTimeouts.All(TimeSpan.FromSeconds(30)) with
            {
                Connect = TimeSpan.FromSeconds(10),
            },
            _time);

    private static async Task<(long Id, bool Proven, DateTimeOffset RestoredAt, long Size)?> LastAsync(
        NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        var row = await connection.FindAsync<(long Id, string State, DateTime At, long Size)?>(
            """
            SELECT restoration_id, state, restored_at, ledger_size FROM gateway.restoration
            ORDER BY restoration_id DESC LIMIT 1
            """,
            null, cancellationToken);
        return row is { } r
            ? (r.Id, r.State == RestorationState.Proven, new DateTimeOffset(r.At, TimeSpan.Zero), r.Size)
            : null;
    }
}

/// <param name="Proven">Open: every peer's checkpoint stands in our tree, or the peer was excused.</param>
/// <param name="LedgerSize">Entries that were restored.</param>
public sealed record RestorationReport(
    bool Proven, DateTimeOffset RestoredAt, long LedgerSize, IReadOnlyList<RestorationPeer> Peers);

/// <param name="State">waiting, consistent, ahead (it holds more than we have), fork (another root), excused.</param>
/// <param name="HeldSize">The size of the highest checkpoint it holds of our ledger; null when it holds none or has not
/// answered.</param>
/// <param name="Problem">Why there is no answer yet.</param>
/// <param name="ResendCount">How many messages it sends again; null: not asked yet.</param>
public sealed record RestorationPeer(
    string Peer, string State, long? HeldSize, MissingEntries? Missing, string? Problem, DateTimeOffset? AskedAt,
    int? ResendCount);

/// <summary>Entries of our ledger that a peer holds the proof of and that were not restored.</summary>
/// <param name="From">The first index missing.</param>
/// <param name="To">The last.</param>
/// <param name="Since">When the peer first saw a checkpoint over one of them, by its clock.</param>
public sealed record MissingEntries(long From, long To, long Count, DateTimeOffset? Since);
