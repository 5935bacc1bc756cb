using System.Buffers;
using System.Globalization;
using System.Resources;
using System.Text.Json;

namespace SecureMail.Ledger;

/// <summary>
/// The evidence that a gateway sends with a dispatch or a receipt. With it the receiver verifies, without asking
/// anyone, that the entry is in the sender's ledger and that this ledger still has the past that the receiver saw
/// before:
/// <code>{"v":1,"entry":"base64","index":0,"checkpoint":"note","inclusion":["base64"],
///  "consistency":{"5":["base64"]},"cosignatures":[{"size":5,"line":"— …"}]}</code>
/// <c>consistency</c>: proofs from each size that the receiver announced to the checkpoint's size.
/// <c>cosignatures</c>: the sender's cosignatures over the receiver's own checkpoints.
/// The form is UTF-8 JSON. The gateway sends it in base64 in a folded header field. docs/ledger.md describes it for
/// other readers.
/// </summary>
public sealed class LedgerEvidence
{
    /// <summary>The longest JSON form in bytes.</summary>
    public const int MaxBytes = 96 * 1024;

    /// <summary>How many consistency proofs evidence carries at most.</summary>
    public const int MaxProofs = 32;

    /// <summary>How many cosignatures evidence carries at most.</summary>
    public const int MaxCosignatures = 16;

    private const int HashTextLength = 44;

    private static readonly ResourceManager Words = new(
        "SecureMail.Ledger.Words.Problems", typeof(LedgerEvidence).Assembly);

    private readonly byte[] _entryBytes;

    /// <summary>Makes evidence of parts that belong together. <see cref="Parse"/> reads evidence from bytes.</summary>
    /// <param name="entry">The entry's canonical bytes.</param>
    /// <exception cref="LedgerException">Malformed: the bytes are not an entry.</exception>
    public LedgerEvidence(
        byte[] entry, long index, Checkpoint checkpoint, IReadOnlyList<byte[]> inclusion,
        IReadOnlyDictionary<long, IReadOnlyList<byte[]>> consistency, IReadOnlyList<Cosignature> cosignatures)
    {
        (_entryBytes, Index, Checkpoint, Inclusion, Consistency, Cosignatures) = (
            entry, index, checkpoint, inclusion, consistency, cosignatures);
        Entry = LedgerEntry.Parse(entry);
    }

    public LedgerEntry Entry { get; }

    /// <summary>The entry's index in the sender's tree.</summary>
    public long Index { get; }

    /// <summary>The sender's checkpoint that covers the entry.</summary>
    public Checkpoint Checkpoint { get; }

    public IReadOnlyList<byte[]> Inclusion { get; }

    /// <summary>Consistency proofs of the sender's ledger, by the size that each begins at.</summary>
    public IReadOnlyDictionary<long, IReadOnlyList<byte[]>> Consistency { get; }

    /// <summary>The sender's cosignatures over the receiver's checkpoints.</summary>
    public IReadOnlyList<Cosignature> Cosignatures { get; }

    /// <summary>
    /// Verifies that the checkpoint is signed by the log and that the entry is in its tree. The consistency proofs are
    /// not verified here, because that needs the checkpoints seen of the peer.
    /// </summary>
    /// <param name="log">The sender's log key, as the directory pins it.</param>
    /// <returns>The problem, or null if the evidence is valid.</returns>
    public LedgerProblem? Verify(VerifierKey log)
    {
        ArgumentNullException.ThrowIfNull(log);
        if (Checkpoint.Origin != log.Name || !Checkpoint.IsSignedBy(log))
        {
            return new LedgerProblem(Words, "checkpoint-signature");
        }
        if (
            !MerkleTree.VerifyInclusion(
                MerkleTree.LeafHash(_entryBytes), Index, Checkpoint.Size, Inclusion, Checkpoint.Root.Span))
        {
            return new LedgerProblem(Words, "inclusion");
        }
        return null;
    }

