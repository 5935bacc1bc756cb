using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using SecureMail.Libcrypto;

namespace SecureMail.Ledger;

/// <summary>
/// A signed statement of a log, "my tree has this many leaves and this root": a C2SP tlog-checkpoint in a C2SP
/// signed-note. Two checkpoints of one log that no consistency proof can join prove a fork. This type keeps the bytes
/// as received. A parsed checkpoint is not trusted until <see cref="IsSignedBy"/> was called with a key from the
/// directory.
/// </summary>
public sealed class Checkpoint
{
    /// <summary>The longest note that is read, in bytes.</summary>
    public const int MaxBytes = SignedNote.MaxBytes;

    private const int TimestampSize = 8;

    private readonly byte[] _note;
    private readonly byte[] _body;
    private readonly byte[] _root;
    private readonly IReadOnlyList<NoteSignature> _signatures;

    private Checkpoint(byte[] note, SignedNote parsed)
    {
        _note = note;
        _body = Encoding.UTF8.GetBytes(parsed.Text);
        _signatures = parsed.Signatures;
        var lines = parsed.Text.Split('\n');
        // tlog-checkpoint: origin, size, root, then extension lines. The specification does not recommend extension
        // lines, and none is accepted here because no auditor reads them.
        if (lines.Length != 4)
        {
            throw LedgerException.Malformed("A checkpoint has exactly three lines: origin, size, root.");
        }

        if (lines[0].Length is 0 or > 255)
        {
            throw LedgerException.Malformed("The origin of a checkpoint has 1 to 255 characters.");
        }

        Origin = lines[0];
        if (!long.TryParse(lines[1], NumberStyles.None, CultureInfo.InvariantCulture, out var size)
            || lines[1] != size.ToString(CultureInfo.InvariantCulture))
        {
            throw LedgerException.Malformed("The size of a checkpoint is a decimal number without leading zeroes.");
        }

        Size = size;
        _root = SignedNote.StrictBase64(lines[2]) is { Length: MerkleTree.HashSize } root
            ? root
            : throw LedgerException.Malformed("The root of a checkpoint is base64 of 32 bytes.");
    }

    public string Origin { get; }

    /// <summary>Number of leaves.</summary>
    public long Size { get; }

    /// <summary>The root hash, 32 bytes.</summary>
    public ReadOnlyMemory<byte> Root => _root;

    /// <summary>The whole note as received, with its signatures.</summary>
    public ReadOnlyMemory<byte> Note => _note;

    /// <summary>The signed text: three lines, each with its newline.</summary>
    public ReadOnlySpan<byte> Body => _body;

    /// <exception cref="LedgerException">Malformed or TooLarge.</exception>
    public static Checkpoint Parse(ReadOnlySpan<byte> note) => new(note.ToArray(), SignedNote.Parse(note));

    /// <summary>Signs size and root under the key's name as origin.</summary>
    public static Checkpoint Sign(LedgerKey key, long size, ReadOnlySpan<byte> root)
    {
        if (key.Kind != NoteKeyKind.Log)
        {
            throw new ArgumentException("A checkpoint is signed with a log key, not a cosigner's.", nameof(key));
        }

        var body = string.Create(CultureInfo.InvariantCulture, $"{key.Name}\n{size}\n{Convert.ToBase64String(root)}\n");
        var signature = new NoteSignature(key.Name, key.Verifier.KeyId, key.Sign(Encoding.UTF8.GetBytes(body)));
        return Parse(Encoding.UTF8.GetBytes($"{body}\n{signature}"));
    }

    /// <summary>
    /// Whether the log that owns the key signed this checkpoint. A line with the key's name and id and a wrong
    /// signature makes the answer false even beside a good line (C2SP signed-note: clients should reject the whole
    /// note).
    /// </summary>
    public bool IsSignedBy(VerifierKey log)
    {
        ArgumentNullException.ThrowIfNull(log);
        var lines = _signatures.Where(line => line.IsBy(log)).ToList();
        return log.Kind == NoteKeyKind.Log && lines.Count > 0 && lines.All(line => log.Verify(_body, line.Value));
    }

    /// <summary>Makes a cosignature, which states that this checkpoint is now the largest consistent tree that the
    /// cosigner has seen of the log.</summary>
    /// <returns>The line with its newline, as it is appended to the note.</returns>
    public string Cosign(LedgerKey cosigner, DateTimeOffset now)
    {
        if (cosigner.Kind != NoteKeyKind.Cosigner)
        {
            throw new ArgumentException("A cosignature is made with a cosigner key, not a log's.", nameof(cosigner));
        }

        var timestamp = now.ToUnixTimeSeconds();
        var signature = cosigner.Sign(CosignedMessage(timestamp));
        var value = new byte[TimestampSize + signature.Length];
        BinaryPrimitives.WriteInt64BigEndian(value, timestamp);
        signature.CopyTo(value, TimestampSize);
        return new NoteSignature(cosigner.Name, cosigner.Verifier.KeyId, value).ToString();
    }

    /// <summary>Verifies that the line (with its newline) is the cosigner's cosignature over this checkpoint.</summary>
    /// <returns>The time that the cosigner stated, or null if the line is not its cosignature.</returns>
    /// <exception cref="LedgerException">Malformed: the line is not a signature line. TooLarge.</exception>
    public DateTimeOffset? CosignedAt(VerifierKey cosigner, string line)
    {
        ArgumentNullException.ThrowIfNull(cosigner);
        ArgumentNullException.ThrowIfNull(line);
        if (line.Length > 1024)
        {
            throw new LedgerException(LedgerFault.TooLarge, "A cosignature line is at most 1024 characters.");
        }

        var signature = NoteSignature.ParseLine(line);
        if (cosigner.Kind != NoteKeyKind.Cosigner
            || !signature.IsBy(cosigner)
            || signature.Value.Length != TimestampSize + Ed25519.SignatureSize)
        {
            return null;
        }

        var timestamp = BinaryPrimitives.ReadInt64BigEndian(signature.Value);
        // DateTimeOffset ends with the year 9999. The specification's own bound, 2^63 - 1, is later.
        if (timestamp is < 0 or > 253402300799
            || !cosigner.Verify(CosignedMessage(timestamp), signature.Value.AsSpan(TimestampSize)))
        {
            return null;
        }

        return DateTimeOffset.FromUnixTimeSeconds(timestamp);
    }

    // C2SP tlog-cosignature, "Ed25519 signed message".
    private byte[] CosignedMessage(long timestamp) =>
        [
            .. Encoding.ASCII.GetBytes(
                string.Create(CultureInfo.InvariantCulture, $"cosignature/v1\ntime {timestamp}\n")),
            .. _body,
        ];
}

/// <summary>A peer's cosignature over one of our checkpoints, as it is sent: the size of the checkpoint and the
/// line.</summary>
public sealed record Cosignature(long Size, string Line);
