using System.Buffers;
using System.Formats.Asn1;
using System.Security.Cryptography;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>
/// Content encrypted once, for any number of messages: each is a head of its own, with that destination's recipients
/// and nobody else's, then the one ciphertext, then the one tail. Head ‖ ciphertext ‖ tail is (Auth)EnvelopedData in
/// ContentInfo, DER. The object holds the content's key and nothing of the content; the ciphertext lies where the
/// caller put it. Dispose it: that wipes the key, and from then on nobody can be added. All members may be used by many
/// threads at once, but for Dispose.
/// </summary>
/// <remarks>
/// One key and one nonce serve one content here, however many heads are written: the ciphertext is the same octets in
/// each, so nothing is encrypted twice under them. What a recipient can do with the key is what any recipient of one
/// message to all could: read this content, and make another in its place; the signature inside is what stops that.
/// </remarks>
public sealed class SealedContent : IDisposable
{
    private const int BufferSize = 64 * 1024;
    private const int Block = 16;

    /// <summary>RFC 5652 §6.1: originatorInfo without certificates, with an empty set of them, with empty sets of them
    /// and of CRLs: it says nothing and fills 0, 2, 4 or 6 octets.</summary>
    private static readonly byte[][] Fillings =
    [
        [],
        [Der.Context0, 0],
        [Der.Context0, 2, Der.Context0, 0],
        [Der.Context0, 4, Der.Context0, 0, Der.Context1, 0],
    ];

    private readonly byte[] _wrappedKey;
    private readonly byte[] _algorithm;
    private readonly bool _authenticated;
    private readonly byte[] _tail;
    private bool _disposed;

    private SealedContent(byte[] wrappedKey, byte[] algorithm, bool authenticated, byte[] tail, long ciphertextLength)
    {
        _wrappedKey = wrappedKey;
        _algorithm = algorithm;
        _authenticated = authenticated;
        _tail = tail;
        CiphertextLength = ciphertextLength;
    }

    /// <summary>Octets of the ciphertext.</summary>
    public long CiphertextLength { get; }

    /// <summary>What stands behind the ciphertext: the tag (GCM), or nothing (CBC).</summary>
    public ReadOnlyMemory<byte> Tail => _tail;

    /// <summary>Encrypts content under a fresh key.</summary>
    /// <param name="content">Read to its end.</param>
    /// <param name="ciphertext">The bare ciphertext is written here as the content is read.</param>
    /// <param name="cipher">How.</param>
    /// <param name="cancellationToken">Stops between pieces.</param>
    public static async Task<SealedContent> SealAsync(
        Stream content, Stream ciphertext, CipherChoice cipher, CancellationToken cancellationToken = default)
    {
        using var key = new FreshKey(cipher);
        (var length, var tag) = await EncryptAsync(
            content, (piece, token) => ciphertext.WriteAsync(piece, token), cipher, key, cancellationToken);
        return new SealedContent([.. key.Wrapped], key.Algorithm, cipher.IsAuthenticated, Tag(tag), length);
    }

    /// <summary>Everything before the ciphertext, for these recipients.</summary>
    /// <param name="recipients">Those of one destination.</param>
    /// <param name="inTriples">
    /// Makes the length a multiple of three, so that the base64 of the head ends where the head does and that of
    /// ciphertext and tail is the same text behind any head.
    /// </param>
    /// <exception cref="ArgumentException">There is no recipient.</exception>
    public byte[] WriteHead(IReadOnlyList<EnvelopeRecipient> recipients, bool inTriples = false)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (recipients.Count == 0)
        {
            throw new ArgumentException("encryption needs a recipient", nameof(recipients));
        }

