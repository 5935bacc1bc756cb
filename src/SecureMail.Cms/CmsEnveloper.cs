using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// Encrypts content to recipients, in one pass: a fresh key for each message, wrapped for each of them. Whether a
/// certificate is the right one, valid and meant for encryption is for the caller to know. The same content to many
/// destinations is <see cref="SealedContent"/>.
/// </summary>
public static class CmsEnveloper
{
    /// <inheritdoc cref="EncryptAsync(Stream, Stream, IReadOnlyList{EnvelopeRecipient}, CipherChoice, CancellationToken)"/>
    public static Task EncryptAsync(
        Stream content,
        Stream output,
        IReadOnlyList<X509Certificate2> recipients,
        CipherChoice cipher,
        CancellationToken cancellationToken = default
    ) => EncryptAsync(content, output, [.. recipients.Select(EnvelopeRecipient.Of)], cipher, cancellationToken);

    /// <summary>
    /// Writes EnvelopedData or AuthEnvelopedData in ContentInfo: DER when the content's length is known beforehand (a
    /// seekable stream), else BER with indefinite lengths.
    /// </summary>
    /// <param name="content">Read to its end.</param>
    /// <param name="output">Written as the content is read; on an exception it holds something unfinished.</param>
    /// <param name="recipients">At least one.</param>
    /// <param name="cipher">How the content is encrypted.</param>
    /// <param name="cancellationToken">Stops between pieces of content.</param>
    /// <exception cref="CmsException">A recipient's key cannot be encrypted to.</exception>
    /// <exception cref="ArgumentException">There is no recipient.</exception>
    /// <exception cref="IOException">The content changed its length while it was read.</exception>
    public static async Task EncryptAsync(
        Stream content, Stream output, IReadOnlyList<EnvelopeRecipient> recipients, CipherChoice cipher,
        CancellationToken cancellationToken = default)
    {
        using var key = new SealedContent.FreshKey(cipher);
        long? length = content.CanSeek
            ? SealedContent.CiphertextLengthOf(cipher, content.Length - content.Position)
            : null;
        await output.WriteAsync(
            SealedContent.Head(cipher.IsAuthenticated, recipients, key.Wrapped, key.Algorithm, length),
            cancellationToken);
        (var written, var tag) = await SealedContent.EncryptAsync(content, WriteAsync, cipher, key, cancellationToken);
        if (length is not null && written != length)
        {
            throw new IOException("the content changed its length while it was encrypted");
        }

        if (length is null)
        {
            await output.WriteAsync(new byte[4], cancellationToken); // closes encryptedContent and encryptedContentInfo
        }

        await output.WriteAsync(SealedContent.Tag(tag), cancellationToken);
        if (length is null)
        {
            await output.WriteAsync(new byte[6], cancellationToken); // closes (Auth)EnvelopedData, [0] and ContentInfo
        }

        async ValueTask WriteAsync(ReadOnlyMemory<byte> piece, CancellationToken token)
        {
            if (length is null)
            {
                await output.WriteAsync(Der.Header(Der.OctetString, piece.Length), token);
            }

            await output.WriteAsync(piece, token);
        }
    }
}
