using System.Text;
using SecureMail.Exchange;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.Gateway.Registers;

/// <summary>The ledger for reading: its head, the cosignatures of peers, what was seen of peers' ledgers, and the audit
/// trail of one dispatch.</summary>
public sealed class LedgerRegister(GatewayDatabase database)
{
    // A dispatch to 3,300 agencies has a few entries for each.
    private const int LongestTrail = 20_000;

    public async Task<LedgerOverview> OverviewAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var head = await StoredLedger.HeadAsync(connection, cancellationToken);
        var cosignatures = await StoredLedger.CosignaturesAsync(connection, 20, cancellationToken);
        var pending = await connection.ScalarAsync<long>(
            "SELECT count(*) FROM ledger.pending", null, cancellationToken);
        // The recursion goes from peer to peer along the index and not through every checkpoint ever seen.
        var peers = await connection.ListAsync<PeerSeen>(
            $"""
            WITH RECURSIVE peer AS (
              (SELECT origin FROM ledger.peer_checkpoint ORDER BY origin LIMIT 1)
              UNION ALL
              SELECT (SELECT c.origin FROM ledger.peer_checkpoint c WHERE c.origin > peer.origin ORDER BY c.origin
                LIMIT 1) FROM peer WHERE peer.origin IS NOT NULL)
            SELECT peer.origin AS Origin, seen.size AS Size, seen.state AS State FROM peer CROSS JOIN LATERAL (
              (SELECT size, state FROM ledger.peer_checkpoint c WHERE c.origin = peer.origin
                AND c.state = '{PeerCheckpointState.Pending}' ORDER BY size DESC LIMIT 1)
              UNION ALL
              (SELECT size, state FROM ledger.peer_checkpoint c WHERE c.origin = peer.origin
                AND c.state = '{PeerCheckpointState.Verified}' ORDER BY size DESC LIMIT 1)) seen
            ORDER BY peer.origin, seen.state
            """,
            null, cancellationToken);
        return new LedgerOverview(
            head?.Size ?? 0, pending, head is null ? null : Encoding.UTF8.GetString(head.Note.Span), cosignatures,
            [.. peers], await AlarmsAsync(cancellationToken));
    }

    /// <summary>What a person must look at, newest first: forks of peers' ledgers, conflicts, clocks.</summary>
    public async Task<IReadOnlyList<Alarm>> AlarmsAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return
        [
            .. await connection.ListAsync<Alarm>(
                """
                SELECT time AS Time, kind AS Kind, peer AS Subject, detail AS Detail FROM ledger.alarm
                UNION ALL SELECT raised_at, kind, subject, detail FROM gateway.alarm ORDER BY 1 DESC LIMIT 100
                """,
                null, cancellationToken),
        ];
    }

    /// <summary>Every entry about a dispatch: its own, those of its transmissions, those of the messages that brought
    /// it.</summary>
    public async Task<IReadOnlyList<LedgerLine>> AuditTrailAsync(Guid dispatch, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var objects = await connection.ListAsync<Guid>(
            """
            SELECT @dispatch UNION SELECT transmission_id FROM gateway.transmission WHERE dispatch_id = @dispatch
            UNION SELECT incoming_id FROM gateway.incoming WHERE dispatch_id = @dispatch OR incoming_id = @dispatch
            """,
            new { dispatch }, cancellationToken);
        var entries = await StoredLedger.ListOfAsync(
            connection, [.. objects.Select(id => id.ToString())], LongestTrail, cancellationToken);
        return [.. entries.Select(LedgerLine.Of).OrderBy(l => l.EntryId)];
    }

    /// <summary>The newest entries, newest first.</summary>
    public async Task<IReadOnlyList<LedgerLine>> ListAsync(int limit, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return [.. (await StoredLedger.ListAsync(connection, limit, cancellationToken)).Select(LedgerLine.Of)];
    }
}

/// <param name="Note">The latest checkpoint as text; null while there is none.</param>
public sealed record LedgerOverview(
    long Size, long Pending, string? Note, IReadOnlyList<Cosignature> Cosignatures, IReadOnlyList<PeerSeen> Peers,
    IReadOnlyList<Alarm> Alarms);

/// <summary>The highest checkpoint seen of a peer in one state.</summary>
public sealed class PeerSeen
{
    public string Origin { get; init; } = "";

    public long Size { get; init; }

    public string State { get; init; } = "";
}

/// <summary>Something a person must look at.</summary>
public sealed class Alarm
{
    public DateTime Time { get; init; }

    public string Kind { get; init; } = "";

    public string Subject { get; init; } = "";

    public string Detail { get; init; } = "";
}

/// <summary>A ledger entry to be shown. <paramref name="Index"/> is null until a checkpoint covers it.</summary>
public sealed record LedgerLine(
    long EntryId, long? Index, DateTimeOffset Time, string Kind, string Object, Guid Agency, Guid? Actor, string? Grant,
    IReadOnlyDictionary<string, string> Commitments)
{
    internal static LedgerLine Of(StoredEntry stored) =>
        new(
            stored.EntryId, stored.Index, stored.Entry.Time, stored.Entry.Kind, stored.Entry.Object,
            stored.Entry.Agency, stored.Entry.Actor, stored.Entry.Grant, stored.Entry.Commitments);
}
