using System.Buffers;
using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>
/// Encrypts content to certificates, in one pass: a fresh key for each message, wrapped for each recipient by RSA.
/// Whether a certificate is the right one, valid and meant for encryption is for the caller to know.
/// </summary>
public static class CmsEnveloper
{
    private const int BufferSize = 64 * 1024;
    private const int Block = 16;

    /// <summary>
    /// Writes EnvelopedData or AuthEnvelopedData in ContentInfo: DER when the content's length is known beforehand (a
    /// seekable stream), else BER with indefinite lengths.
    /// </summary>
    /// <param name="content">Read to its end.</param>
    /// <param name="output">Written as the content is read; on an exception it holds something unfinished.</param>
    /// <param name="recipients">RSA certificates, at least one.</param>
    /// <param name="cipher">How the content is encrypted.</param>
    /// <param name="cancel">Stops between pieces of content.</param>
    /// <exception cref="CmsException">A recipient's key is not RSA.</exception>
    /// <exception cref="ArgumentException">There is no recipient.</exception>
    /// <exception cref="IOException">The content changed its length while it was read.</exception>
    public static async Task EncryptAsync(Stream content, Stream output, IReadOnlyList<X509Certificate2> recipients, ContentCipher cipher, CancellationToken cancel = default)
    {
        if (recipients.Count == 0)
            throw new ArgumentException("encryption needs a recipient", nameof(recipients));
        byte[] key = RandomNumberGenerator.GetBytes(32);
        // The key is fresh, so this nonce is its only one: random is as good as any (RFC 5084 §3.2 wants 12 octets).
        byte[] nonce = RandomNumberGenerator.GetBytes(cipher == ContentCipher.Aes256Gcm ? 12 : Block);
        try
        {
            long? length = content.CanSeek ? content.Length - content.Position : null;
            byte[] recipientInfos = Recipients.Wrap(recipients, key);
            await output.WriteAsync(Frame(cipher, recipientInfos, nonce, length), cancel);
            long read = cipher == ContentCipher.Aes256Gcm
                ? await EncryptGcmAsync(content, output, key, nonce, length is null, cancel)
                : await EncryptCbcAsync(content, output, key, nonce, length is null, cancel);
            if (length is not null && read != length)
                throw new IOException("the content changed its length while it was encrypted");
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
        }
    }

    /// <summary>Everything before the first octet of encrypted content.</summary>
    private static byte[] Frame(ContentCipher cipher, byte[] recipientInfos, byte[] nonce, long? contentLength)
    {
        bool gcm = cipher == ContentCipher.Aes256Gcm;
        byte[] type = Encode(w => w.WriteObjectIdentifier(gcm ? Oids.AuthEnvelopedData : Oids.EnvelopedData));
        // RFC 5652 §6.1, RFC 5083 §2.1: version 0, all recipients being named by issuer and serial number.
        byte[] version = Encode(w => w.WriteInteger(0));
        byte[] algorithm = [.. Encode(w => w.WriteObjectIdentifier(Oids.Data)), .. Encode(w => WriteAlgorithm(w, gcm, nonce))];
        if (contentLength is not { } length)
        {
            return [.. Der.Open(Der.Sequence), .. type, .. Der.Open(Der.Context0), .. Der.Open(Der.Sequence), .. version, .. recipientInfos,
                .. Der.Open(Der.Sequence), .. algorithm, .. Der.Open(Der.Context0)];
        }
        // RFC 5652 §6.3: padding always adds 1 to 16 octets. GCM's tag stands apart, in mac.
        long encrypted = gcm ? length : ((length / Block) + 1) * Block;
        long encryptedContentInfo = algorithm.Length + Der.SizeOf(encrypted);
        long enveloped = version.Length + recipientInfos.Length + Der.SizeOf(encryptedContentInfo) + (gcm ? Der.SizeOf(AesGcmContext.TagSize) : 0);
        long contentInfo = type.Length + Der.SizeOf(Der.SizeOf(enveloped));
        return [.. Der.Header(Der.Sequence, contentInfo), .. type, .. Der.Header(Der.Context0, Der.SizeOf(enveloped)), .. Der.Header(Der.Sequence, enveloped), .. version, .. recipientInfos,
            .. Der.Header(Der.Sequence, encryptedContentInfo), .. algorithm, .. Der.Header(Der.PrimitiveContext0, encrypted)];
    }

    private static void WriteAlgorithm(AsnWriter writer, bool gcm, byte[] nonce)
    {
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(gcm ? Oids.Aes256Gcm : Oids.Aes256Cbc);
            if (!gcm)
            {
                writer.WriteOctetString(nonce);
                return;
            }
            using (writer.PushSequence())
            {
                writer.WriteOctetString(nonce);
                writer.WriteInteger(AesGcmContext.TagSize);
            }
        }
    }

    private static async Task<long> EncryptGcmAsync(Stream content, Stream output, byte[] key, byte[] nonce, bool chunked, CancellationToken cancel)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferSize);
        try
        {
            using var context = AesGcmContext.ForEncryption(key, nonce);
            long total = 0;
            for (int count; (count = await content.ReadAsync(buffer, cancel)) > 0; total += count)
            {
                context.Update(buffer.AsSpan(0, count), buffer);
                await WritePieceAsync(output, buffer.AsMemory(0, count), chunked, cancel);
            }
            var tag = new byte[AesGcmContext.TagSize];
            context.WriteTag(tag);
            if (chunked)
                await output.WriteAsync(new byte[4], cancel); // closes encryptedContent and encryptedContentInfo
            await output.WriteAsync(Der.Header(Der.OctetString, tag.Length), cancel);
            await output.WriteAsync(tag, cancel);
            if (chunked)
                await output.WriteAsync(new byte[6], cancel); // closes AuthEnvelopedData, [0] and ContentInfo
            return total;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer, clearArray: true);
        }
    }

    private static async Task<long> EncryptCbcAsync(Stream content, Stream output, byte[] key, byte[] iv, bool chunked, CancellationToken cancel)
    {
        byte[] plain = ArrayPool<byte>.Shared.Rent(BufferSize);
        byte[] encrypted = ArrayPool<byte>.Shared.Rent(BufferSize + Block);
        try
        {
            using var aes = Aes.Create();
            using ICryptoTransform transform = aes.CreateEncryptor(key, iv);
            long total = 0;
            while (true)
            {
                int count = await content.ReadAtLeastAsync(plain.AsMemory(0, BufferSize), BufferSize, throwOnEndOfStream: false, cancel);
                total += count;
                if (count < BufferSize)
                {
                    await WritePieceAsync(output, transform.TransformFinalBlock(plain, 0, count), chunked, cancel);
                    break;
                }
                int written = transform.TransformBlock(plain, 0, count, encrypted, 0);
                await WritePieceAsync(output, encrypted.AsMemory(0, written), chunked, cancel);
            }
            if (chunked)
                await output.WriteAsync(new byte[10], cancel); // closes encryptedContent, encryptedContentInfo, EnvelopedData, [0] and ContentInfo
            return total;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(plain, clearArray: true);
            ArrayPool<byte>.Shared.Return(encrypted);
        }
    }

    private static async ValueTask WritePieceAsync(Stream output, ReadOnlyMemory<byte> piece, bool chunked, CancellationToken cancel)
    {
        if (chunked)
            await output.WriteAsync(Der.Header(Der.OctetString, piece.Length), cancel);
        await output.WriteAsync(piece, cancel);
    }

    private static byte[] Encode(Action<AsnWriter> write)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        write(writer);
        return writer.Encode();
    }
}
