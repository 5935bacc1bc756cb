using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using SecureMail.Libcrypto;

namespace SecureMail.Ledger;

/// <summary>The meaning of a key's signatures on a note, which is the byte before the public key (C2SP signed-note,
/// "Signature types").</summary>
public enum NoteKeyKind
{
    /// <summary>The log signs its own checkpoints: Ed25519 over the note text.</summary>
    Log = 0x01,

    /// <summary>A cosigner signs checkpoints that it found consistent: timestamped Ed25519 (C2SP
    /// tlog-cosignature).</summary>
    Cosigner = 0x04,
}

/// <summary>
/// A public key with its name, in the form in which witnesses and tools are configured:
/// <c>name+hex key id+base64(kind || 32 bytes)</c> (C2SP signed-note). The directory pins a peer's keys in this form.
/// </summary>
public sealed class VerifierKey
{
    private const int MaxName = 255;
    private readonly byte[] _publicKey;

    // Made with the first verification, because a directory has the keys of peers that send nothing.
    private readonly Lazy<VerificationKey?> _key;

    internal VerifierKey(string name, NoteKeyKind kind, ReadOnlySpan<byte> publicKey)
    {
        if (!IsName(name))
        {
            throw LedgerException.Malformed(
                "The name of a note key has 1 to 255 characters, none of them a space, a control or a plus sign.");
        }

        Name = name;
        Kind = kind;
        _publicKey = publicKey.ToArray();
        _key = new(() => VerificationKey.TryEd25519(_publicKey));
        // C2SP signed-note: key ID = SHA-256(name || 0x0A || kind || public key)[:4]
        var hash = SHA256.HashData([.. Encoding.UTF8.GetBytes(name), 0x0A, (byte)kind, .. publicKey]);
        KeyId = BinaryPrimitives.ReadUInt32BigEndian(hash);
    }

    public string Name { get; }

    public NoteKeyKind Kind { get; }

    public uint KeyId { get; }

    /// <summary>The 32 octets of an Ed25519 public key (RFC 8032 §5.1.5).</summary>
    public ReadOnlyMemory<byte> PublicKey => _publicKey;

    /// <exception cref="LedgerException">Malformed: the text is not a key of one of the two kinds, or the id is not the
    /// id of the key.</exception>
    public static VerifierKey Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var parts = text.Split('+', 3); // base64 may hold further plus signs, a name may not
        if (text.Length > 512 || parts.Length != 3 || parts[1].Length != 8 || !LedgerEntry.IsLowerHex(parts[1]))
        {
            throw LedgerException.Malformed("A verifier key is name+8 hexadecimal digits+base64.");
        }

        var material = SignedNote.StrictBase64(parts[2]);
        if (material is not { Length: 1 + Ed25519.PublicKeySize }
            || material[0] is not ((byte)NoteKeyKind.Log or (byte)NoteKeyKind.Cosigner))
        {
            throw LedgerException.Malformed(
                "A verifier key holds one byte of kind (1 or 4) and 32 bytes of Ed25519 key.");
        }

        var key = new VerifierKey(parts[0], (NoteKeyKind)material[0], material.AsSpan(1));
        if (key.KeyId != uint.Parse(parts[1], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture))
        {
            throw LedgerException.Malformed("The id of the verifier key is not the id of its key.");
        }

        return key;
    }

    public override string ToString() =>
        string.Create(
            CultureInfo.InvariantCulture, $"{Name}+{KeyId:x8}+{Convert.ToBase64String([(byte)Kind, .. _publicKey])}");

    /// <summary>Whether the value is a signature by this key; false also when the 32 bytes are not a usable
    /// key.</summary>
    public bool Verify(ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature) =>
        _key.Value is { } key && key.VerifyEd25519(message, signature);

    /// <summary>C2SP signed-note: key names are non-empty, without Unicode spaces or plus.</summary>
    internal static bool IsName(string name) =>
        name.Length is > 0 and <= MaxName && !name.Any(c => char.IsWhiteSpace(c) || char.IsControl(c) || c == '+');
}
