using SecureMail.Ledger;

namespace SecureMail.TestKit.Probes;

/// <summary>Entries, alarms and what peers showed of their ledgers.</summary>
internal sealed class LedgerProbe(ProbeDatabase database)
{
    /// <summary>How many entries of these kinds there are; all where none is named.</summary>
    public Task<long> EntriesAsync(params string[] kinds) =>
        database.CountAsync("ledger.entry WHERE cardinality($1::text[]) = 0 OR kind = ANY ($1)", (object)kinds);

    /// <summary>How many entries of a kind are about one of these objects.</summary>
    public Task<long> EntriesOfAsync(string kind, params Guid[] objects) =>
        database.CountAsync(
            "ledger.entry WHERE kind = $1 AND object = ANY ($2)", kind,
            objects.Select(o => o.ToString()).ToArray());

    /// <summary>What the entries of a kind are about, one an entry.</summary>
    public Task<List<string>> ObjectsAsync(string kind) =>
        database.ListAsync<string>("SELECT object FROM ledger.entry WHERE kind = $1", kind);

    /// <summary>How many entries there are of each kind that begins so.</summary>
    public async Task<IReadOnlyDictionary<string, long>> EntriesByKindAsync(string beginning) =>
        (
            await database.RowsAsync(
                "SELECT kind, count(*) FROM ledger.entry WHERE starts_with(kind, $1) GROUP BY kind",
                row => (Kind: row.GetString(0), Entries: row.GetInt64(1)), beginning)
        ).ToDictionary(r => r.Kind, r => r.Entries);

    /// <summary>How many entries hold these bytes as they are.</summary>
    public Task<long> EntriesHoldingAsync(byte[] bytes) =>
        database.CountAsync("ledger.entry WHERE position($1 IN body) > 0", bytes);

    /// <summary>How many entries no checkpoint covers yet.</summary>
    public Task<long> UncoveredAsync() => database.CountAsync("ledger.pending");

    /// <summary>How often an entry's time is before that of the entry before it.</summary>
    public Task<long> TimesThatGoBackAsync() =>
        database.CountAsync(
            """
            (SELECT e.time < lag(e.time) OVER (ORDER BY l.idx) AS back
              FROM ledger.entry e JOIN ledger.leaf l USING (entry_id)) x WHERE back
            """);

    /// <summary>How many alarms about ledgers of peers there are.</summary>
    public Task<long> PeerAlarmsAsync() => database.CountAsync("ledger.alarm");

    /// <summary>The gateway's own alarms that an entry is behind: kind, subject and detail.</summary>
    /// <param name="about">What the entry is about; null: all alarms, also those without an entry.</param>
    public Task<List<string>> AlarmsAsync(Guid? about = null) =>
        database.ListAsync<string>(
            """
            SELECT concat_ws(' ', a.kind, a.subject, a.detail) FROM gateway.alarm a
            LEFT JOIN ledger.entry e USING (entry_id)
            WHERE $1::text IS NULL OR e.object = $1 ORDER BY a.alarm_id
            """,
            about?.ToString());

    /// <summary>Every checkpoint that was seen of a peer's ledger.</summary>
    public async Task<List<Checkpoint>> SeenOfAsync(string peer) =>
    [
        .. (await database.ListAsync<byte[]>("SELECT note FROM ledger.peer_checkpoint WHERE origin = $1", peer))
            .Select(note => Checkpoint.Parse(note)),
    ];

    /// <summary>When a checkpoint over more than so many entries was first seen of a peer, in whole seconds.</summary>
    public Task<DateTime> FirstSeenAsync(string peer, long above) =>
        database.ScalarAsync<DateTime>(
            """
            SELECT date_trunc('second', min(seen_at)) FROM ledger.peer_checkpoint WHERE origin = $1 AND size > $2
            """,
            peer, above);

    /// <summary>How many checkpoints of peers are not proven yet.</summary>
    public Task<long> UnprovenAsync() => database.CountAsync("ledger.peer_checkpoint WHERE state = 'pending'");

    public Task<long> CosignaturesAsync() => database.CountAsync("ledger.cosignature");

    /// <summary>Changes the first entry, as only who gets around the database's own guard can.</summary>
    public Task DamageFirstEntryAsync() =>
        database.ExecuteAsync(
            """
            ALTER TABLE ledger.entry DISABLE TRIGGER ALL;
            UPDATE ledger.entry SET body = body || ' ' WHERE entry_id = (SELECT min(entry_id) FROM ledger.entry)
            """);
}
