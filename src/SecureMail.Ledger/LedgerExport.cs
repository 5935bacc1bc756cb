using System.Globalization;
using System.Text;
using System.Text.Json;
using Npgsql;

namespace SecureMail.Ledger;

/// <summary>
/// The ledger as a file that anyone can verify without us: one JSON object a line (docs/ledger.md).
/// <code>{"type":"ledger","v":1,"origin":"…","vkey":"…"}
/// {"type":"entry","index":0,"body":"base64"}
/// {"type":"checkpoint","note":"…"}            after the last entry it covers
/// {"type":"cosignature","size":1,"vkey":"…","line":"…"}   after its checkpoint</code>
/// Checkpoints seen of a peer travel in the same checkpoint lines: what one gateway writes by
/// <see cref="WriteSeenAsync"/>, the other reads by <see cref="ReadSeenAsync"/> and verifies itself against.
/// </summary>
public static class LedgerExport
{
    private const int MaxLine = 256 * 1024;
    private const int MaxSeen = 1_000_000;

    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false);
    private static readonly JsonSerializerOptions Plain = new()
    {
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>Writes everything that a checkpoint covers, from one snapshot of the database.</summary>
    public static async Task WriteAsync(
        NpgsqlDataSource database, VerifierKey log, Stream output, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(log);
        await using var snapshot = await LedgerSnapshot.OpenAsync(database, 3, cancellationToken);
        await using var text = new StreamWriter(output, Utf8, leaveOpen: true) { NewLine = "\n" };
        await text.WriteLineAsync(
            JsonSerializer.Serialize(
                new
                {
                    type = "ledger",
                    v = 1,
                    origin = log.Name,
                    vkey = log.ToString(),
                },
                Plain));
        await using var entries = await ReadAsync(
            snapshot[0],
            "SELECT l.idx, e.body FROM ledger.leaf l LEFT JOIN ledger.entry e USING (entry_id) WHERE l.idx < (SELECT max(size) FROM ledger.checkpoint) ORDER BY l.idx",
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
            // A missing entry is exported as an empty body: the reader shall find the hole, not be spared it.
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
                await text.WriteLineAsync(CheckpointLine(checkpoints.GetFieldValue<byte[]>(1)));
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
                            Plain));
                }
            }
        }
        await text.FlushAsync(cancellationToken);
    }

    /// <summary>Writes the checkpoints we hold of a peer, so that it, or its auditor, can compare.</summary>
    public static async Task WriteSeenAsync(
        NpgsqlConnection connection, string peerOrigin, Stream output, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(
            "SELECT note FROM ledger.peer_checkpoint WHERE origin = $1 ORDER BY size, seen_at", connection)
        {
            Parameters = { new() { Value = peerOrigin } },
        };
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        await using var text = new StreamWriter(output, Utf8, leaveOpen: true) { NewLine = "\n" };
        while (await reader.ReadAsync(cancellationToken))
        {
            await text.WriteLineAsync(CheckpointLine(reader.GetFieldValue<byte[]>(0)));
        }

        await text.FlushAsync(cancellationToken);
    }

    /// <summary>
    /// Reads checkpoints that others hold: JSON lines of type <c>checkpoint</c> (other types are passed over, so that a
    /// whole export serves too), or one note as it is.
    /// </summary>
    /// <exception cref="LedgerException">Malformed or TooLarge.</exception>
    public static async Task<IReadOnlyList<Checkpoint>> ReadSeenAsync(Stream input, CancellationToken cancellationToken)
    {
        using var reader = new StreamReader(input, Utf8, detectEncodingFromByteOrderMarks: false, leaveOpen: true);
        var seen = new List<Checkpoint>();
        var note = new StringBuilder();
        while (await reader.ReadLineAsync(cancellationToken) is { } line)
        {
            if (line.Length > MaxLine || note.Length > Checkpoint.MaxBytes || seen.Count == MaxSeen)
            {
                throw new LedgerException(
                    LedgerFault.TooLarge, "The file of seen checkpoints has a line too long, or too many lines.");
            }

            if (note.Length > 0 || !line.StartsWith('{'))
            {
                note.Append(line).Append('\n');
            }
            else if (ReadLine(line) is { } checkpoint)
            {
                seen.Add(checkpoint);
            }
        }
        if (note.Length > 0)
        {
            seen.Add(Checkpoint.Parse(Utf8.GetBytes(note.ToString())));
        }

        return seen;
    }

    private static Checkpoint? ReadLine(string line)
    {
        try
        {
            using var document = JsonDocument.Parse(
                line, new JsonDocumentOptions { MaxDepth = 4, AllowDuplicateProperties = false });
            return document.RootElement.GetProperty("type").GetString() == "checkpoint"
                ? Checkpoint.Parse(Utf8.GetBytes(document.RootElement.GetProperty("note").GetString() ?? ""))
                : null;
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new LedgerException(
                LedgerFault.Malformed, "A line of the file of seen checkpoints is not a JSON object with a type.", e);
        }
    }

    private static string CheckpointLine(byte[] note) =>
        JsonSerializer.Serialize(new { type = "checkpoint", note = Utf8.GetString(note) }, Plain);

    private static async Task<NpgsqlDataReader> ReadAsync(
        NpgsqlConnection connection, string sql, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = 0 };
        return await command.ExecuteReaderAsync(cancellationToken);
    }
}
