using System.Globalization;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.LedgerStore;

/// <summary>How the sequencer paces itself; every value has a default.</summary>
public sealed record SequencerOptions
{
    /// <summary>Most entries one checkpoint adds.</summary>
    public int BatchSize { get; init; } = 10_000;

    /// <summary>How often the work list is looked at when nobody calls <see cref="Sequencer.Wake"/>.</summary>
    public TimeSpan PollInterval { get; init; } = TimeSpan.FromMilliseconds(200);

    /// <summary>The longest pause after failures; the first is the poll interval, and each doubles.</summary>
    public TimeSpan MaxBackoff { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>
/// Gives committed entries their index, extends the tree and signs a checkpoint: one transaction for each batch.
/// <list type="number">
/// <item>Take the sequencer's lock. Any number of nodes may run a sequencer; the lock makes them one.</item>
/// <item>Read the last checkpoint and recompute its root from the stored tree: our own signature must be under it and
/// the root must be the same, else nothing is signed. Recovery after a crash is this same path.</item>
/// <item>Take pending entries in the order of their ids, check body against hash, append them, sign.</item>
/// <item>Release what waited for the checkpoint (<c>onCovered</c>), announce it, commit.</item>
/// </list>
/// Before the commit nobody has seen the new checkpoint; a crash then loses it, and the next run signs another one of
/// perhaps the same size, which contradicts nothing that left the machine.
/// Left out: reading entries other gateways hold, and witnesses (peers cosign, see <see cref="PeerLedger"/>).
/// </summary>
public sealed class Sequencer : IDisposable
{
    /// <summary>NOTIFY on this channel, payload the size, follows each checkpoint.</summary>
    public const string CheckpointChannel = "ledger_checkpoint";

    // One constant of our own; the objects' locks hash into the same space and at worst wait for us.
    private const string LockSequencer = "SELECT pg_advisory_xact_lock(5932061857205641324)";

    private readonly NpgsqlDataSource _database;
    private readonly LedgerKey _key;
    private readonly SequencerOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Func<NpgsqlTransaction, IReadOnlyList<long>, CancellationToken, Task>? _onCovered;
    private readonly string _takePending;
    private readonly SemaphoreSlim _wake = new(0, 1);

    /// <param name="onCovered">
    /// Called with the ids of the entries a checkpoint now covers, in the transaction that stores it. What it does
    /// there is committed with the checkpoint; when it throws, neither is.
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
        // The fence (OFFSET 0) keeps PostgreSQL from merging along the whole of entry; the limit stands in the text,
        // because a plan for an unknown limit is made for all rows.
        _takePending = string.Create(
            CultureInfo.InvariantCulture,
            $"""
            SELECT p.entry_id, e.leaf_hash, e.body
            FROM (SELECT entry_id FROM ledger.pending ORDER BY entry_id LIMIT {options.BatchSize}) p
              LEFT JOIN LATERAL (SELECT leaf_hash, body FROM ledger.entry e
                WHERE e.entry_id = p.entry_id OFFSET 0) e ON true
            ORDER BY p.entry_id
            """
        );
    }

    /// <summary>Says that entries were committed by this process, so that the loop need not wait for its next
    /// look.</summary>
    public void Wake()
    {
        try
        {
            _wake.Release();
        }
        catch (SemaphoreFullException)
        {
            // One wake is as good as many.
        }
    }

    /// <summary>Sequences until cancelled; outlives lost connections. Damage is logged as critical and looked at again,
    /// never signed over.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var backoff = _options.PollInterval;
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                while (await RunOnceAsync(cancellationToken) is not null)
                {
                    backoff = _options.PollInterval;
                }

                backoff = _options.PollInterval;
                await PauseAsync(_options.PollInterval, cancellationToken);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
                when (e
                        is NpgsqlException
                            or TimeoutException
                            or IOException
                            or LedgerException
                            or OperationCanceledException)
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
    /// Covers one batch. Everything committed before the call, up to the batch size, is covered when it returns: when
    /// another node holds the lock it waits for that node.
    /// </summary>
    /// <returns>The new checkpoint, or null when nothing was pending.</returns>
    /// <exception cref="LedgerException">Damaged: the stored rows contradict the last checkpoint or an entry its
    /// hash.</exception>
    public async Task<Checkpoint?> RunOnceAsync(CancellationToken cancellationToken)
    {
        await using var connection = await _database.OpenConnectionAsync(cancellationToken);
        // A look without the lock keeps idle nodes off each other's way.
        await using (var look = new NpgsqlCommand("SELECT EXISTS (SELECT FROM ledger.pending)", connection))
        {
            if (await look.ExecuteScalarAsync(cancellationToken) is not true)
            {
                return null;
            }
        }
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        await ExecuteAsync(transaction, LockSequencer, cancellationToken);
        var (frontier, _) = await RecomputeAsync(connection, cancellationToken);
        var batch = await TakeAsync(connection, frontier.Size, cancellationToken);
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
        await TreeRows.WriteAsync(connection, batch, nodes, cancellationToken);
        await StoreAsync(transaction, checkpoint, batch.Select(leaf => leaf.EntryId).ToArray(), cancellationToken);
        // From this commit on the checkpoint may leave the machine; before it, nothing has happened.
        await transaction.CommitAsync("ledger.checkpoint", cancellationToken);
        LedgerStoreLog.CheckpointSigned(_logger, checkpoint.Size, batch.Count);
        return checkpoint;
    }

    private async Task<(Frontier Frontier, Checkpoint? Last)> RecomputeAsync(
        NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        Checkpoint? last;
        try
        {
            last = await StoredLedger.HeadAsync(connection, cancellationToken);
        }
        catch (LedgerException e)
        {
            throw new LedgerException(LedgerFault.Damaged, "The last checkpoint is not readable.", e);
        }
        await using var count = new NpgsqlCommand("SELECT coalesce(max(idx) + 1, 0) FROM ledger.leaf", connection);
        var leaves = (long)(await count.ExecuteScalarAsync(cancellationToken))!;
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
            return (frontier, null);
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

        return (frontier, last);
    }

    private async Task<List<(long Index, long EntryId, byte[] Hash)>> TakeAsync(
        NpgsqlConnection connection, long size, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(_takePending, connection);
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        var batch = new List<(long, long, byte[])>();
        while (await reader.ReadAsync(cancellationToken))
        {
            var entryId = reader.GetInt64(0);
            if (
                await reader.IsDBNullAsync(1, cancellationToken)
                || !MerkleTree
                    .LeafHash(reader.GetFieldValue<byte[]>(2))
                    .AsSpan()
                    .SequenceEqual(reader.GetFieldValue<byte[]>(1)))
            {
                throw new LedgerException(
                    LedgerFault.Damaged,
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"Entry {entryId} is missing or was changed before it was sequenced."));
            }

            batch.Add((size + batch.Count, entryId, reader.GetFieldValue<byte[]>(1)));
        }
        return batch;
    }