    /// <summary>The JSON form, UTF-8.</summary>
    public byte[] ToBytes()
    {
        var buffer = new ArrayBufferWriter<byte>();
        // No browser reads this JSON, so the em dash of the signature lines need not be escaped.
        using (
            var json = new Utf8JsonWriter(
                buffer,
                new JsonWriterOptions
                {
                    Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
                }))
        {
            json.WriteStartObject();
            json.WriteNumber("v", 1);
            json.WriteBase64String("entry", _entryBytes);
            json.WriteNumber("index", Index);
            json.WriteString("checkpoint", Checkpoint.Note.Span);
            json.WritePropertyName("inclusion");
            WriteHashes(json, Inclusion);
            json.WriteStartObject("consistency");
            foreach (var (size, hashes) in Consistency.OrderBy(pair => pair.Key))
            {
                json.WritePropertyName(size.ToString(CultureInfo.InvariantCulture));
                WriteHashes(json, hashes);
            }
            json.WriteEndObject();
            json.WriteStartArray("cosignatures");
            foreach (var cosignature in Cosignatures)
            {
                json.WriteStartObject();
                json.WriteNumber("size", cosignature.Size);
                json.WriteString("line", cosignature.Line);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return buffer.WrittenSpan.ToArray();
    }

    /// <exception cref="LedgerException">Malformed or TooLarge.</exception>
    public static LedgerEvidence Parse(ReadOnlyMemory<byte> bytes)
    {
        if (bytes.Length > MaxBytes)
        {
            throw new LedgerException(LedgerFault.TooLarge, $"Ledger evidence is at most {MaxBytes} bytes.");
        }

        try
        {
            using var document = JsonDocument.Parse(
                bytes, new JsonDocumentOptions { MaxDepth = 4, AllowDuplicateProperties = false });
            var root = document.RootElement;
            if (root.GetProperty("v").GetInt32() != 1)
            {
                throw LedgerException.Malformed("Ledger evidence of another version.");
            }

            var index = root.GetProperty("index").GetInt64();
            if (index < 0)
            {
                throw LedgerException.Malformed("The index of the evidence is negative.");
            }

            return new LedgerEvidence(
                Base64(root.GetProperty("entry"), LedgerEntry.MaxBytes), index,
                Checkpoint.Parse(System.Text.Encoding.UTF8.GetBytes(root.GetProperty("checkpoint").GetString() ?? "")),
                ReadHashes(root.GetProperty("inclusion")), ReadConsistency(root.GetProperty("consistency")),
                ReadCosignatures(root.GetProperty("cosignatures")));
        }
        catch (Exception e)
            when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new LedgerException(
                LedgerFault.Malformed, "Ledger evidence is not the JSON object that docs/ledger.md gives.", e);
        }
    }

    private static void WriteHashes(Utf8JsonWriter json, IReadOnlyList<byte[]> hashes)
    {
        json.WriteStartArray();
        foreach (var hash in hashes)
        {
            json.WriteBase64StringValue(hash);
        }

        json.WriteEndArray();
    }

    private static List<byte[]> ReadHashes(JsonElement array)
    {
        if (array.GetArrayLength() > MerkleTree.MaxProofHashes)
        {
            throw new LedgerException(LedgerFault.TooLarge, $"A proof has at most {MerkleTree.MaxProofHashes} hashes.");
        }

        var hashes = new List<byte[]>();
        foreach (var element in array.EnumerateArray())
        {
            if (element.GetString() is not { Length: HashTextLength } text
                || SignedNote.StrictBase64(text) is not { Length: MerkleTree.HashSize } hash)
            {
                throw LedgerException.Malformed("A hash of a proof is base64 of 32 bytes.");
            }

            hashes.Add(hash);
        }
        return hashes;
    }

    private static SortedDictionary<long, IReadOnlyList<byte[]>> ReadConsistency(JsonElement element)
    {
        var proofs = new SortedDictionary<long, IReadOnlyList<byte[]>>();
        foreach (var member in element.EnumerateObject())
        {
            if (!long.TryParse(member.Name, NumberStyles.None, CultureInfo.InvariantCulture, out var size)
                || size == 0
                || member.Name != size.ToString(CultureInfo.InvariantCulture))
            {
                throw LedgerException.Malformed("A consistency proof is named by the size it begins at.");
            }

            if (proofs.Count == MaxProofs)
            {
                throw new LedgerException(
                    LedgerFault.TooLarge, $"Evidence has at most {MaxProofs} consistency proofs.");
            }

            proofs[size] = ReadHashes(member.Value);
        }
        return proofs;
    }

    private static List<Cosignature> ReadCosignatures(JsonElement array)
    {
        if (array.GetArrayLength() > MaxCosignatures)
        {
            throw new LedgerException(LedgerFault.TooLarge, $"Evidence has at most {MaxCosignatures} cosignatures.");
        }

        return
        [
            .. array
                .EnumerateArray()
                .Select(element => new Cosignature(
                    element.GetProperty("size").GetInt64(),
                    element.GetProperty("line").GetString()
                        ?? throw LedgerException.Malformed("A cosignature has a line."))),
        ];
    }

    private static byte[] Base64(JsonElement element, int max)
    {
        var text = element.GetString() ?? "";
        if (text.Length > (max + 2) / 3 * 4)
        {
            throw new LedgerException(LedgerFault.TooLarge, $"An entry is at most {max} bytes.");
        }

        return SignedNote.StrictBase64(text)
            ?? throw LedgerException.Malformed("The entry of the evidence is not base64.");
    }
}
