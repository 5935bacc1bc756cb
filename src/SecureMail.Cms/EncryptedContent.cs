using System.Security.Cryptography;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// Content that is encrypted once for any number of messages. Each message is a prefix with the RecipientInfos of one
/// destination, then the common ciphertext, then the common suffix. Prefix ‖ ciphertext ‖ suffix is (Auth)EnvelopedData
/// in ContentInfo, DER. This object holds the content-encryption key and nothing of the content; the caller keeps the
/// ciphertext. Dispose it to wipe the key; no recipient can be added afterwards. All members except Dispose may be used
/// by many threads at once.
/// </summary>
/// <remarks>
/// The key and the nonce encrypt one content only, however many prefixes are encoded, because the ciphertext is the
/// same in each message. A recipient can do with the key what a recipient of one message to all could do: read this
/// content, and put other content in its place. The signature inside prevents the latter.
/// </remarks>
public sealed class EncryptedContent : IDisposable
{
    /// <summary>RFC 5652 §6.1: originatorInfo without certificates, with an empty set of certificates, and with empty
    /// sets of certificates and of CRLs. It carries no information and adds 0, 2, 4 or 6 bytes.</summary>
    private static readonly byte[][] EmptyOriginatorInfos =
    [
        [],
        [Der.Context0, 0],
        [Der.Context0, 2, Der.Context0, 0],
        [Der.Context0, 4, Der.Context0, 0, Der.Context1, 0],
    ];

    private readonly byte[] _wrappedKey;
    private readonly byte[] _algorithm;
    private readonly bool _authenticated;
    private readonly byte[] _suffix;
    private bool _disposed;

    private EncryptedContent(
        byte[] wrappedKey, byte[] algorithm, bool authenticated, byte[] suffix, long ciphertextLength)
    {
        _wrappedKey = wrappedKey;
        _algorithm = algorithm;
        _authenticated = authenticated;
        _suffix = suffix;
        CiphertextLength = ciphertextLength;
    }

    /// <summary>Bytes of the ciphertext.</summary>
    public long CiphertextLength { get; }

    /// <summary>What follows the ciphertext: the tag (GCM), or nothing (CBC).</summary>
    public ReadOnlyMemory<byte> Suffix => _suffix;

    /// <summary>Encrypts content under a new key.</summary>
    /// <param name="content">Read to its end.</param>
    /// <param name="ciphertext">The ciphertext without any encoding is written here while the content is read.</param>
    /// <param name="cipher">How the content is encrypted.</param>
    /// <param name="cancellationToken">Stops between pieces.</param>
    public static async Task<EncryptedContent> EncryptAsync(
        Stream content, Stream ciphertext, CipherChoice cipher, CancellationToken cancellationToken = default)
    {
        using var key = new ContentEncryptionKey(cipher);
        (var length, var tag) = await ContentEncryption.EncryptAsync(
            content, (piece, token) => ciphertext.WriteAsync(piece, token), cipher, key, cancellationToken);
        return new EncryptedContent(
            [.. key.Wrapped], key.Algorithm, cipher.IsAuthenticated, EnvelopeEncoder.EncodeMac(tag), length);
    }

    /// <summary>Encodes everything before the ciphertext for these recipients.</summary>
    /// <param name="recipients">The recipients of one destination.</param>
    /// <param name="alignToBase64">
    /// Makes the length a multiple of three, so that the base64 of the prefix ends where the prefix ends, and the
    /// base64 of ciphertext and suffix is the same text after every prefix.
    /// </param>
    /// <exception cref="ArgumentException">There is no recipient.</exception>
    /// <exception cref="CmsException">A recipient's key cannot be encrypted to.</exception>
    public byte[] EncodePrefix(IReadOnlyList<EnvelopeRecipient> recipients, bool alignToBase64 = false)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (recipients.Count == 0)
        {
            throw new ArgumentException("encryption needs a recipient", nameof(recipients));
        }

        return alignToBase64
            ? EncodeAlignedPrefix(recipients)
            : EnvelopeEncoder.EncodePrefix(_authenticated, recipients, _wrappedKey, _algorithm, CiphertextLength);
    }

    /// <summary>Wipes the key.</summary>
    public void Dispose()
    {
        CryptographicOperations.ZeroMemory(_wrappedKey);
        _disposed = true;
    }

    private byte[] EncodeAlignedPrefix(IReadOnlyList<EnvelopeRecipient> recipients)
    {
        var isVersion0 = recipients.All(r => r.IsVersion0);
        while (true)
        {
            var recipientInfos = RecipientInfos.Wrap(recipients, _wrappedKey);
            foreach (var originatorInfo in EmptyOriginatorInfos)
            {
                var prefix = EnvelopeEncoder.EncodePrefix(
                    _authenticated, isVersion0, originatorInfo, recipientInfos, _algorithm, CiphertextLength);
                if (prefix.Length % 3 == 0)
                {
                    return prefix;
                }
            }
            // 0, 2 and 4 more bytes reach a multiple of three, unless they make a length octet more necessary, near
            // 128, 256, 65,536 and so on. Repeat one recipient then, which moves the length away from that point. A
            // reader takes the first of the two.
            recipients = [.. recipients, recipients[0]];
        }
    }
}
