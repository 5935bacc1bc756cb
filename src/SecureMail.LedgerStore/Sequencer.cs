using System.Globalization;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.LedgerStore;

/// <summary>The batch size and the pauses of the sequencer. Every value has a default.</summary>
public sealed record SequencerOptions
{
    /// <summary>The most entries that one checkpoint adds.</summary>
    public int BatchSize { get; init; } = 10_000;

    /// <summary>The longest pause between two looks at the pending entries. It ends when this process commits an entry
    /// that work awaits (<see cref="CommitSignal"/>).</summary>
    public TimeSpan PollInterval { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>The shortest pause after a checkpoint. Under load one checkpoint covers what came meanwhile, instead of
    /// one for each entry.</summary>
    public TimeSpan BetweenCheckpoints { get; init; } = TimeSpan.FromMilliseconds(40);

    /// <summary>The longest pause after failures. The first pause is the poll interval, and each further one
    /// doubles.</summary>
    public TimeSpan MaxBackoff { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>
/// Gives committed entries their index, extends the tree and signs a checkpoint, in one transaction for each batch.
/// <list type="number">
/// <item>Take the sequencer's lock. Any number of nodes may run a sequencer; the lock lets one at a time work.</item>
/// <item>Read the last checkpoint and recompute its root from the stored tree. The checkpoint must be signed by this
/// gateway's key and have the same root, else nothing is signed. Recovery after a crash is this same path.</item>
/// <item>Take pending entries in the order of their ids, compare each body with its hash, append them, sign.</item>
/// <item>Release the work that waited for the checkpoint (<c>onCovered</c>), commit.</item>
/// </list>
/// Before the commit nobody has seen the new checkpoint. A crash before the commit loses it. The next run signs another
/// checkpoint, perhaps of the same size, which contradicts nothing that left the machine.
/// Left out on purpose: reading entries that other gateways hold, and witnesses (peers cosign, see
/// <see cref="PeerLedger"/>).
/// </summary>
public sealed class Sequencer
{
    private readonly NpgsqlDataSource _database;
    private readonly LedgerKey _key;
    private readonly SequencerOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Func<NpgsqlTransaction, IReadOnlyList<long>, CancellationToken, Task>? _onCovered;
    private readonly string _takePending;

    /// <param name="onCovered">
    /// Called with the ids of the entries that a checkpoint now covers, in the transaction that stores the checkpoint.
    /// Its changes are committed with the checkpoint. If it throws, neither is committed.
    /// </param>
    public Sequencer(
        NpgsqlDataSource database, LedgerKey key, SequencerOptions options, TimeProvider time, ILogger logger,
        Func<NpgsqlTransaction, IReadOnlyList<long>, CancellationToken, Task>? onCovered = null)
    {
        ArgumentNullException.ThrowIfNull(key);
        ArgumentNullException.ThrowIfNull(options);
        if (key.Kind != NoteKeyKind.Log)
        {
            throw new ArgumentException("The sequencer signs with a log key.", nameof(key));
        }

        (_database, _key, _options, _time, _logger, _onCovered) = (database, key, options, time, logger, onCovered);
        // The fence (OFFSET 0) keeps PostgreSQL from a merge join over the whole table ledger.entry. The limit is a
        // literal, because PostgreSQL plans an unknown limit for all rows.
        _takePending = string.Create(
            CultureInfo.InvariantCulture,
            $"""
            SELECT p.entry_id, e.leaf_hash, e.body
            FROM (SELECT entry_id FROM ledger.pending ORDER BY entry_id LIMIT {options.BatchSize}) p
              LEFT JOIN LATERAL (
                SELECT leaf_hash, body FROM ledger.entry e WHERE e.entry_id = p.entry_id OFFSET 0) e ON true
            ORDER BY p.entry_id
            """
        );
    }

    /// <summary>Sequences until cancelled. After a lost connection it tries again. Damage is logged as critical and
    /// checked again after a pause; nothing is signed over it.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var backoff = _options.PollInterval;
        var size = 0L;
        var isPending = false;
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                var news = CommitSignal.OfAwaitedEntries(_database).Next;
                var checkpoint = await RunOnceAsync(isPending, cancellationToken);
                backoff = _options.PollInterval;
                if (checkpoint is not null)
                {
                    // A full batch has more behind it.
                    var isFull = checkpoint.Size - size >= _options.BatchSize;
                    size = checkpoint.Size;
                    if (isFull)
                    {
                        isPending = true;
                        continue;
                    }

                    await Task.Delay(_options.BetweenCheckpoints, _time, cancellationToken);
                }

                isPending = await CommitSignal.PauseAsync(news, _options.PollInterval, _time, cancellationToken);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (DatabaseFault.Is(e) || e is LedgerException or OperationCanceledException)
            {
                if (e is LedgerException)
                {
                    LedgerStoreLog.LedgerDamaged(_logger, e);
                }
                else
                {
                    LedgerStoreLog.SequencingFailed(_logger, backoff, e);
                }

                if (!await TryDelayAsync(backoff, cancellationToken))
                {
                    return;
                }

                backoff = TimeSpan.FromTicks(Math.Min(backoff.Ticks * 2, _options.MaxBackoff.Ticks));
            }
        }
    }

    /// <summary>
    /// Covers one batch. All entries committed before the call, up to the batch size, are covered when it returns. If
    /// another node holds the lock, it waits for that node.
    /// </summary>
    /// <returns>The new checkpoint, or null if nothing was pending.</returns>
    /// <exception cref="LedgerException">Damaged: the stored rows contradict the last checkpoint, or an entry
    /// contradicts its hash.</exception>
    public Task<Checkpoint?> RunOnceAsync(CancellationToken cancellationToken) =>
        RunOnceAsync(isPending: false, cancellationToken);

    /// <param name="isPending">Whether an entry is known to be pending.</param>
    private async Task<Checkpoint?> RunOnceAsync(bool isPending, CancellationToken cancellationToken)
    {
        await using var connection = await _database.OpenConnectionAsync(cancellationToken);
        if (!isPending)
        {
            // Look without the lock first, so that idle nodes do not wait for each other.
            await using var look = new NpgsqlCommand("SELECT EXISTS (SELECT FROM ledger.pending)", connection);
            if (await look.ExecuteScalarAsync(cancellationToken) is not true)
            {
                return null;
            }
        }

        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var (last, leaves, pending) = await ReadAsync(transaction, cancellationToken);
        var frontier = await RecomputeAsync(connection, last, leaves, cancellationToken);
        var batch = Leaves(pending, frontier.Size);
        if (batch.Count == 0)
        {
            return null;
        }

        var nodes = new List<(NodeId, byte[])>(batch.Count);
        foreach (var (_, _, hash) in batch)
        {
            frontier.Append(hash, (id, node) => nodes.Add((id, node)));
        }

        var checkpoint = Checkpoint.Sign(_key, frontier.Size, frontier.Root());
        await StoreAsync(
            transaction, checkpoint, TreeRows.Inserts(batch, nodes), batch.Select(leaf => leaf.EntryId).ToArray(),
            cancellationToken);
        // The commit point of a checkpoint: after this commit it may leave the machine. A crash before it changes
        // nothing.
        await transaction.CommitAsync("ledger.checkpoint", cancellationToken);
        LedgerStoreLog.CheckpointSigned(_logger, checkpoint.Size, batch.Count);
        return checkpoint;
    }

    /// <summary>Waits for the lock; then reads the last checkpoint, the number of leaves and the pending
    /// entries.</summary>
    private async Task<(Checkpoint? Last, long Leaves, List<(long EntryId, byte[]? Hash, byte[]? Body)> Pending)>
        ReadAsync(NpgsqlTransaction transaction, CancellationToken cancellationToken)
    {
        await using var batch = new NpgsqlBatch(transaction.Connection, transaction)
        {
            BatchCommands =
            {
                AdvisoryLock.Sequencer.Statement,
                new(StoredLedger.SelectHead),
                new("SELECT coalesce(max(idx) + 1, 0) FROM ledger.leaf"),
                new(_takePending),
            },
        };
        await using var reader = await batch.ExecuteReaderAsync(cancellationToken);
        await reader.NextResultAsync(cancellationToken);
        var last = await reader.ReadAsync(cancellationToken) ? HeadOf(reader.GetFieldValue<byte[]>(0)) : null;
        await reader.NextResultAsync(cancellationToken);
        await reader.ReadAsync(cancellationToken);
        var leaves = reader.GetInt64(0);
        await reader.NextResultAsync(cancellationToken);
        var pending = new List<(long, byte[]?, byte[]?)>();
        while (await reader.ReadAsync(cancellationToken))
        {
            var isThere = !await reader.IsDBNullAsync(1, cancellationToken);
            pending.Add(
                (
                    reader.GetInt64(0), isThere ? reader.GetFieldValue<byte[]>(1) : null,
                    isThere ? reader.GetFieldValue<byte[]>(2) : null));
        }

        return (last, leaves, pending);
    }

    private static Checkpoint HeadOf(byte[] note)
    {
        try
        {
            return Checkpoint.Parse(note);
        }
        catch (LedgerException e)
        {
            throw new LedgerException(LedgerFault.Damaged, "The last checkpoint is not readable.", e);
        }
    }

    private async Task<Frontier> RecomputeAsync(
        NpgsqlConnection connection, Checkpoint? last, long leaves, CancellationToken cancellationToken)
    {
        var size = last?.Size ?? 0;
        if (leaves != size)
        {
            throw new LedgerException(
                LedgerFault.Damaged,
                string.Create(
                    CultureInfo.InvariantCulture, $"The last checkpoint counts {size} entries, the tree {leaves}."));
        }

        var frontier = await TreeRows.FrontierAsync(connection, size, cancellationToken);
        if (last is null)
        {
            return frontier;
        }

        if (last.Origin != _key.Name || !last.IsSignedBy(_key.Verifier))
        {
            throw new LedgerException(
                LedgerFault.Damaged, "The last checkpoint is not signed by this gateway's ledger key.");
        }

        if (!last.Root.Span.SequenceEqual(frontier.Root()))
        {
            throw new LedgerException(
                LedgerFault.Damaged,
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"The tree of {size} entries does not have the root its checkpoint states."));
        }

        return frontier;
    }

