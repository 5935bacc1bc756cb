using System.Globalization;
using System.Resources;
using Npgsql;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.LedgerStore;

/// <summary>The result of verifying the ledger.</summary>
/// <param name="Entries">The number of leaves in the tree.</param>
/// <param name="Checkpoints">How many of our own checkpoints were verified.</param>
/// <param name="SeenAgreed">How many of the checkpoints that others hold agree with the tree.</param>
/// <param name="Problems">The problems in the order found. Empty if the ledger is intact. After
/// <see cref="LedgerVerifier.MaxProblems"/> one more problem gives the count of the others.</param>
public sealed record LedgerReport(
    long Entries, long Checkpoints, int SeenAgreed, IReadOnlyList<LedgerProblem> Problems);

/// <summary>
/// Recomputes the whole ledger from its rows and reports each contradiction by index and entry id. It trusts no stored
/// value: each value is compared with the value that it is derived from.
/// <code>
/// body ── hash ──► leaf.hash ── order ──► node ──► root ──► checkpoint ── signature ──► log key
///                                                            └── and checkpoints that others hold (seen)
/// </code>
/// The comparisons go from left to right, so that the first failing one is the nearest to the change. A changed body is
/// named exactly. Exchanged leaves are named by the subtree of two that they no longer fit. If the nodes were rewritten
/// as well, the checkpoint shows it. If everything was rewritten and signed again, only a checkpoint that another party
/// kept shows it.
/// The ledger is read once, as a stream, in one snapshot. Memory does not grow with the ledger.
/// </summary>
public sealed class LedgerVerifier
{
    /// <summary>The most problems that are listed. Further ones are counted.</summary>
    public const int MaxProblems = 200;

    private static readonly ResourceManager Words = new(
        "SecureMail.LedgerStore.Words.Problems", typeof(LedgerVerifier).Assembly);

    private readonly VerifierKey _log;
    private readonly List<LedgerProblem> _problems = [];
    private readonly NodeCheck _nodes;
    private readonly CheckpointCheck _checkpoints;
    private readonly SeenCheck _seen;
    private long _suppressed;

    private LedgerVerifier(VerifierKey log, IReadOnlyList<Checkpoint> seen)
    {
        _log = log;
        _nodes = new NodeCheck(Report);
        _checkpoints = new CheckpointCheck(log, Report);
        _seen = new SeenCheck(log, seen, Report);
    }

    /// <summary>Verifies the stored ledger.</summary>
    /// <param name="log">Our log's public key, from the key file or the directory, not from the database.</param>
    /// <param name="seen">Checkpoints of our log that others hold (<see cref="LedgerExport.ReadSeenAsync"/>). The list
    /// may be empty.</param>
    /// <param name="progress">Hears how many entries were verified.</param>
    public static async Task<LedgerReport> VerifyAsync(
        NpgsqlDataSource database, VerifierKey log, IReadOnlyList<Checkpoint> seen, CancellationToken cancellationToken,
        IProgress<long>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(log);
        ArgumentNullException.ThrowIfNull(seen);
        var verifier = new LedgerVerifier(log, seen);
        await using var snapshot = await LedgerSnapshot.OpenAsync(database, 3, cancellationToken);
        var size = await verifier.WalkAsync(snapshot, progress, cancellationToken);
        await verifier.CheckListsAsync(snapshot[0], cancellationToken);
        if (verifier._suppressed > 0)
        {
            verifier._problems.Add(new LedgerProblem(Words, "more", verifier._suppressed));
        }
        return new LedgerReport(size, verifier._checkpoints.Count, verifier._seen.Agreed, verifier._problems);
    }

    private async Task<long> WalkAsync(
        LedgerSnapshot snapshot, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        await using var leafCommand = Command(
            snapshot[0],
            """
            SELECT l.idx, l.entry_id, l.hash, e.body, e.leaf_hash, e.object, e.kind, e.agency, e.time, e.prior
            FROM ledger.leaf l LEFT JOIN ledger.entry e USING (entry_id)
            ORDER BY l.idx
            """
        );
        // Nodes are read in the order in which a growing tree completes its subtrees: by the last leaf, then upwards.
        await using var nodeCommand = Command(
            snapshot[1], "SELECT level, idx, hash FROM ledger.node ORDER BY ((idx + 1) << level), level");
        await using var checkpointCommand = Command(
            snapshot[2], "SELECT size, root, note FROM ledger.checkpoint ORDER BY size");
        await using var leaves = await leafCommand.ExecuteReaderAsync(cancellationToken);
        await using var nodes = await nodeCommand.ExecuteReaderAsync(cancellationToken);
        await using var checkpoints = await checkpointCommand.ExecuteReaderAsync(cancellationToken);
        await _nodes.StartAsync(nodes, cancellationToken);
        await _checkpoints.StartAsync(checkpoints, cancellationToken);

        var frontier = new Frontier();
        var completed = new List<(NodeId Id, byte[] Hash)>();
        void Remember(NodeId id, byte[] hash) => completed.Add((id, hash));
        while (await leaves.ReadAsync(cancellationToken))
        {
            var index = leaves.GetInt64(0);
            if (index != frontier.Size)
            {
                Report("leaf-missing", Span(frontier.Size, index - 1));
                // The tree cannot be computed beyond the gap. Bodies are still compared with their leaves.
                _nodes.Abandon();
                _checkpoints.Abandon();
                _seen.Abandon();
                do
                {
                    CheckEntry(leaves);
                } while (await leaves.ReadAsync(cancellationToken));
                return frontier.Size;
            }
            CheckEntry(leaves);
            completed.Clear();
            frontier.Append(leaves.GetFieldValue<byte[]>(2), Remember);
            foreach (var (id, hash) in completed)
            {
                await _nodes.CheckAsync(id, hash, cancellationToken);
            }

            await _checkpoints.CheckAsync(frontier, cancellationToken);
            _seen.Check(frontier);
            progress?.Report(frontier.Size);
        }
        await _nodes.FinishAsync(cancellationToken);
        await _checkpoints.FinishAsync(frontier.Size, cancellationToken);
        _seen.Finish(frontier.Size);
        return frontier.Size;
    }

