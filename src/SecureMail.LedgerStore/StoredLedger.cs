using System.Data;
using System.Globalization;
using Npgsql;
using NpgsqlTypes;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.LedgerStore;

/// <summary>An appended entry: its id and its leaf hash (32 bytes). The entry gets its index with a
/// checkpoint.</summary>
public sealed record LedgerReceipt(long EntryId, ReadOnlyMemory<byte> LeafHash);

/// <summary>An entry as stored. <see cref="Index"/> is null until the sequencer has appended the entry to the
/// tree.</summary>
public sealed record StoredEntry(long EntryId, long? Index, LedgerEntry Entry, ReadOnlyMemory<byte> Body);

/// <summary>
/// Writes entries into the ledger, and reads entries, checkpoints and proofs.
/// <list type="number">
/// <item>Append joins the caller's transaction, so that a change of state and its entry are committed together or not
/// at all.</item>
/// <item>The <see cref="Sequencer"/> later gives the entry an index, extends the tree and signs a checkpoint.</item>
/// <item>Proofs are read from the stored complete subtrees, O(log n) rows each.</item>
/// </list>
/// Append sends no NOTIFY. PostgreSQL takes one lock for the whole cluster at the commit of every transaction that
/// notifies and holds it through the flush to disk, so commits would wait for one another. Instead the sequencer looks
/// for pending entries when its process committed one that work awaits, and once a second for the others.
/// </summary>
public static class StoredLedger
{
    private const string InsertEntry = """
        WITH e AS (
          INSERT INTO ledger.entry (body, leaf_hash, object, kind, agency, time, prior)
          VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING entry_id)
        INSERT INTO ledger.pending (entry_id) SELECT entry_id FROM e RETURNING entry_id
        """;

    /// <summary>
    /// Appends one entry within the caller's transaction and fills its <see cref="LedgerEntry.Prior"/> from the
    /// object's latest entry. Nothing is durable before the commit.
    /// </summary>
    /// <remarks>
    /// A lock on the object, held to the end of the transaction, makes a second writer of the same object wait for the
    /// first one's commit. Therefore the chain has no branches. Two transactions that write the same two objects in
    /// opposite order deadlock. PostgreSQL then ends one (40P01), and its caller runs it again.
    /// </remarks>
    /// <exception cref="ArgumentException">The entry is not well formed, or has a prior already.</exception>
    /// <exception cref="InvalidOperationException">The transaction is above READ COMMITTED. Its snapshot may be older
    /// than the lock, and then the latest entry it sees is not the latest.</exception>
    public static async Task<LedgerReceipt> AppendAsync(
        NpgsqlTransaction transaction, LedgerEntry entry, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(transaction);
        ArgumentNullException.ThrowIfNull(entry);
        return await InsertAsync(
            transaction, entry with { Prior = await LatestAsync(transaction, entry, cancellationToken) },
            cancellationToken);
    }

    /// <summary>Appends the first entry of an object whose id was made for this transaction. Nobody else knows the id,
    /// so there is no entry to chain to and no writer to wait for.</summary>
    /// <exception cref="ArgumentException">The entry is not well formed, or has a prior.</exception>
    public static Task<LedgerReceipt> AppendFirstAsync(
        NpgsqlTransaction transaction, LedgerEntry entry, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(transaction);
        ArgumentNullException.ThrowIfNull(entry);
        RequireNoPrior(entry);
        return InsertAsync(transaction, entry, cancellationToken);
    }

    private static async Task<LedgerReceipt> InsertAsync(
        NpgsqlTransaction transaction, LedgerEntry entry, CancellationToken cancellationToken)
    {
        var body = entry.ToBytes();
        var leafHash = MerkleTree.LeafHash(body);
        await using var command = new NpgsqlCommand(InsertEntry, transaction.Connection, transaction)
        {
            Parameters =
            {
                new() { Value = body },
                new() { Value = leafHash },
                new() { Value = entry.Object },
                new() { Value = entry.Kind },
                new() { Value = entry.Agency },
                new() { Value = entry.Time },
                new()
                {
                    Value = entry.Prior is null ? DBNull.Value : Convert.FromHexString(entry.Prior),
                    NpgsqlDbType = NpgsqlDbType.Bytea,
                },
            },
        };
        var entryId = (long)(await command.ExecuteScalarAsync(cancellationToken))!;
        return new LedgerReceipt(entryId, leafHash);
    }

