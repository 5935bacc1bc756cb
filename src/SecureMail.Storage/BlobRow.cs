using System.Buffers;
using System.Buffers.Binary;
using System.Security.Cryptography;

namespace SecureMail.Storage;

/// <summary>
/// One encrypted row of a blob: how its nonce and its additional data are formed. The blob's key is used for one blob
/// only, so the nonce may be the row's number (SP 800-38D §8.2.1).
/// </summary>
internal static class BlobRow
{
    /// <summary>Bytes of content in every row but the last.</summary>
    public const int Size = 256 * 1024;

    /// <summary>Bytes of the AES-GCM tag behind the content.</summary>
    public const int TagSize = 16;

    public static void Associate(Span<byte> data, Guid blob, int n, bool last)
    {
        blob.TryWriteBytes(data);
        BinaryPrimitives.WriteInt32BigEndian(data[16..], n);
        data[20] = last ? (byte)1 : (byte)0;
    }

    /// <summary>Decrypts a row (ciphertext, then tag) into <paramref name="content"/>, which may be the same
    /// memory.</summary>
    /// <exception cref="InvalidDataException">The row was changed.</exception>
    public static void Decrypt(AesGcm aes, Guid blob, int n, bool last, ReadOnlySpan<byte> row, Span<byte> content)
    {
        Span<byte> nonce = stackalloc byte[12];
        Span<byte> associated = stackalloc byte[21];
        Nonce(nonce, n);
        Associate(associated, blob, n, last);
        try
        {
            aes.Decrypt(nonce, row[..^TagSize], row[^TagSize..], content, associated);
        }
        catch (AuthenticationTagMismatchException e)
        {
            throw new InvalidDataException($"Row {n} of blob {blob} was changed.", e);
        }
    }

    /// <summary>Wipes what was used of a rented array and gives it back; a second call does nothing.</summary>
    public static void Return(ref byte[] rented, int used)
    {
        if (Interlocked.Exchange(ref rented, []) is { Length: > 0 } array)
        {
            CryptographicOperations.ZeroMemory(array.AsSpan(0, used));
            ArrayPool<byte>.Shared.Return(array);
        }
    }

    public static void Nonce(Span<byte> nonce, int n)
    {
        nonce.Clear();
        BinaryPrimitives.WriteInt32BigEndian(nonce[8..], n);
    }
}
