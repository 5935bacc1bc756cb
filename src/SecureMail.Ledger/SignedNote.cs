using System.Buffers.Binary;
using System.Text;

namespace SecureMail.Ledger;

/// <summary>A signature line of a note: <c>— name base64(key id || signature)</c>.</summary>
internal sealed record NoteSignature(string Name, uint KeyId, byte[] Value)
{
    public bool IsBy(VerifierKey key) => Name == key.Name && KeyId == key.KeyId;

    public override string ToString()
    {
        var bytes = new byte[4 + Value.Length];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, KeyId);
        Value.CopyTo(bytes, 4);
        return $"\u2014 {Name} {Convert.ToBase64String(bytes)}\n";
    }

    public static NoteSignature ParseLine(ReadOnlySpan<char> line)
    {
        // C2SP signed-note, "Format": em dash, space, key name, space, base64, newline.
        if (!line.StartsWith("\u2014 ", StringComparison.Ordinal) || !line.EndsWith("\n", StringComparison.Ordinal))
        {
            throw LedgerException.Malformed(
                "A signature line begins with an em dash and a space and ends with a newline.");
        }

        var rest = line[2..^1];
        var space = rest.IndexOf(' ');
        if (space <= 0)
        {
            throw LedgerException.Malformed("A signature line has a key name and a signature.");
        }

        var name = rest[..space].ToString();
        if (!VerifierKey.IsName(name))
        {
            throw LedgerException.Malformed(
                "The key name of a signature line has a space, a control character or a plus sign.");
        }

        if (SignedNote.StrictBase64(rest[(space + 1)..]) is not { Length: > 4 } bytes)
        {
            throw LedgerException.Malformed(
                "The signature of a signature line is not base64 of more than four bytes.");
        }

        return new NoteSignature(name, BinaryPrimitives.ReadUInt32BigEndian(bytes), bytes[4..]);
    }
}

/// <summary>
/// The framing of C2SP signed-note: a text, an empty line, signature lines. <see cref="Checkpoint"/> interprets the
/// text. The caller decides which keys count.
/// </summary>
internal sealed class SignedNote
{
    /// <summary>Readers must accept 16 signatures (C2SP signed-note). Post-quantum ones have 5 kB each.</summary>
    public const int MaxBytes = 128 * 1024;

    public const int MaxSignatures = 32;

    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private SignedNote(string text, IReadOnlyList<NoteSignature> signatures) => (Text, Signatures) = (text, signatures);

    /// <summary>With its final newline, without the empty line.</summary>
    public string Text { get; }

    public IReadOnlyList<NoteSignature> Signatures { get; }

    public static SignedNote Parse(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > MaxBytes)
        {
            throw new LedgerException(LedgerFault.TooLarge, $"A note is at most {MaxBytes} bytes.");
        }

        string note;
        try
        {
            note = Utf8.GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            throw LedgerException.Malformed("A note is UTF-8.");
        }
        if (note.Any(c => c < ' ' && c != '\n'))
        {
            throw LedgerException.Malformed("A note has no control character other than newline.");
        }
        // "the text is separated from the signatures by the last empty line in the note"
        var split = note.LastIndexOf("\n\n", StringComparison.Ordinal);
        if (split < 0)
        {
            throw LedgerException.Malformed("A note has an empty line before its signatures.");
        }

        var signatures = new List<NoteSignature>();
        for (var at = split + 2; at < note.Length;)
        {
            var end = note.IndexOf('\n', at);
            if (end < 0)
            {
                throw LedgerException.Malformed("The last line of a note does not end.");
            }

            if (signatures.Count == MaxSignatures)
            {
                throw new LedgerException(LedgerFault.TooLarge, $"A note has at most {MaxSignatures} signatures.");
            }

            signatures.Add(NoteSignature.ParseLine(note.AsSpan(at, end + 1 - at)));
            at = end + 1;
        }
        if (signatures.Count == 0)
        {
            throw LedgerException.Malformed("A note has a signature.");
        }

        return new SignedNote(note[..(split + 1)], signatures);
    }

    /// <summary>Decodes base64 of RFC 4648 §4 with padding. Returns null for any other text. The platform's decoders
    /// would skip white space.</summary>
    public static byte[]? StrictBase64(ReadOnlySpan<char> text)
    {
        var bytes = new byte[(text.Length / 4 * 3) + 3];
        if (!Convert.TryFromBase64Chars(text, bytes, out var length))
        {
            return null;
        }

        Array.Resize(ref bytes, length);
        return text.SequenceEqual(Convert.ToBase64String(bytes)) ? bytes : null;
    }
}
