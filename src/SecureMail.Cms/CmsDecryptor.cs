using System.Formats.Asn1;
using System.Security.Cryptography;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>The content of a decrypted message. Dispose it, because the content may be in a temporary file (encrypted,
/// see <see cref="SecretSpool"/>).</summary>
public sealed class DecryptedContent : IDisposable
{
    private readonly SecretSpool _content;

    internal DecryptedContent(SecretSpool content, string contentType, ContentAlgorithm algorithm)
    {
        _content = content;
        ContentType = contentType;
        Algorithm = algorithm.Name;
        Authenticated = algorithm.IsGcm;
        HasWeakCipher = algorithm.IsWeak;
    }

    /// <summary>Bytes of the content.</summary>
    public long Length => _content.Length;

    /// <summary>Object identifier of the content type; id-data is 1.2.840.113549.1.7.1.</summary>
    public string ContentType { get; }

    /// <summary>The cipher of the content, for example <c>AES-256-GCM</c>.</summary>
    public string Algorithm { get; }

    /// <summary>
    /// True: the content is exactly what was encrypted (GCM). False: the content may have been changed on its way
    /// (CBC), or may be the random bytes that a wrong key gives; only a signature inside can tell. Unauthenticated
    /// content must not be shown, and nothing that it refers to be fetched, without a valid signature inside. No reply
    /// may depend on it; wrong padding is not an error here for the same reason.
    /// </summary>
    public bool Authenticated { get; }

    /// <summary>The cipher should no longer be used (triple DES).</summary>
    public bool HasWeakCipher { get; }

    /// <summary>Whether something stands before or after the CMS object, as in
    /// <see cref="CmsSignedData.HasExtraOctets"/>.</summary>
    public bool HasExtraOctets { get; internal set; }

    /// <summary>The content from its beginning; seekable; valid until this object is disposed.</summary>
    public Stream OpenContent() => _content.OpenRead();

    /// <summary>Wipes the content.</summary>
    public void Dispose() => _content.Dispose();
}

/// <summary>
/// Decrypts EnvelopedData (RFC 5652 §6; AES-CBC, and triple DES of old messages) and AuthEnvelopedData (RFC 5083,
/// AES-GCM) from DER, BER or PEM in one pass; the key may be derived for the cipher (RFC 9709). No content is released
/// before its tag has been verified. Every failure after the recipient was found is the same error
/// <see cref="CmsError.DecryptionFailed"/>, and none depends on the cleartext.
/// Left out: recipients by shared key and password; RC2, DES, AES-CCM.
/// </summary>
public static class CmsDecryptor
{
    private const int BufferSize = 64 * 1024;

    /// <summary>Decrypts with the first of the keys that the message names. The caller keeps and disposes the
    /// stream.</summary>
    /// <exception cref="CmsException">The input is not encrypted CMS, damaged, for other recipients, or not authentic;
    /// see <see cref="CmsException.Error"/>.</exception>
    public static async Task<DecryptedContent> DecryptAsync(
        Stream cms, IReadOnlyList<RecipientKey> keys, CmsLimits? limits = null,
        CancellationToken cancellationToken = default)
    {
        limits ??= CmsLimits.Default;
        Stream ber = await CmsFormat.DecodePemAsync(cms, cancellationToken);
        using var reader = new BerReader(ber, limits);
        CmsKind kind = await CmsFormat.ReadContentInfoAsync(reader, cancellationToken);
        if (kind is not (CmsKind.EnvelopedData or CmsKind.AuthEnvelopedData))
        {
            throw new CmsException(CmsError.WrongKind, "this CMS object is not encrypted");
        }

        try
        {
            DecryptedContent content = await ReadAsync(
                reader, kind == CmsKind.AuthEnvelopedData, keys, limits, cancellationToken);
            content.HasExtraOctets |= ber is PemDecodingStream { HasTextAround: true };
            return content;
        }
        catch (AsnContentException e)
        {
            throw CmsException.Malformed("encrypted data", e);
        }
    }

    private static async Task<DecryptedContent> ReadAsync(
        BerReader reader, bool authenticated, IReadOnlyList<RecipientKey> keys, CmsLimits limits,
        CancellationToken cancellationToken)
    {
        await reader.EnterAsync(Der.Context0, cancellationToken);
        await reader.EnterAsync(Der.Sequence, cancellationToken);
        await reader.ReadElementAsync(Der.Integer, cancellationToken); // version: it follows from the other fields
        if (await reader.PeekTagAsync(cancellationToken) == Der.Context0)
        {
            await reader.ReadElementAsync(cancellationToken); // originatorInfo: certificates for static key agreement
        }

        var recipientInfos = await reader.ReadElementAsync(cancellationToken);

        await reader.EnterAsync(Der.Sequence, cancellationToken);
        var contentType = Oids.Read(
            new AsnReader(await reader.ReadElementAsync(cancellationToken), AsnEncodingRules.BER));
        var algorithm = ContentAlgorithm.Read(await reader.ReadElementAsync(cancellationToken));
        // Refuse a mismatch, because it would turn authenticated content into unauthenticated or the reverse.
        if (algorithm.IsGcm != authenticated)
        {
            throw CmsException.Malformed("a cipher that does not belong in this kind of envelope");
        }

        if (await reader.PeekTagAsync(cancellationToken) == BerReader.End)
        {
            throw new CmsException(CmsError.UnsupportedAlgorithm, "the encrypted content is not included");
        }

        var wrapped = RecipientInfos.Unwrap(recipientInfos, keys, algorithm.KeySize, limits);
        var key = algorithm.DeriveContentKey(wrapped);
        CryptographicOperations.ZeroMemory(wrapped);
        var spool = new SecretSpool();
        try
        {
            await reader.BeginOctetStringAsync(Der.PrimitiveContext0, cancellationToken);
            if (authenticated)
            {
                var hasAttributes = await ReadGcmAsync(reader, key, algorithm, spool, limits, cancellationToken);
                // RFC 5083 §2.1: the attributes authenticate a type other than id-data.
                if (!hasAttributes && contentType != Oids.Data)
                {
                    throw CmsException.Malformed("a content type that is not authenticated");
                }
            }
            else
            {
                await ReadCbcAsync(reader, key, algorithm, spool, limits, cancellationToken);
            }

            await reader.LeaveAsync(cancellationToken);
            await reader.LeaveAsync(cancellationToken);
            await reader.LeaveAsync(cancellationToken);
            var hasExtraOctets = await reader.ReadRestAsync(cancellationToken);
            return new DecryptedContent(spool, contentType, algorithm) { HasExtraOctets = hasExtraOctets };
        }
        catch
        {
            spool.Dispose();
            throw;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
        }
    }

    /// <summary>Reads the content, [1] authAttrs, mac, [2] unauthAttrs (RFC 5083 §2.1). The reader is then at the end
    /// of AuthEnvelopedData. Returns whether there are authAttrs.</summary>
    private static async Task<bool> ReadGcmAsync(
        BerReader reader, byte[] key, ContentAlgorithm algorithm, SecretSpool spool, CmsLimits limits,
        CancellationToken cancellationToken)
    {
        using var context = AesGcmContext.ForDecryption(key, algorithm.Nonce);
        for (ReadOnlyMemory<byte> piece; !(piece = await reader.ReadPieceAsync(cancellationToken)).IsEmpty;)
        {
            CheckLength(spool.Length + piece.Length, Math.Min(limits.MaxContent, AesGcmContext.MaxContentLength));
            while (!piece.IsEmpty)
            {
                Span<byte> free = spool.GetSpan(piece.Length);
                context.Update(piece.Span[..free.Length], free);
                spool.Advance(free.Length);
                piece = piece[free.Length..];
            }
        }
        await reader.LeaveAsync(cancellationToken);

        var attributes =
            await reader.PeekTagAsync(cancellationToken) == Der.Context1
                ? await reader.ReadElementAsync(cancellationToken)
                : null;
        var tag = AsnDecoder.ReadOctetString(
            await reader.ReadElementAsync(cancellationToken), AsnEncodingRules.BER, out _);
        if (await reader.PeekTagAsync(cancellationToken) == Der.Context2)
        {
            await reader.ReadElementAsync(cancellationToken); // unauthAttrs: not authenticated
        }
        // RFC 5084 §3.2: mac has exactly the length in the parameters; a shorter tag would be easier to guess.
        var authentic =
            tag.Length == algorithm.TagSize
            && (
                attributes is null
                    ? context.VerifyTag(tag)
                    : VerifyWithAttributes(spool, key, algorithm, attributes, tag));
        if (!authentic)
        {
            throw Failed();
        }

        return attributes is not null;
    }

    /// <summary>
    /// Verifies the tag over attributes and content by encrypting the content again, because the attributes follow the
    /// content but are authenticated before it. The same key, nonce and plaintext give the same ciphertext, and with
    /// the attributes the expected tag.
    /// </summary>
    private static bool VerifyWithAttributes(
        SecretSpool spool, byte[] key, ContentAlgorithm algorithm, byte[] attributes, byte[] tag)
    {
        using var context = AesGcmContext.ForEncryption(key, algorithm.Nonce);
        // RFC 5083 §2.2: the authenticated data is the DER encoding with the tag of SET OF in place of [1].
        attributes[0] = Der.Set;
        context.AddAad(attributes);
        var buffer = new byte[BufferSize];
        using Stream content = spool.OpenRead();
        for (int count; (count = content.Read(buffer, 0, buffer.Length)) > 0;)
        {
            context.Update(buffer.AsSpan(0, count), buffer);
        }

        var expected = new byte[AesGcmContext.TagSize];
        context.WriteTag(expected);
        return CryptographicOperations.FixedTimeEquals(expected.AsSpan(0, tag.Length), tag);
    }

    /// <summary>
    /// Reads the content, then [1] unprotectedAttrs (RFC 5652 §6.1). The reader is then at the end of EnvelopedData.
    /// Wrong padding stays in the content and is not an error, because an error would tell an attacker who sends
    /// changed ciphertexts the cleartext byte by byte.
    /// </summary>
    private static async Task ReadCbcAsync(
        BerReader reader, byte[] key, ContentAlgorithm algorithm, SecretSpool spool, CmsLimits limits,
        CancellationToken cancellationToken)
    {
        using ICryptoTransform transform = CreateDecryptor(algorithm, key);
        var encrypted = new byte[BufferSize];
        var plain = new byte[BufferSize];
        var buffered = 0;
        try
        {
            for (ReadOnlyMemory<byte> piece; !(piece = await reader.ReadPieceAsync(cancellationToken)).IsEmpty;)
            {
                CheckLength(spool.Length + buffered + piece.Length, limits.MaxContent);
                while (!piece.IsEmpty)
                {
                    // Decrypt the buffer only when more follows, because the last block has the padding.
                    if (buffered == BufferSize)
                    {
                        spool.Write(plain.AsSpan(0, transform.TransformBlock(encrypted, 0, buffered, plain, 0)));
                        buffered = 0;
                    }
                    var count = Math.Min(piece.Length, BufferSize - buffered);
                    piece[..count].CopyTo(encrypted.AsMemory(buffered));
                    piece = piece[count..];
                    buffered += count;
                }
            }
            // RFC 5652 §6.3: there is always padding, so there is at least one block.
            var block = algorithm.Nonce.Length;
            if (buffered == 0 || buffered % block != 0)
            {
                throw Failed();
            }

            transform.TransformBlock(encrypted, 0, buffered, plain, 0);
            spool.Write(plain.AsSpan(0, buffered - PaddingLength(plain.AsSpan(buffered - block, block))));
        }
        finally
        {
            CryptographicOperations.ZeroMemory(plain);
        }
        await reader.LeaveAsync(cancellationToken);
        if (await reader.PeekTagAsync(cancellationToken) == Der.Context1)
        {
            await reader.ReadElementAsync(cancellationToken);
        }
    }

    private static ICryptoTransform CreateDecryptor(ContentAlgorithm algorithm, byte[] key)
    {
        using SymmetricAlgorithm cipher = algorithm.CreateBlockCipher();
        cipher.Padding = PaddingMode.None;
        try
        {
            return cipher.CreateDecryptor(key, algorithm.Nonce);
        }
        catch (CryptographicException)
        {
            throw Failed(); // the platform refuses weak keys of triple DES
        }
    }

    /// <summary>Bytes of padding at the end of the last block; 0 when the padding is wrong. Takes the same time for all
    /// values.</summary>
    private static int PaddingLength(ReadOnlySpan<byte> last)
    {
        int length = last[^1];
        var wrong = (length - 1) >> 31 | (last.Length - length) >> 31;
        for (var i = 1; i <= last.Length; i++)
        {
            var inPadding = ~((length - i) >> 31);
            wrong |= inPadding & (last[^i] ^ length);
        }
        // All ones when the padding is right.
        var right = ~((wrong | -wrong) >> 31);
        return length & right;
    }

    private static void CheckLength(long length, long limit)
    {
        if (length > limit)
        {
            throw new CmsException(CmsError.LimitExceeded, "the encrypted content is too large");
        }
    }

    private static CmsException Failed() =>
        new(
            CmsError.DecryptionFailed,
            "this could not be decrypted: it was changed on its way or encrypted to another key");
}