    private void CheckEntry(NpgsqlDataReader row)
    {
        var (index, entryId) = (row.GetInt64(0), row.GetInt64(1));
        if (row.IsDBNull(3))
        {
            Report("entry-missing", index, entryId);
            return;
        }
        var body = row.GetFieldValue<byte[]>(3);
        var hash = MerkleTree.LeafHash(body);
        if (!hash.AsSpan().SequenceEqual(row.GetFieldValue<byte[]>(2)))
        {
            Report("entry-changed", index, entryId);
            return;
        }
        if (!hash.AsSpan().SequenceEqual(row.GetFieldValue<byte[]>(4)) || !ColumnsAgree(row, body))
        {
            Report("entry-columns", index, entryId);
        }
    }

    private static bool ColumnsAgree(NpgsqlDataReader row, byte[] body)
    {
        LedgerEntry entry;
        try
        {
            entry = LedgerEntry.Parse(body);
        }
        catch (LedgerException)
        {
            return false;
        }
        return entry.Object == row.GetString(5)
            && entry.Kind == row.GetString(6)
            && entry.Agency == row.GetGuid(7)
            && entry.Time.UtcDateTime == row.GetDateTime(8)
            && entry.Prior == (row.IsDBNull(9) ? null : Convert.ToHexStringLower(row.GetFieldValue<byte[]>(9)));
    }

    /// <summary>Verifies what is not in the tree: entries that will never be sequenced, broken chains,
    /// cosignatures.</summary>
    private async Task CheckListsAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        await foreach (
            var entryId in IdsAsync(
                connection,
                """
                SELECT entry_id
                FROM ledger.entry e
                WHERE NOT EXISTS (SELECT FROM ledger.leaf l WHERE l.entry_id = e.entry_id)
                  AND NOT EXISTS (SELECT FROM ledger.pending p WHERE p.entry_id = e.entry_id)
                ORDER BY entry_id LIMIT 1000
                """,
                cancellationToken))
        {
            Report("entry-unlisted", entryId);
        }
        await foreach (
            var entryId in IdsAsync(
                connection,
                """
                SELECT entry_id
                FROM ledger.pending p
                WHERE NOT EXISTS (SELECT FROM ledger.entry e WHERE e.entry_id = p.entry_id)
                ORDER BY entry_id LIMIT 1000
                """,
                cancellationToken))
        {
            Report("pending-missing", entryId);
        }
        await foreach (
            var entryId in IdsAsync(
                connection,
                """
                SELECT entry_id
                FROM (
                  SELECT entry_id, prior, lag(leaf_hash) OVER (PARTITION BY object ORDER BY entry_id) AS before
                  FROM ledger.entry) chain
                WHERE prior IS NOT NULL AND prior IS DISTINCT FROM before
                ORDER BY entry_id LIMIT 1000
                """,
                cancellationToken))
        {
            Report("chain-broken", entryId);
        }
        await CheckCosignaturesAsync(connection, cancellationToken);
    }

    private async Task CheckCosignaturesAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        await using var command = Command(
            connection,
            """
            SELECT c.size, k.cosigner, k.line, c.note
            FROM ledger.cosignature k JOIN ledger.checkpoint c USING (size)
            ORDER BY 1, 2
            """
        );
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        while (await reader.ReadAsync(cancellationToken))
        {
            var isValid = false;
            try
            {
                isValid =
                    Checkpoint
                        .Parse(reader.GetFieldValue<byte[]>(3))
                        .CosignedAt(VerifierKey.Parse(reader.GetString(1)), reader.GetString(2))
                        is not null;
            }
            catch (LedgerException)
            {
                // An unreadable cosignature is reported as a wrong one.
            }
            if (!isValid)
            {
                Report("cosignature", reader.GetInt64(0));
            }
        }
    }

    private void Report(string code, params object[] arguments)
    {
        if (_problems.Count < MaxProblems)
        {
            _problems.Add(new LedgerProblem(Words, code, arguments));
        }
        else
        {
            _suppressed++;
        }
    }

    internal static string Span(long first, long last) =>
        first >= last
            ? first.ToString(CultureInfo.InvariantCulture)
            : string.Create(CultureInfo.InvariantCulture, $"{first}–{last}");

    private static NpgsqlCommand Command(NpgsqlConnection connection, string sql) =>
        new(sql, connection) { CommandTimeout = 0 };

    private static async IAsyncEnumerable<long> IdsAsync(
        NpgsqlConnection connection, string sql,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await using var command = Command(connection, sql);
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        while (await reader.ReadAsync(cancellationToken))
        {
            yield return reader.GetInt64(0);
        }
    }
}