    /// <summary>The pending entries as the next leaves of the tree.</summary>
    private static List<(long Index, long EntryId, byte[] Hash)> Leaves(
        List<(long EntryId, byte[]? Hash, byte[]? Body)> pending, long size)
    {
        var leaves = new List<(long, long, byte[])>(pending.Count);
        foreach (var (entryId, hash, body) in pending)
        {
            if (hash is null || body is null || !MerkleTree.LeafHash(body).AsSpan().SequenceEqual(hash))
            {
                throw new LedgerException(
                    LedgerFault.Damaged,
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"Entry {entryId} is missing or was changed before it was sequenced."));
            }

            leaves.Add((size + leaves.Count, entryId, hash));
        }

        return leaves;
    }

    private async Task StoreAsync(
        NpgsqlTransaction transaction, Checkpoint checkpoint, IEnumerable<NpgsqlBatchCommand> tree, long[] entryIds,
        CancellationToken cancellationToken)
    {
        NpgsqlBatchCommand[] ours =
        [
            new("INSERT INTO ledger.checkpoint (size, root, note, time) VALUES ($1, $2, $3, $4)")
            {
                Parameters =
                {
                    new() { Value = checkpoint.Size },
                    new() { Value = checkpoint.Root.ToArray() },
                    new() { Value = checkpoint.Note.ToArray() },
                    new() { Value = _time.GetUtcNow() },
                },
            },
            // Delete by id and not up to the largest id, because a smaller id may have been committed since the batch
            // was read.
            new("DELETE FROM ledger.pending WHERE entry_id = ANY($1)")
            {
                Parameters = { new() { Value = entryIds } },
            },
        ];
        await using var batch = new NpgsqlBatch(transaction.Connection, transaction);
        foreach (var statement in tree.Concat(ours))
        {
            batch.BatchCommands.Add(statement);
        }

        await batch.ExecuteNonQueryAsync(cancellationToken);
        if (_onCovered is not null)
        {
            await _onCovered(transaction, entryIds, cancellationToken);
        }
    }

    private async Task<bool> TryDelayAsync(TimeSpan delay, CancellationToken cancellationToken)
    {
        await Task.Delay(delay, _time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return !cancellationToken.IsCancellationRequested;
    }
}
