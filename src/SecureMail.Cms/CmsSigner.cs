using System.Buffers;
using System.Formats.Asn1;
using System.Security.Cryptography;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>
/// Signs content with a key at hand, in one pass over it: detached (the signature alone) or attached (the content
/// inside). When the key is elsewhere, <see cref="PreparedSignature"/> does the same in three calls. Several signers
/// sign apart and <see cref="Join"/> puts their signatures into one.
/// </summary>
public static class CmsSigner
{
    private const int BufferSize = 64 * 1024;

    /// <summary>A detached SignedData over the content, DER.</summary>
    /// <exception cref="CmsException">The key does not fit the certificate or the scheme.</exception>
    public static Task<byte[]> SignDetachedAsync(
        Stream content,
        SigningRequest request,
        AsymmetricAlgorithm key,
        CancellationToken cancellationToken = default
    ) => SignDetachedAsync(content, request, prepared => prepared.SignValue(key), cancellationToken);

    /// <summary>A detached SignedData over the content, DER, by whatever makes the value that
    /// <see cref="PreparedSignature.Complete"/> takes.</summary>
    /// <exception cref="CmsException">The certificate does not fit the scheme, or the value not the
    /// certificate.</exception>
    public static async Task<byte[]> SignDetachedAsync(
        Stream content, SigningRequest request, Func<PreparedSignature, byte[]> sign,
        CancellationToken cancellationToken = default)
    {
        var digest = await CryptographicOperations.HashDataAsync(request.Digest, content, cancellationToken);
        var prepared = PreparedSignature.Prepare(request, digest);
        return prepared.Complete(sign(prepared));
    }

    /// <summary>
    /// Writes a SignedData with the content inside: DER when the content's length is known beforehand (a seekable
    /// stream) and the signature is not ECDSA, else BER with indefinite lengths, which every reader of CMS must take.
    /// </summary>
    /// <exception cref="CmsException">The key does not fit the certificate or the scheme.</exception>
    /// <exception cref="IOException">The content changed its length while it was read.</exception>
    public static Task SignAttachedAsync(
        Stream content,
        Stream output,
        SigningRequest request,
        AsymmetricAlgorithm key,
        CancellationToken cancellationToken = default
    ) => SignAttachedAsync(content, output, request, prepared => prepared.SignValue(key), cancellationToken);

    /// <summary>The same by whatever makes the value that <see cref="PreparedSignature.Complete"/> takes.</summary>
    /// <exception cref="CmsException">The certificate does not fit the scheme, or the value not the
    /// certificate.</exception>
    /// <exception cref="IOException">The content changed its length while it was read.</exception>
    public static async Task SignAttachedAsync(
        Stream content, Stream output, SigningRequest request, Func<PreparedSignature, byte[]> sign,
        CancellationToken cancellationToken = default)
    {
        // An ECDSA value has no fixed length in DER, so what follows the content cannot be measured before it is
        // signed.
        long? length =
            content.CanSeek && request.Scheme != SignatureScheme.Ecdsa ? content.Length - content.Position : null;
        await output.WriteAsync(Frame(request, length), cancellationToken);
        (var digest, var copied) = await CopyAsync(content, output, request.Digest, length is null, cancellationToken);
        if (length is not null && copied != length)
        {
            throw new IOException("the content changed its length while it was signed");
        }

        var prepared = PreparedSignature.Prepare(request, digest);
        if (length is null)
        {
            // Closes the octet string, [0] and encapContentInfo.
            await output.WriteAsync(new byte[6], cancellationToken);
            await output.WriteAsync(Tail(prepared, prepared.Checked(sign(prepared))), cancellationToken);
            await output.WriteAsync(new byte[6], cancellationToken);
        }
        else
        {
            await output.WriteAsync(Tail(prepared, prepared.Checked(sign(prepared))), cancellationToken);
        }
    }