        return inTriples
            ? HeadInTriples(recipients)
            : Head(_authenticated, recipients, _wrappedKey, _algorithm, CiphertextLength);
    }

    private byte[] HeadInTriples(IReadOnlyList<EnvelopeRecipient> recipients)
    {
        var isPlain = recipients.All(r => r.IsPlain);
        while (true)
        {
            var recipientInfos = Recipients.Wrap(recipients, _wrappedKey);
            foreach (var filling in Fillings)
            {
                var head = Frame(_authenticated, isPlain, filling, recipientInfos, _algorithm, CiphertextLength);
                if (head.Length % 3 == 0)
                {
                    return head;
                }
            }
            // 0, 2 and 4 octets are all there is between threes, unless a length octet more comes in between, as
            // happens close to 128, 256, 65,536...: one recipient named twice leads away from there, and is read as
            // once.
            recipients = [.. recipients, recipients[0]];
        }
    }

    /// <summary>Wipes the key.</summary>
    public void Dispose()
    {
        CryptographicOperations.ZeroMemory(_wrappedKey);
        _disposed = true;
    }

    /// <summary>The key of one content, as it is wrapped and as it encrypts, and its nonce.</summary>
    internal sealed class FreshKey : IDisposable
    {
        public FreshKey(CipherChoice cipher)
        {
            Wrapped = RandomNumberGenerator.GetBytes(cipher.KeySize);
            // The key is fresh, so this nonce is its only one: random is as good as any (RFC 5084 §3.2 wants 12
            // octets).
            Nonce = RandomNumberGenerator.GetBytes(cipher.IsAuthenticated ? 12 : Block);
            Algorithm = cipher.Algorithm(Nonce);
            Key = ContentAlgorithm.Read(Algorithm).ContentKey(Wrapped);
        }

        public byte[] Wrapped { get; }

        public byte[] Key { get; }

        public byte[] Nonce { get; }

        public byte[] Algorithm { get; }

        public void Dispose()
        {
            CryptographicOperations.ZeroMemory(Wrapped);
            CryptographicOperations.ZeroMemory(Key);
        }
    }

    /// <summary>Everything before the first octet of ciphertext; with indefinite lengths when its length is not
    /// known.</summary>
    internal static byte[] Head(
        bool authenticated, IReadOnlyList<EnvelopeRecipient> recipients, ReadOnlySpan<byte> wrappedKey,
        byte[] algorithm, long? ciphertextLength)
    {
        if (recipients.Count == 0)
        {
            throw new ArgumentException("encryption needs a recipient", nameof(recipients));
        }

        return Frame(
            authenticated, recipients.All(r => r.IsPlain), [], Recipients.Wrap(recipients, wrappedKey), algorithm,
            ciphertextLength);
    }

    private static byte[] Frame(
        bool authenticated, bool isPlain, byte[] originatorInfo, byte[] recipientInfos, byte[] algorithm,
        long? ciphertextLength)
    {
        var type = Encode(w => w.WriteObjectIdentifier(authenticated ? Oids.AuthEnvelopedData : Oids.EnvelopedData));
        // RFC 5083 §2.1: always 0. RFC 5652 §6.1: 0 without originatorInfo, every recipient by key transport and issuer
        // and serial number; else 2.
        var version = Encode(w => w.WriteInteger(authenticated || (isPlain && originatorInfo.Length == 0) ? 0 : 2));
        byte[] typeAndAlgorithm = [.. Encode(w => w.WriteObjectIdentifier(Oids.Data)), .. algorithm];
        if (ciphertextLength is not { } encrypted)
        {
            return
            [
                .. Der.Open(Der.Sequence),
                .. type,
                .. Der.Open(Der.Context0),
                .. Der.Open(Der.Sequence),
                .. version,
                .. originatorInfo,
                .. recipientInfos,
                .. Der.Open(Der.Sequence),
                .. typeAndAlgorithm,
                .. Der.Open(Der.Context0),
            ];
        }
        var encryptedContentInfo = typeAndAlgorithm.Length + Der.SizeOf(encrypted);
        var enveloped =
            version.Length
            + originatorInfo.Length
            + recipientInfos.Length
            + Der.SizeOf(encryptedContentInfo)
            + (authenticated ? Der.SizeOf(AesGcmContext.TagSize) : 0);
        var contentInfo = type.Length + Der.SizeOf(Der.SizeOf(enveloped));
        return
        [
            .. Der.Header(Der.Sequence, contentInfo),
            .. type,
            .. Der.Header(Der.Context0, Der.SizeOf(enveloped)),
            .. Der.Header(Der.Sequence, enveloped),
            .. version,
            .. originatorInfo,
            .. recipientInfos,
            .. Der.Header(Der.Sequence, encryptedContentInfo),
            .. typeAndAlgorithm,
            .. Der.Header(Der.PrimitiveContext0, encrypted),
        ];
    }

    /// <summary>RFC 5652 §6.3: padding always adds 1 to 16 octets. GCM's tag stands apart, in mac.</summary>
    internal static long CiphertextLengthOf(CipherChoice cipher, long contentLength) =>
        cipher.IsAuthenticated ? contentLength : ((contentLength / Block) + 1) * Block;

    /// <summary>mac (RFC 5083 §2.1), DER; empty without a tag.</summary>
    internal static byte[] Tag(byte[] tag) =>
        tag.Length == 0 ? [] : [.. Der.Header(Der.OctetString, tag.Length), .. tag];

    /// <summary>Hands the ciphertext over piece by piece; the tag is empty for CBC.</summary>
    internal static Task<(long Length, byte[] Tag)> EncryptAsync(
        Stream content, Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> write, CipherChoice cipher,
        FreshKey key, CancellationToken cancellationToken) =>
        cipher.IsAuthenticated
            ? EncryptGcmAsync(content, write, key, cancellationToken)
            : EncryptCbcAsync(content, write, key, cancellationToken);

    private static async Task<(long Length, byte[] Tag)> EncryptGcmAsync(
        Stream content, Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> write, FreshKey key,
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
        Stream content, Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> write, FreshKey key,
        CancellationToken cancellationToken)
    {
        var plain = ArrayPool<byte>.Shared.Rent(BufferSize);
        var encrypted = ArrayPool<byte>.Shared.Rent(BufferSize + Block);
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

    private static byte[] Encode(Action<AsnWriter> write)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        write(writer);
        return writer.Encode();
    }
}
