using System.Globalization;
using System.Text;
using System.Text.Json;

namespace SecureMail.Ledger;

/// <summary>
/// The ledger as a file that anyone can verify without this gateway: one JSON object a line (docs/ledger.md).
/// <code>{"type":"ledger","v":1,"origin":"…","vkey":"…"}
/// {"type":"entry","index":0,"body":"base64"}
/// {"type":"checkpoint","note":"…"}            after the last entry it covers
/// {"type":"cosignature","size":1,"vkey":"…","line":"…"}   after its checkpoint</code>
/// Checkpoints seen of a peer have the same checkpoint lines. One gateway writes them with "securemail ledger seen".
/// The other reads them with <see cref="ReadSeenAsync"/> and compares its own ledger with them.
/// </summary>
public static class LedgerExport
{
    private const int MaxLine = 256 * 1024;
    private const int MaxSeen = 1_000_000;

    /// <summary>UTF-8 without a byte order mark.</summary>
    public static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false);

    /// <summary>How a line is written: letters beyond ASCII are not escaped.</summary>
    public static readonly JsonSerializerOptions Json = new()
    {
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>
    /// Reads checkpoints that others hold: JSON lines of type <c>checkpoint</c>, or one note as it is. Lines of other
    /// types are skipped, so that a whole export can be read too.
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

    /// <summary>A checkpoint as a line of the file, without its line end.</summary>
    public static string CheckpointLine(byte[] note) =>
        JsonSerializer.Serialize(new { type = "checkpoint", note = Utf8.GetString(note) }, Json);
}