    private async Task StoreAsync(
        NpgsqlTransaction transaction, Checkpoint checkpoint, long[] entryIds, CancellationToken cancellationToken)
    {
        await using (
            var insert = new NpgsqlCommand(
                "INSERT INTO ledger.checkpoint (size, root, note, time) VALUES ($1, $2, $3, $4)",
                transaction.Connection, transaction)
            {
                Parameters =
                {
                    new() { Value = checkpoint.Size },
                    new() { Value = checkpoint.Root.ToArray() },
                    new() { Value = checkpoint.Note.ToArray() },
                    new() { Value = _time.GetUtcNow() },
                },
            })
        {
            await insert.ExecuteNonQueryAsync(cancellationToken);
        }
        // The ids themselves, not "up to the last": a smaller id may have been committed since the batch was read.
        await using (
            var delete = new NpgsqlCommand(
                "DELETE FROM ledger.pending WHERE entry_id = ANY($1)", transaction.Connection, transaction)
            {
                Parameters = { new() { Value = entryIds } },
            })
        {
            await delete.ExecuteNonQueryAsync(cancellationToken);
        }

        if (_onCovered is not null)
        {
            await _onCovered(transaction, entryIds, cancellationToken);
        }

        await ExecuteAsync(
            transaction,
            string.Create(CultureInfo.InvariantCulture, $"NOTIFY {CheckpointChannel}, '{checkpoint.Size}'"),
            cancellationToken);
    }

    private static async Task ExecuteAsync(
        NpgsqlTransaction transaction, string sql, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(sql, transaction.Connection, transaction);
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    private async Task PauseAsync(TimeSpan interval, CancellationToken cancellationToken)
    {
        using var pause = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var timer = Task.Delay(interval, _time, pause.Token);
        var wake = _wake.WaitAsync(pause.Token);
        await Task.WhenAny(timer, wake);
        await pause.CancelAsync();
        await Task.WhenAll(timer, wake).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        cancellationToken.ThrowIfCancellationRequested();
    }

    private async Task<bool> TryDelayAsync(TimeSpan delay, CancellationToken cancellationToken)
    {
        await Task.Delay(delay, _time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return !cancellationToken.IsCancellationRequested;
    }

    public void Dispose() => _wake.Dispose();
}
