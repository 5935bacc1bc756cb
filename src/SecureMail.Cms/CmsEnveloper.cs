using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// Encrypts content to recipients in one pass, under a new key for each message, which is wrapped for each recipient.
/// The caller checks whether a certificate is the right one, valid, and meant for encryption. For the same content to
/// many destinations see <see cref="EncryptedContent"/>.
/// </summary>
public static class CmsEnveloper
{
    /// <summary>Encrypts to the recipients of these certificates, as the other overload does.</summary>
    /// <exception cref="CmsException">A recipient's key cannot be encrypted to.</exception>
    /// <exception cref="ArgumentException">There is no recipient.</exception>
    /// <exception cref="IOException">The length of the content changed while it was read.</exception>
    public static Task EncryptAsync(
        Stream content,
        Stream output,
        IReadOnlyList<X509Certificate2> recipients,
        CipherChoice cipher,
        CancellationToken cancellationToken = default
    ) => EncryptAsync(content, output, [.. recipients.Select(EnvelopeRecipient.Of)], cipher, cancellationToken);

    /// <summary>
    /// Writes EnvelopedData or AuthEnvelopedData in ContentInfo: DER when the stream of the content is seekable,
    /// because its length is then known beforehand; otherwise BER with indefinite lengths.
    /// </summary>
    /// <param name="content">Read to its end.</param>
    /// <param name="output">Written while the content is read; incomplete after an exception.</param>
    /// <param name="recipients">At least one.</param>
    /// <param name="cipher">How the content is encrypted.</param>
    /// <param name="cancellationToken">Stops between pieces of content.</param>
    /// <exception cref="CmsException">A recipient's key cannot be encrypted to.</exception>
    /// <exception cref="ArgumentException">There is no recipient.</exception>
    /// <exception cref="IOException">The length of the content changed while it was read.</exception>
    public static async Task EncryptAsync(
        Stream content, Stream output, IReadOnlyList<EnvelopeRecipient> recipients, CipherChoice cipher,
        CancellationToken cancellationToken = default)
    {
        using var key = new ContentEncryptionKey(cipher);
        long? length = content.CanSeek
            ? ContentEncryption.CiphertextLengthOf(cipher, content.Length - content.Position)
            : null;
        await output.WriteAsync(
            EnvelopeEncoder.EncodePrefix(cipher.IsAuthenticated, recipients, key.Wrapped, key.Algorithm, length),
            cancellationToken);
        (var written, var tag) = await ContentEncryption.EncryptAsync(
            content, WriteAsync, cipher, key, cancellationToken);
        if (length is not null && written != length)
        {
            throw new IOException("the length of the content changed while it was encrypted");
        }

        if (length is null)
        {
            await output.WriteAsync(new byte[4], cancellationToken); // ends encryptedContent and encryptedContentInfo
        }

        await output.WriteAsync(EnvelopeEncoder.EncodeMac(tag), cancellationToken);
        if (length is null)
        {
            await output.WriteAsync(new byte[6], cancellationToken); // ends (Auth)EnvelopedData, [0] and ContentInfo
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
