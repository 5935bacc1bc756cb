using System.Security.Cryptography;

namespace SecureMail.Storage;

/// <summary>A card as it lies in its row.</summary>
/// <param name="Key">The name of the storage key.</param>
/// <param name="Ciphertext">12 bytes nonce, ciphertext, 16 bytes tag.</param>
public sealed record EncryptedCard(string Key, byte[] Ciphertext);

/// <summary>
/// Encrypts what a register lists of a row (its card), so that a list needs one query and one decryption a row and no
/// blob.
/// </summary>
/// <remarks>
/// AES-256-GCM under a key of the row's own: HKDF (RFC 5869) of the storage key with the row's id, so that a card opens
/// in its own row only. The plaintext is padded to a multiple of 256 bytes, because its length tells something of a
/// subject. Key rotation encrypts the card again, and a trigger of the schema empties it when the content is erased.
/// </remarks>
public sealed class CardCipher(StorageKeys keys)
{
    private const int NonceSize = 12;
    private const int TagSize = 16;
    private const int Padding = 256;

    /// <param name="row">The id of the row that gets the card.</param>
    /// <param name="card">JSON; spaces are added behind it.</param>
    public EncryptedCard Encrypt(Guid row, ReadOnlySpan<byte> card)
    {
        var padded = new byte[(card.Length + Padding) / Padding * Padding];
        padded.AsSpan(card.Length).Fill((byte)' ');
        card.CopyTo(padded);
        var name = keys.Current;
        var ciphertext = new byte[NonceSize + padded.Length + TagSize];
        var nonce = ciphertext.AsSpan(0, NonceSize);
        RandomNumberGenerator.Fill(nonce);
        using var aes = new AesGcm(keys.DeriveCardKey(row, name), TagSize);
        aes.Encrypt(nonce, padded, ciphertext.AsSpan(NonceSize, padded.Length), ciphertext.AsSpan(^TagSize..));
        CryptographicOperations.ZeroMemory(padded);
        return new EncryptedCard(name, ciphertext);
    }

    /// <exception cref="InvalidDataException">The storage key is absent, or the row was changed.</exception>
    public byte[] Decrypt(Guid row, EncryptedCard card)
    {
        var bytes = card.Ciphertext.AsSpan();
        if (bytes.Length < NonceSize + TagSize)
        {
            throw new InvalidDataException($"The card of {row} is cut off.");
        }

        var plaintext = new byte[bytes.Length - NonceSize - TagSize];
        using var aes = new AesGcm(keys.DeriveCardKey(row, card.Key), TagSize);
        try
        {
            aes.Decrypt(bytes[..NonceSize], bytes[NonceSize..^TagSize], bytes[^TagSize..], plaintext);
            return plaintext;
        }
        catch (AuthenticationTagMismatchException e)
        {
            throw new InvalidDataException(
                $"The card of {row} was changed, or the storage key {card.Key} is another.", e);
        }
    }
}