    /// <summary>
    /// Appends many entries in their order, by COPY, within the caller's transaction. The caller fills each
    /// <see cref="LedgerEntry.Prior"/>; nothing is chained here.
    /// </summary>
    public static async Task<IReadOnlyList<LedgerReceipt>> AppendManyAsync(
        NpgsqlTransaction transaction, IReadOnlyList<LedgerEntry> entries, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(transaction);
        ArgumentNullException.ThrowIfNull(entries);
        var connection = transaction.Connection!;
        var receipts = new List<LedgerReceipt>(entries.Count);
        var ids = await ReserveIdsAsync(transaction, entries.Count, cancellationToken);
        await using (
            var copy = await connection.BeginBinaryImportAsync(
                "COPY ledger.entry (entry_id, body, leaf_hash, object, kind, agency, time, prior) FROM STDIN BINARY",
                cancellationToken))
        {
            foreach (var (entry, id) in entries.Zip(ids))
            {
                var body = entry.ToBytes();
                var leafHash = MerkleTree.LeafHash(body);
                await copy.StartRowAsync(cancellationToken);
                await copy.WriteAsync(id, NpgsqlDbType.Bigint, cancellationToken);
                await copy.WriteAsync(body, NpgsqlDbType.Bytea, cancellationToken);
                await copy.WriteAsync(leafHash, NpgsqlDbType.Bytea, cancellationToken);
                await copy.WriteAsync(entry.Object, NpgsqlDbType.Text, cancellationToken);
                await copy.WriteAsync(entry.Kind, NpgsqlDbType.Text, cancellationToken);
                await copy.WriteAsync(entry.Agency, NpgsqlDbType.Uuid, cancellationToken);
                await copy.WriteAsync(entry.Time, NpgsqlDbType.TimestampTz, cancellationToken);
                if (entry.Prior is null)
                {
                    await copy.WriteNullAsync(cancellationToken);
                }
                else
                {
                    await copy.WriteAsync(Convert.FromHexString(entry.Prior), NpgsqlDbType.Bytea, cancellationToken);
                }

                receipts.Add(new LedgerReceipt(id, leafHash));
            }
            await copy.CompleteAsync(cancellationToken);
        }
        await using var pending = await connection.BeginBinaryImportAsync(
            "COPY ledger.pending (entry_id) FROM STDIN BINARY", cancellationToken);
        foreach (var id in ids)
        {
            await pending.StartRowAsync(cancellationToken);
            await pending.WriteAsync(id, NpgsqlDbType.Bigint, cancellationToken);
        }
        await pending.CompleteAsync(cancellationToken);
        return receipts;
    }

    internal const string SelectHead = "SELECT note FROM ledger.checkpoint ORDER BY size DESC LIMIT 1";