    /// <summary>One detached SignedData with the signers, certificates and CRLs of both, DER when they are.</summary>
    /// <param name="one">A detached SignedData in ContentInfo, DER or BER; ours or another's.</param>
    /// <param name="other">Another over the same content.</param>
    /// <exception cref="CmsException">
    /// One of them cannot be read or is not detached, or two signers' digests by the same algorithm differ: the
    /// contents are not the same. The values are not verified here.
    /// </exception>
    public static byte[] Join(ReadOnlyMemory<byte> one, ReadOnlyMemory<byte> other) =>
        DetachedParts.Read(one).With(DetachedParts.Read(other)).Encode();

    /// <summary>Everything before the content's first octet.</summary>
    private static byte[] Frame(SigningRequest request, long? contentLength)
    {
        var signedDataType = Encode(w => w.WriteObjectIdentifier(Oids.SignedData));
        byte[] head =
        [
            .. Encode(w => w.WriteInteger(1)),
            .. Encode(w =>
            {
                using (w.PushSetOf())
                {
                    SignatureAlgorithm.WriteDigest(w, request.Digest);
                }
            }),
        ];
        var dataType = Encode(w => w.WriteObjectIdentifier(Oids.Data));
        if (contentLength is not { } content)
        {
            return
            [
                .. Der.Open(Der.Sequence),
                .. signedDataType,
                .. Der.Open(Der.Context0),
                .. Der.Open(Der.Sequence),
                .. head,
                .. Der.Open(Der.Sequence),
                .. dataType,
                .. Der.Open(Der.Context0),
                .. Der.Open(Der.ConstructedOctetString),
            ];
        }
        // A rehearsal with a digest and a value of zeros measures what will follow the content.
        var rehearsal = PreparedSignature.Prepare(
            request, new byte[SignatureAlgorithm.HashSize(request.Digest)]);
        var value =
            request.Scheme == SignatureScheme.Ed25519
                ? Ed25519.SignatureSize
                : CmsCertificate.Of(request.Certificate)!.RsaModulusSize();
        long tail = Tail(rehearsal, new byte[value]).Length;
        var octets = Der.SizeOf(content);
        var encapsulated = dataType.Length + Der.SizeOf(octets);
        var signedData = head.Length + Der.SizeOf(encapsulated) + tail;
        var contentInfo = signedDataType.Length + Der.SizeOf(Der.SizeOf(signedData));
        return
        [
            .. Der.Header(Der.Sequence, contentInfo),
            .. signedDataType,
            .. Der.Header(Der.Context0, Der.SizeOf(signedData)),
            .. Der.Header(Der.Sequence, signedData),
            .. head,
            .. Der.Header(Der.Sequence, encapsulated),
            .. dataType,
            .. Der.Header(Der.Context0, octets),
            .. Der.Header(Der.OctetString, content),
        ];
    }

    private static async Task<(byte[] Digest, long Length)> CopyAsync(
        Stream content, Stream output, HashAlgorithmName digest, bool chunked, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(digest);
        var buffer = ArrayPool<byte>.Shared.Rent(BufferSize);
        try
        {
            long total = 0;
            for (int count; (count = await content.ReadAsync(buffer, cancellationToken)) > 0; total += count)
            {
                hash.AppendData(buffer, 0, count);
                if (chunked)
                {
                    await output.WriteAsync(Der.Header(Der.OctetString, count), cancellationToken);
                }

                await output.WriteAsync(buffer.AsMemory(0, count), cancellationToken);
            }
            return (hash.GetHashAndReset(), total);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer, clearArray: true);
        }
    }

    private static byte[] Tail(PreparedSignature prepared, byte[] wireValue)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            prepared.WriteTail(writer, wireValue);
        }
        // The certificates and signers stand behind the content, without the SEQUENCE that the writer needs around
        // them.
        var wrapped = writer.Encode();
        AsnDecoder.ReadSequence(wrapped, AsnEncodingRules.DER, out var offset, out var length, out _);
        return wrapped.AsSpan(offset, length).ToArray();
    }

    private static byte[] Encode(Action<AsnWriter> write)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        write(writer);
        return writer.Encode();
    }
}
