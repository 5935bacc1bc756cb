using System.Buffers;
using System.Security.Cryptography;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>A new content-encryption key with its nonce, used for one content only.</summary>
internal sealed class ContentEncryptionKey : IDisposable
{
    public ContentEncryptionKey(CipherChoice cipher)
    {
        Wrapped = RandomNumberGenerator.GetBytes(cipher.KeySize);
        // A random nonce is safe here, because the key is new and encrypts with this nonce only (RFC 5084 §3.2
        // recommends 12 octets).
        Nonce = RandomNumberGenerator.GetBytes(cipher.IsAuthenticated ? 12 : ContentEncryption.BlockSize);
        Algorithm = cipher.EncodeAlgorithm(Nonce);
        Key = ContentAlgorithm.Read(Algorithm).DeriveContentKey(Wrapped);
    }

    /// <summary>The key that is wrapped for the recipients.</summary>
    public byte[] Wrapped { get; }

    /// <summary>The key that encrypts: <see cref="Wrapped"/>, or derived from it (RFC 9709).</summary>
    public byte[] Key { get; }

    /// <summary>12 bytes for GCM, one block for CBC.</summary>
    public byte[] Nonce { get; }

    /// <summary>contentEncryptionAlgorithm (RFC 5652 §10.1.4), DER.</summary>
    public byte[] Algorithm { get; }

    public void Dispose()
    {
        CryptographicOperations.ZeroMemory(Wrapped);
        CryptographicOperations.ZeroMemory(Key);
    }
}

/// <summary>Encrypts content in one pass, piece by piece.</summary>
internal static class ContentEncryption
{
    /// <summary>Bytes of an AES block.</summary>
    public const int BlockSize = 16;

    private const int BufferSize = 64 * 1024;

    /// <summary>Bytes of the ciphertext. RFC 5652 §6.3: CBC padding always adds 1 to 16 octets. The tag of GCM is
    /// not part of it; it stands in mac.</summary>
    public static long CiphertextLengthOf(CipherChoice cipher, long contentLength) =>
        cipher.IsAuthenticated ? contentLength : ((contentLength / BlockSize) + 1) * BlockSize;

    /// <summary>Encrypts the content and passes each piece of ciphertext to <paramref name="write"/>. The tag is empty
    /// for CBC.</summary>
    public static Task<(long Length, byte[] Tag)> EncryptAsync(
        Stream content, Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> write, CipherChoice cipher,
        ContentEncryptionKey key, CancellationToken cancellationToken) =>
        cipher.IsAuthenticated
            ? EncryptGcmAsync(content, write, key, cancellationToken)
            : EncryptCbcAsync(content, write, key, cancellationToken);

    private static async Task<(long Length, byte[] Tag)> EncryptGcmAsync(
        Stream content, Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> write, ContentEncryptionKey key,
        CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferSize);
        try
        {
            using var context = AesGcmContext.ForEncryption(key.Key, key.Nonce);
            long total = 0;
            for (int count; (count = await content.ReadAsync(buffer, cancellationToken)) > 0; total += count)
            {
                context.Update(buffer.AsSpan(0, count), buffer);
                await write(buffer.AsMemory(0, count), cancellationToken);
            }
            var tag = new byte[AesGcmContext.TagSize];
            context.WriteTag(tag);
            return (total, tag);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer, clearArray: true);
        }
    }

    private static async Task<(long Length, byte[] Tag)> EncryptCbcAsync(
        Stream content, Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> write, ContentEncryptionKey key,
        CancellationToken cancellationToken)
    {
        var plain = ArrayPool<byte>.Shared.Rent(BufferSize);
        var encrypted = ArrayPool<byte>.Shared.Rent(BufferSize + BlockSize);
        try
        {
            using var aes = Aes.Create();
            using ICryptoTransform transform = aes.CreateEncryptor(key.Key, key.Nonce);
            long total = 0;
            while (true)
            {
                var count = await content.ReadAtLeastAsync(
                    plain.AsMemory(0, BufferSize), BufferSize, throwOnEndOfStream: false, cancellationToken);
                if (count < BufferSize)
                {
                    var last = transform.TransformFinalBlock(plain, 0, count);
                    await write(last, cancellationToken);
                    return (total + last.Length, []);
                }
                var written = transform.TransformBlock(plain, 0, count, encrypted, 0);
                await write(encrypted.AsMemory(0, written), cancellationToken);
                total += written;
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(plain, clearArray: true);
            ArrayPool<byte>.Shared.Return(encrypted);
        }
    }
}
