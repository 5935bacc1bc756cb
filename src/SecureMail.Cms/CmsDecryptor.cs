using System.Formats.Asn1;
using System.Security.Cryptography;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>What was encrypted, opened. Dispose it: the content may lie in a temporary file (sealed, see
/// <see cref="SecretSpool"/>).</summary>
public sealed class CmsOpened : IDisposable
{
    private readonly SecretSpool _content;

    internal CmsOpened(SecretSpool content, string contentType, ContentAlgorithm algorithm)
    {
        _content = content;
        ContentType = contentType;
        Algorithm = algorithm.Name;
        Authenticated = algorithm.IsGcm;
        HasWeakCipher = algorithm.IsWeak;
    }

    /// <summary>Octets of the content.</summary>
    public long Length => _content.Length;

    /// <summary>Object identifier of the content's type; id-data is 1.2.840.113549.1.7.1.</summary>
    public string ContentType { get; }

    /// <summary>The content's cipher, for example <c>AES-256-GCM</c>.</summary>
    public string Algorithm { get; }

    /// <summary>
    /// True: the whole content is as it was encrypted (GCM). False: it may have been changed on its way (CBC), it may
    /// be the noise that a wrong key makes, and only a signature inside can say. It must not be shown, nor fetched
    /// from, on the strength of the decryption alone, and what is answered must not depend on it: padding that is wrong
    /// is no error here, for the same reason.
    /// </summary>
    public bool Authenticated { get; }

    /// <summary>The cipher is one that nobody should use any more (triple DES).</summary>
    public bool HasWeakCipher { get; }

    /// <summary>The content, from its beginning; seekable; good until this object is disposed.</summary>
    public Stream OpenContent() => _content.OpenRead();

    /// <summary>Wipes the content.</summary>
    public void Dispose() => _content.Dispose();
}

/// <summary>
/// Opens EnvelopedData (RFC 5652 §6; AES-CBC, and triple DES of old) and AuthEnvelopedData (RFC 5083, AES-GCM) from
/// DER, BER or PEM, in one pass; the key may be derived for the cipher (RFC 9709). Nothing of the content comes out
/// before its tag has been verified. Every failure after the recipient was found is the one error
/// <see cref="CmsError.DecryptionFailed"/>, and none depends on the cleartext. Left out: recipients by shared key and
/// password; RC2, DES, AES-CCM.
/// </summary>
public static class CmsDecryptor
{
    private const int BufferSize = 64 * 1024;

    /// <summary>Decrypts for the first of our keys that the message names. The stream stays the caller's.</summary>
    /// <exception cref="CmsException">Not encrypted CMS, damaged, not for us, or not authentic; see
    /// <see cref="CmsException.Error"/>.</exception>
    public static async Task<CmsOpened> DecryptAsync(
        Stream cms, IReadOnlyList<RecipientKey> keys, CmsLimits? limits = null,
        CancellationToken cancellationToken = default)
    {
        limits ??= CmsLimits.Default;
        using var reader = new BerReader(await CmsFormat.UnarmourAsync(cms, cancellationToken), limits);
        CmsKind kind = await CmsFormat.ReadContentInfoAsync(reader, cancellationToken);
        if (kind is not (CmsKind.EnvelopedData or CmsKind.AuthEnvelopedData))
        {
            throw new CmsException(CmsError.WrongKind, "this CMS object is not encrypted");
        }

        try
        {
            return await ReadAsync(reader, kind == CmsKind.AuthEnvelopedData, keys, limits, cancellationToken);
        }
        catch (AsnContentException e)
        {
            throw CmsException.Malformed("encrypted data", e);
        }
    }

    private static async Task<CmsOpened> ReadAsync(
        BerReader reader, bool authenticated, IReadOnlyList<RecipientKey> keys, CmsLimits limits,
        CancellationToken cancellationToken)
    {
        await reader.EnterAsync(Der.Context0, cancellationToken);
        await reader.EnterAsync(Der.Sequence, cancellationToken);
        await reader.ReadElementAsync(cancellationToken); // version: derived from the rest
        if (await reader.PeekTagAsync(cancellationToken) == Der.Context0)
        {
            await reader.ReadElementAsync(cancellationToken); // originatorInfo: certificates for key agreement
        }

        var recipientInfos = await reader.ReadElementAsync(cancellationToken);

        await reader.EnterAsync(Der.Sequence, cancellationToken);
        var contentType = AsnDecoder.ReadObjectIdentifier(
            await reader.ReadElementAsync(cancellationToken), AsnEncodingRules.BER, out _);
        var algorithm = ContentAlgorithm.Read(await reader.ReadElementAsync(cancellationToken));
        // Either mistake would turn authenticated content into unauthenticated, or the other way round.
        if (algorithm.IsGcm != authenticated)
        {
            throw CmsException.Malformed("a cipher that does not belong into this kind of envelope");
        }

        if (await reader.PeekTagAsync(cancellationToken) == BerReader.End)
        {
            throw new CmsException(CmsError.UnsupportedAlgorithm, "the encrypted content is not inside");
        }

        var wrapped = Recipients.Unwrap(recipientInfos, keys, algorithm.KeySize, limits);
        var key = algorithm.ContentKey(wrapped);
        CryptographicOperations.ZeroMemory(wrapped);
        var spool = new SecretSpool();
        try
        {
            await reader.BeginOctetsAsync(Der.PrimitiveContext0, cancellationToken);
            if (authenticated)
            {
                await ReadGcmAsync(reader, key, algorithm, spool, limits, cancellationToken);
            }
            else
            {
                await ReadCbcAsync(reader, key, algorithm, spool, limits, cancellationToken);
            }

            await reader.LeaveAsync(cancellationToken);
            await reader.LeaveAsync(cancellationToken);
            await reader.LeaveAsync(cancellationToken);
            await reader.ExpectEndOfInputAsync(cancellationToken);
            return new CmsOpened(spool, contentType, algorithm);
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

    /// <summary>Content, [1] authAttrs, mac, [2] unauthAttrs (RFC 5083 §2.1); leaves the reader at the end of
    /// AuthEnvelopedData.</summary>
    private static async Task ReadGcmAsync(
        BerReader reader, byte[] key, ContentAlgorithm algorithm, SecretSpool spool, CmsLimits limits,
        CancellationToken cancellationToken)
    {
        using var context = AesGcmContext.ForDecryption(key, algorithm.Nonce);
        for (ReadOnlyMemory<byte> piece; !(piece = await reader.ReadOctetsAsync(cancellationToken)).IsEmpty;)
        {
            CheckLength(spool.Length + piece.Length, Math.Min(limits.MaxContent, AesGcmContext.MaxContentLength));
            while (!piece.IsEmpty)
            {
                Span<byte> room = spool.Room(piece.Length);
                context.Update(piece.Span[..room.Length], room);
                spool.Advance(room.Length);
                piece = piece[room.Length..];
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
            await reader.ReadElementAsync(cancellationToken); // unauthAttrs: nobody vouches for them
        }
        // RFC 5084 §3.2: mac has exactly the length that the parameters announce; a shorter one would be easier to
        // guess.
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
    }

    /// <summary>
    /// The attributes stand behind the content but are authenticated before it, so the tag is computed once more: the
    /// same key, nonce and plaintext give the same ciphertext, and with the attributes the tag it must have.
    /// </summary>
    private static bool VerifyWithAttributes(
        SecretSpool spool, byte[] key, ContentAlgorithm algorithm, byte[] attributes, byte[] tag)
    {
        using var context = AesGcmContext.ForEncryption(key, algorithm.Nonce);
        // RFC 5083 §2.2: what is authenticated is the DER encoding with the tag of SET OF in place of [1].
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
    /// Content, then [1] unprotectedAttrs (RFC 5652 §6.1); leaves the reader at the end of EnvelopedData. Padding that
    /// is wrong stays in the content: an error here would tell whoever may send changed ciphertexts what the cleartext
    /// is, octet by octet.
    /// </summary>
    private static async Task ReadCbcAsync(
        BerReader reader, byte[] key, ContentAlgorithm algorithm, SecretSpool spool, CmsLimits limits,
        CancellationToken cancellationToken)
    {
        using ICryptoTransform transform = Decryptor(algorithm, key);
        var encrypted = new byte[BufferSize];
        var plain = new byte[BufferSize];
        var held = 0;
        try
        {
            for (ReadOnlyMemory<byte> piece; !(piece = await reader.ReadOctetsAsync(cancellationToken)).IsEmpty;)
            {
                CheckLength(spool.Length + held + piece.Length, limits.MaxContent);
                while (!piece.IsEmpty)
                {
                    // What is held is decrypted only once more has come: the last block, which has the padding, stays.
                    if (held == BufferSize)
                    {
                        spool.Write(plain.AsSpan(0, transform.TransformBlock(encrypted, 0, held, plain, 0)));
                        held = 0;
                    }
                    var count = Math.Min(piece.Length, BufferSize - held);
                    piece[..count].CopyTo(encrypted.AsMemory(held));
                    piece = piece[count..];
                    held += count;
                }
            }
            // RFC 5652 §6.3: there is always padding, so there is always a block.
            var block = algorithm.Nonce.Length;
            if (held == 0 || held % block != 0)
            {
                throw Failed();
            }

            transform.TransformBlock(encrypted, 0, held, plain, 0);
            spool.Write(plain.AsSpan(0, held - PaddingLength(plain.AsSpan(held - block, block))));
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

    private static ICryptoTransform Decryptor(ContentAlgorithm algorithm, byte[] key)
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

    /// <summary>Octets of padding at the end of the last block, 0 when it is none; the same work whatever they
    /// are.</summary>
    private static int PaddingLength(ReadOnlySpan<byte> last)
    {
        int length = last[^1];
        var wrong = (length - 1) >> 31 | (last.Length - length) >> 31;
        for (var i = 1; i <= last.Length; i++)
        {
            var inPadding = ~((length - i) >> 31);
            wrong |= inPadding & (last[^i] ^ length);
        }
        // All ones when nothing was wrong.
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
            "this could not be decrypted: it was changed on its way, or was made for another key");
}
