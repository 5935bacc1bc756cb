using System.Globalization;
using Npgsql;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.LedgerStore;

/// <summary>The hash tree as rows: leaves in <c>ledger.leaf</c>, complete subtrees of level 1 and up in
/// <c>ledger.node</c>.</summary>
internal static class TreeRows
{
    private const string SelectNodes = """
        SELECT 0::smallint, idx, hash FROM ledger.leaf WHERE idx = ANY($1)
        UNION ALL
        SELECT n.level, n.idx, n.hash FROM unnest($2::smallint[], $3::bigint[]) w(level, idx)
          JOIN ledger.node n ON n.level = w.level AND n.idx = w.idx
        """;

    /// <summary>The hash of each range of leaves, in the order given, by one query.</summary>
    public static async Task<IReadOnlyList<byte[]>> RangesAsync(
        NpgsqlConnection connection, IReadOnlyList<(long Begin, long End)> ranges, CancellationToken cancellationToken)
    {
        var peaks = ranges.Select(range => TreeShape.Peaks(range.Begin, range.End)).ToList();
        var hashes = await ReadAsync(connection, peaks.SelectMany(p => p).ToHashSet(), cancellationToken);
        return [.. peaks.Select(range => TreeShape.Fold(range.Select(id => hashes[id])))];
    }

    /// <summary>The right edge of the tree of that size.</summary>
    public static async Task<Frontier> FrontierAsync(
        NpgsqlConnection connection, long size, CancellationToken cancellationToken)
    {
        var peaks = TreeShape.Peaks(0, size);
        var hashes = await ReadAsync(connection, [.. peaks], cancellationToken);
        return new Frontier(size, peaks.Select(id => hashes[id]));
    }

    /// <summary>The statements that insert leaves and complete subtrees. They are prepared, and share an exchange with
    /// others; a COPY is not and does not, and nearly every checkpoint has few rows.</summary>
    public static IEnumerable<NpgsqlBatchCommand> Inserts(
        IReadOnlyCollection<(long Index, long EntryId, byte[] Hash)> leaves,
        IReadOnlyCollection<(NodeId Id, byte[] Hash)> nodes) =>
        [
            new("INSERT INTO ledger.leaf (idx, entry_id, hash) SELECT * FROM unnest($1, $2, $3)")
            {
                Parameters =
                {
                    new() { Value = leaves.Select(l => l.Index).ToArray() },
                    new() { Value = leaves.Select(l => l.EntryId).ToArray() },
                    new() { Value = leaves.Select(l => l.Hash).ToArray() },
                },
            },
            new("INSERT INTO ledger.node (level, idx, hash) SELECT * FROM unnest($1, $2, $3)")
            {
                Parameters =
                {
                    new() { Value = nodes.Select(n => (short)n.Id.Level).ToArray() },
                    new() { Value = nodes.Select(n => n.Id.Index).ToArray() },
                    new() { Value = nodes.Select(n => n.Hash).ToArray() },
                },
            },
        ];

    private static async Task<Dictionary<NodeId, byte[]>> ReadAsync(
        NpgsqlConnection connection, HashSet<NodeId> wanted, CancellationToken cancellationToken)
    {
        var inner = wanted.Where(id => id.Level > 0).ToList();
        await using var command = new NpgsqlCommand(SelectNodes, connection)
        {
            Parameters =
            {
                new() { Value = wanted.Where(id => id.Level == 0).Select(id => id.Index).ToArray() },
                new() { Value = inner.Select(id => (short)id.Level).ToArray() },
                new() { Value = inner.Select(id => id.Index).ToArray() },
            },
        };
        var found = new Dictionary<NodeId, byte[]>();
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        while (await reader.ReadAsync(cancellationToken))
        {
            found[new NodeId(reader.GetInt16(0), reader.GetInt64(1))] = reader.GetFieldValue<byte[]>(2);
        }

        foreach (var id in wanted)
        {
            if (!found.ContainsKey(id))
            {
                throw new LedgerException(
                    LedgerFault.Damaged,
                    string.Create(
                        CultureInfo.InvariantCulture, $"Node {id.Index} of level {id.Level} is missing from the tree.")
                );
            }
        }
        return found;
    }
}
