using System.Globalization;
using System.Text;
using System.Text.Json;
using Npgsql;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.LedgerStore;

/// <summary>Writes the stored ledger as the file that <see cref="LedgerExport"/> describes.</summary>
public static class LedgerExporter
{
    /// <summary>Writes all entries that a checkpoint covers, with checkpoints and cosignatures, from one snapshot of
    /// the database.</summary>
    /// <param name="progress">Hears how many entries were written.</param>
    public static async Task WriteAsync(
        NpgsqlDataSource database, VerifierKey log, Stream output, CancellationToken cancellationToken,
        IProgress<long>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(log);
        await using var snapshot = await LedgerSnapshot.OpenAsync(database, 3, cancellationToken);
        await using var text = new StreamWriter(output, LedgerExport.Utf8, leaveOpen: true) { NewLine = "\n" };
        await text.WriteLineAsync(
            JsonSerializer.Serialize(
                new
                {
                    type = "ledger",
                    v = 1,
                    origin = log.Name,
                    vkey = log.ToString(),
                },
                LedgerExport.Json));
        await using var entries = await ReadAsync(
            snapshot[0],
            """
            SELECT l.idx, e.body
            FROM ledger.leaf l LEFT JOIN ledger.entry e USING (entry_id)
            WHERE l.idx < (SELECT max(size) FROM ledger.checkpoint)
            ORDER BY l.idx
            """,
            cancellationToken);
        await using var checkpoints = await ReadAsync(
            snapshot[1], "SELECT size, note FROM ledger.checkpoint ORDER BY size", cancellationToken);
        await using var cosignatures = await ReadAsync(
            snapshot[2], "SELECT size, cosigner, line FROM ledger.cosignature ORDER BY size, cosigner",
            cancellationToken);
        var moreCheckpoints = await checkpoints.ReadAsync(cancellationToken);
        var moreCosignatures = await cosignatures.ReadAsync(cancellationToken);
        while (await entries.ReadAsync(cancellationToken))
        {
            var index = entries.GetInt64(0);
            // A missing entry is exported as an empty body, so that the reader of the export finds the gap.
            var body = await entries.IsDBNullAsync(1, cancellationToken) ? [] : entries.GetFieldValue<byte[]>(1);
            await text.WriteLineAsync(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{{\"type\":\"entry\",\"index\":{index},\"body\":\"{Convert.ToBase64String(body)}\"}}"));
            for (
                ;
                moreCheckpoints && checkpoints.GetInt64(0) == index + 1;
                moreCheckpoints = await checkpoints.ReadAsync(cancellationToken))
            {
                await text.WriteLineAsync(LedgerExport.CheckpointLine(checkpoints.GetFieldValue<byte[]>(1)));
                for (
                    ;
                    moreCosignatures && cosignatures.GetInt64(0) == index + 1;
                    moreCosignatures = await cosignatures.ReadAsync(cancellationToken))
                {
                    await text.WriteLineAsync(
                        JsonSerializer.Serialize(
                            new
                            {
                                type = "cosignature",
                                size = index + 1,
                                vkey = cosignatures.GetString(1),
                                line = cosignatures.GetString(2),
                            },
                            LedgerExport.Json));
                }
            }

            progress?.Report(index + 1);
        }
        await text.FlushAsync(cancellationToken);
    }

    /// <summary>Writes the checkpoints seen of a peer, so that the peer or its auditor can compare them.</summary>
    public static async Task WriteSeenAsync(
        NpgsqlConnection connection, string peerOrigin, Stream output, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(
            "SELECT note FROM ledger.peer_checkpoint WHERE origin = $1 ORDER BY size, seen_at", connection)
        {
            Parameters = { new() { Value = peerOrigin } },
        };
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        await using var text = new StreamWriter(output, LedgerExport.Utf8, leaveOpen: true) { NewLine = "\n" };
        while (await reader.ReadAsync(cancellationToken))
        {
            await text.WriteLineAsync(LedgerExport.CheckpointLine(reader.GetFieldValue<byte[]>(0)));
        }

        await text.FlushAsync(cancellationToken);
    }

    private static async Task<NpgsqlDataReader> ReadAsync(
        NpgsqlConnection connection, string sql, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = 0 };
        return await command.ExecuteReaderAsync(cancellationToken);
    }
}
