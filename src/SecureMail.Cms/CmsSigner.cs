using System.Buffers;
using System.Formats.Asn1;
using System.Security.Cryptography;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>
/// Signs content in one pass with a key of this process: detached (the signature alone) or attached (the content
/// included). When the key is elsewhere, <see cref="PreparedSignature"/> does the same in three calls. Several signers
/// sign separately, and <see cref="Join"/> combines their signatures.
/// </summary>
public static class CmsSigner
{
    private const int BufferSize = 64 * 1024;

    /// <summary>Makes a detached SignedData over the content, DER.</summary>
    /// <exception cref="CmsException">The key does not fit the certificate or the scheme.</exception>
    public static Task<byte[]> SignDetachedAsync(
        Stream content,
        SigningRequest request,
        AsymmetricAlgorithm key,
        CancellationToken cancellationToken = default
    ) => SignDetachedAsync(content, request, prepared => prepared.SignValue(key), cancellationToken);

    /// <summary>Makes a detached SignedData over the content, DER.</summary>
    /// <param name="content">Read to its end.</param>
    /// <param name="request">Who signs and how.</param>
    /// <param name="sign">Makes the value that <see cref="PreparedSignature.Complete"/> takes.</param>
    /// <param name="cancellationToken">Stops between pieces of content.</param>
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
    /// Writes a SignedData with the content: DER when the stream of the content is seekable, because its length is then
    /// known beforehand, and the signature is not ECDSA; otherwise BER with indefinite lengths, which every reader of
    /// CMS must accept.
    /// </summary>
    /// <exception cref="CmsException">The key does not fit the certificate or the scheme.</exception>
    /// <exception cref="IOException">The length of the content changed while it was read.</exception>
    public static Task SignAttachedAsync(
        Stream content,
        Stream output,
        SigningRequest request,
        AsymmetricAlgorithm key,
        CancellationToken cancellationToken = default
    ) => SignAttachedAsync(content, output, request, prepared => prepared.SignValue(key), cancellationToken);

    /// <summary>As the other overload; <paramref name="sign"/> makes the value that
    /// <see cref="PreparedSignature.Complete"/> takes.</summary>
    /// <exception cref="CmsException">The certificate does not fit the scheme, or the value not the
    /// certificate.</exception>
    /// <exception cref="IOException">The length of the content changed while it was read.</exception>
    public static async Task SignAttachedAsync(
        Stream content, Stream output, SigningRequest request, Func<PreparedSignature, byte[]> sign,
        CancellationToken cancellationToken = default)
    {
        // An ECDSA value has no fixed length in DER, so the length of what follows the content is unknown before
        // signing.
        long? length =
            content.CanSeek && request.Scheme != SignatureScheme.Ecdsa ? content.Length - content.Position : null;
        await output.WriteAsync(EncodePrefix(request, length), cancellationToken);
        (var digest, var copied) = await CopyAsync(content, output, request.Digest, length is null, cancellationToken);
        if (length is not null && copied != length)
        {
            throw new IOException("the length of the content changed while it was signed");
        }

        var prepared = PreparedSignature.Prepare(request, digest);
        if (length is null)
        {
            // Ends the OCTET STRING, [0] and encapContentInfo.
            await output.WriteAsync(new byte[6], cancellationToken);
        }

        var value = prepared.VerifyAndEncode(sign(prepared));
        await output.WriteAsync(EncodeSuffix(prepared, value), cancellationToken);
        if (length is null)
        {
            // Ends SignedData, [0] and ContentInfo.
            await output.WriteAsync(new byte[6], cancellationToken);
        }
    }

    /// <summary>Makes one detached SignedData with the signers, certificates and CRLs of both; DER when both are
    /// DER.</summary>
    /// <param name="one">A detached SignedData in ContentInfo, DER or BER, of any program.</param>
    /// <param name="other">Another detached SignedData over the same content.</param>
    /// <exception cref="CmsException">
    /// One of them cannot be read or is not detached; or the digests of two signers with the same algorithm differ, so
    /// the contents are not the same. The signature values are not verified here.
    /// </exception>
    public static byte[] Join(ReadOnlyMemory<byte> one, ReadOnlyMemory<byte> other) =>
        DetachedSignature.Read(one).Merge(DetachedSignature.Read(other)).Encode();

    /// <summary>Encodes everything before the first byte of the content.</summary>
    private static byte[] EncodePrefix(SigningRequest request, long? contentLength)
    {
        var signedDataType = Der.Encode(w => w.WriteObjectIdentifier(Oids.SignedData));
        byte[] versionAndDigests =
        [
            .. Der.Encode(w => w.WriteInteger(1)),
            .. Der.Encode(w =>
            {
                using (w.PushSetOf())
                {
                    SignatureAlgorithm.WriteDigest(w, request.Digest);
                }
            }),
        ];
        var dataType = Der.Encode(w => w.WriteObjectIdentifier(Oids.Data));
        if (contentLength is not { } content)
        {
            return
            [
                .. Der.IndefiniteHeader(Der.Sequence),
                .. signedDataType,
                .. Der.IndefiniteHeader(Der.Context0),
                .. Der.IndefiniteHeader(Der.Sequence),
                .. versionAndDigests,
                .. Der.IndefiniteHeader(Der.Sequence),
                .. dataType,
                .. Der.IndefiniteHeader(Der.Context0),
                .. Der.IndefiniteHeader(Der.ConstructedOctetString),
            ];
        }
        // Measure what follows the content with a rehearsal, whose digest and value are zeros.
        var rehearsal = PreparedSignature.Prepare(request, new byte[SignatureAlgorithm.HashSize(request.Digest)]);
        var value =
            request.Scheme == SignatureScheme.Ed25519
                ? Ed25519.SignatureSize
                : CmsCertificate.Of(request.Certificate)!.RsaModulusSize();
        long suffix = EncodeSuffix(rehearsal, new byte[value]).Length;
        var octetString = Der.EncodedLength(content);
        var encapsulated = dataType.Length + Der.EncodedLength(octetString);
        var signedData = versionAndDigests.Length + Der.EncodedLength(encapsulated) + suffix;
        var contentInfo = signedDataType.Length + Der.EncodedLength(Der.EncodedLength(signedData));
        return
        [
            .. Der.Header(Der.Sequence, contentInfo),
            .. signedDataType,
            .. Der.Header(Der.Context0, Der.EncodedLength(signedData)),
            .. Der.Header(Der.Sequence, signedData),
            .. versionAndDigests,
            .. Der.Header(Der.Sequence, encapsulated),
            .. dataType,
            .. Der.Header(Der.Context0, octetString),
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

    private static byte[] EncodeSuffix(PreparedSignature prepared, byte[] wireValue)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            prepared.WriteCertificatesAndSigners(writer, wireValue);
        }
        // Remove the SEQUENCE, which the writer needs around the certificates and signers and which is not part of the
        // format.
        var wrapped = writer.Encode();
        AsnDecoder.ReadSequence(wrapped, AsnEncodingRules.DER, out var offset, out var length, out _);
        return wrapped.AsSpan(offset, length).ToArray();
    }
}