    /// <summary>The latest checkpoint, or null if the log is empty.</summary>
    public static async Task<Checkpoint?> HeadAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(SelectHead, connection);
        return await command.ExecuteScalarAsync(cancellationToken) is byte[] note ? Checkpoint.Parse(note) : null;
    }

    /// <summary>Peers' cosignatures over our checkpoints, at most <paramref name="limit"/>, those of the newest
    /// checkpoint first.</summary>
    public static async Task<IReadOnlyList<Cosignature>> CosignaturesAsync(
        NpgsqlConnection connection, int limit, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(
            "SELECT size, line FROM ledger.cosignature ORDER BY size DESC, cosigner LIMIT $1", connection)
        {
            Parameters = { new() { Value = limit } },
        };
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        var cosignatures = new List<Cosignature>();
        while (await reader.ReadAsync(cancellationToken))
        {
            cosignatures.Add(new Cosignature(reader.GetInt64(0), reader.GetString(1)));
        }

        return cosignatures;
    }

    /// <summary>The newest entries, newest first.</summary>
    public static Task<IReadOnlyList<StoredEntry>> ListAsync(
        NpgsqlConnection connection, int limit,
        CancellationToken cancellationToken) => ListAsync(connection, null, limit, cancellationToken);

    /// <summary>The newest entries of these objects, newest first, in one query.</summary>
    public static Task<IReadOnlyList<StoredEntry>> ListOfAsync(
        NpgsqlConnection connection, IReadOnlyCollection<string> objects, int limit,
        CancellationToken cancellationToken) => ListAsync(connection, objects.ToArray(), limit, cancellationToken);

    private static async Task<IReadOnlyList<StoredEntry>> ListAsync(
        NpgsqlConnection connection, string[]? objects, int limit, CancellationToken cancellationToken)
    {
        var where = objects is null ? "" : "WHERE e.object = ANY($2)";
        await using var command = new NpgsqlCommand(
            $"""
            SELECT e.entry_id, l.idx, e.body
            FROM ledger.entry e LEFT JOIN ledger.leaf l USING (entry_id)
            {where}
            ORDER BY e.entry_id DESC LIMIT $1
            """,
            connection)
        {
            Parameters = { new() { Value = limit } },
        };
        if (objects is not null)
        {
            command.Parameters.Add(new() { Value = objects });
        }

        return await ReadEntriesAsync(command, cancellationToken);
    }

    /// <summary>One entry by its id, or null.</summary>
    public static async Task<StoredEntry?> FindAsync(
        NpgsqlConnection connection, long entryId, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(
            """
            SELECT e.entry_id, l.idx, e.body
            FROM ledger.entry e LEFT JOIN ledger.leaf l USING (entry_id)
            WHERE e.entry_id = $1
            """,
            connection)
        {
            Parameters = { new() { Value = entryId } },
        };
        return (await ReadEntriesAsync(command, cancellationToken)).SingleOrDefault();
    }

    /// <summary>For the tree of one size, by one query: the inclusion proof of a leaf, from the leaf upwards (RFC 9162
    /// §2.1.3.1), and from each of the earlier sizes the proof that the tree only appended since (§2.1.4.1).</summary>
    /// <exception cref="LedgerException">Damaged: a node of the tree is missing.</exception>
    public static async Task<(
        IReadOnlyList<byte[]> Inclusion, SortedDictionary<long, IReadOnlyList<byte[]>> Consistency)> ProofsAsync(
        NpgsqlConnection connection, long index, IReadOnlyCollection<long> earlier, long size,
        CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, size);
        foreach (var first in earlier)
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(first, nameof(earlier));
            ArgumentOutOfRangeException.ThrowIfGreaterThan(first, size, nameof(earlier));
        }

        var inclusion = TreeShape.Inclusion(index, size);
        var consistency = earlier.Select(first => (First: first, Ranges: TreeShape.Consistency(first, size))).ToList();
        var hashes = await TreeRows.RangesAsync(
            connection, [.. inclusion, .. consistency.SelectMany(c => c.Ranges)], cancellationToken);
        var proofs = new SortedDictionary<long, IReadOnlyList<byte[]>>();
        var at = inclusion.Count;
        foreach (var (first, ranges) in consistency)
        {
            proofs[first] = [.. hashes.Skip(at).Take(ranges.Count)];
            at += ranges.Count;
        }

        return ([.. hashes.Take(inclusion.Count)], proofs);
    }

    /// <summary>The root of the tree at that size (RFC 9162 §2.1.1). Size 0 is the empty tree.</summary>
    /// <exception cref="LedgerException">Damaged: a node of the tree is missing, or the tree never was that
    /// large.</exception>
    public static async Task<byte[]> RootAsync(
        NpgsqlConnection connection, long size, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(size);
        return size == 0
            ? MerkleTree.EmptyRoot()
            : (await TreeRows.FrontierAsync(connection, size, cancellationToken)).Root();
    }

    private static async Task<string?> LatestAsync(
        NpgsqlTransaction transaction, LedgerEntry entry, CancellationToken cancellationToken)
    {
        RequireNoPrior(entry);
        if (transaction.IsolationLevel is not (IsolationLevel.ReadCommitted or IsolationLevel.Unspecified))
        {
            throw new InvalidOperationException("An entry is appended at READ COMMITTED.");
        }

        // Entries of one object are chained under this lock. Two objects may share a hash; then their writers only wait
        // for each other.
        await using var latest = new NpgsqlBatch(transaction.Connection, transaction)
        {
            BatchCommands =
            {
                AdvisoryLock.LedgerObject(entry.Object).Statement,
                new("SELECT leaf_hash FROM ledger.entry WHERE object = $1 ORDER BY entry_id DESC LIMIT 1")
                {
                    Parameters = { new() { Value = entry.Object } },
                },
            },
        };
        await using var reader = await latest.ExecuteReaderAsync(cancellationToken);
        await reader.NextResultAsync(cancellationToken);
        return await reader.ReadAsync(cancellationToken)
            ? Convert.ToHexStringLower(reader.GetFieldValue<byte[]>(0))
            : null;
    }

    private static void RequireNoPrior(LedgerEntry entry)
    {
        if (entry.Prior is not null)
        {
            throw new ArgumentException(
                "The ledger fills the prior of an entry; the caller must leave it null.", nameof(entry));
        }
    }

    private static async Task<List<long>> ReserveIdsAsync(
        NpgsqlTransaction transaction, int count, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(
            "SELECT nextval('ledger.entry_entry_id_seq') FROM generate_series(1, $1)", transaction.Connection,
            transaction)
        {
            Parameters = { new() { Value = count } },
        };
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        var ids = new List<long>(count);
        while (await reader.ReadAsync(cancellationToken))
        {
            ids.Add(reader.GetInt64(0));
        }

        return ids;
    }

    private static async Task<List<StoredEntry>> ReadEntriesAsync(
        NpgsqlCommand command, CancellationToken cancellationToken)
    {
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        var entries = new List<StoredEntry>();
        while (await reader.ReadAsync(cancellationToken))
        {
            var entryId = reader.GetInt64(0);
            var body = reader.GetFieldValue<byte[]>(2);
            try
            {
                entries.Add(
                    new StoredEntry(
                        entryId, await reader.IsDBNullAsync(1, cancellationToken) ? null : reader.GetInt64(1),
                        LedgerEntry.Parse(body), body));
            }
            catch (LedgerException e) when (e.Fault != LedgerFault.Damaged)
            {
                throw new LedgerException(
                    LedgerFault.Damaged,
                    string.Create(CultureInfo.InvariantCulture, $"Entry {entryId} is not readable: {e.Message}"), e);
            }
        }
        return entries;
    }
}
