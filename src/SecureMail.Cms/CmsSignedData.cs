using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// SignedData (RFC 5652 §5), read from DER, BER or PEM in one pass. Attached content is hashed while it is read and
/// kept in a <see cref="SecretSpool"/>; certificates, CRLs and signers are parsed within <see cref="CmsLimits"/>. Then
/// <see cref="VerifyAsync"/> checks for each signer whether content, attributes and value belong together. Whether a
/// signer is trusted is validated in SecureMail.Trust, not here. Certificates come from a
/// <see cref="CertificateCache"/>, and the platform loads only those that a caller asks for.
/// </summary>
public sealed class CmsSignedData : IDisposable
{
    /// <summary>Bytes of content at most that are kept in memory for a signature over the content itself and not its
    /// hash (Ed25519 without signed attributes).</summary>
    private const int MaxPureContent = 1 << 20;

    private readonly EncapsulatedContent? _content;
    private readonly ContentHash? _contentHash;
    private ContentHash? _verified;
    private List<CmsCertificate> _certificates = [];
    private X509Certificate2[]? _platformCertificates;

    private CmsSignedData(string contentType, EncapsulatedContent? content, ContentHash? contentHash)
    {
        ContentType = contentType;
        _content = content;
        _contentHash = contentHash;
    }

    /// <summary>Object identifier of the content type; id-data is 1.2.840.113549.1.7.1.</summary>
    public string ContentType { get; }

    /// <summary>Whether the content is included; if not, the signature is detached.</summary>
    public bool HasContent => _content is not null;

    /// <summary>Bytes of the content included; 0 when detached.</summary>
    public long ContentLength => _content?.Length ?? 0;

    /// <summary>
    /// The included X.509 certificates that could be read. They are not authenticated: anyone can add certificates.
    /// They may be shared: do not dispose them.
    /// </summary>
    public IReadOnlyList<X509Certificate2> Certificates =>
        _platformCertificates ??= [.. _certificates.Select(c => c.Certificate).OfType<X509Certificate2>()];

    /// <summary>The included CRLs as they were received, DER or BER.</summary>
    public IReadOnlyList<byte[]> Crls { get; private set; } = [];

    /// <summary>
    /// Whether something stands before or after the CMS object: text around a PEM block, or octets other than zeros and
    /// line ends after the end. No signature covers it.
    /// </summary>
    public bool HasExtraOctets { get; private set; }

    /// <summary>The signers in the order of the message; empty for a certs-only message.</summary>
    public IReadOnlyList<CmsSignerInfo> Signers { get; private set; } = [];

    /// <summary>Reads a SignedData to its end. The caller keeps and disposes the stream.</summary>
    /// <exception cref="CmsException">The input is not CMS, of another kind, damaged, truncated or beyond a
    /// limit.</exception>
    public static Task<CmsSignedData> ReadAsync(
        Stream cms,
        CmsLimits? limits = null,
        CancellationToken cancellationToken = default
    ) => ReadAsync(cms, CertificateCache.Shared, inPlace: false, limits, cancellationToken);

    /// <summary>Reads a SignedData to its end, with the given cache. The caller keeps and disposes the
    /// stream.</summary>
    /// <exception cref="CmsException">The input is not CMS, of another kind, damaged, truncated or beyond a
    /// limit.</exception>
    public static Task<CmsSignedData> ReadAsync(
        Stream cms,
        CertificateCache cache,
        CmsLimits? limits = null,
        CancellationToken cancellationToken = default
    ) => ReadAsync(cms, cache, inPlace: false, limits, cancellationToken);

    /// <summary>
    /// As <see cref="ReadAsync(Stream, CmsLimits?, CancellationToken)"/>, but the included content is not copied when
    /// the stream is seekable, and PEM is not read. While this object is in use, the stream must stay open and
    /// unchanged, and no other code may read it.
    /// </summary>
    public static Task<CmsSignedData> ReadInPlaceAsync(
        Stream cms,
        CmsLimits? limits = null,
        CancellationToken cancellationToken = default
    ) => ReadAsync(cms, CertificateCache.Shared, inPlace: true, limits, cancellationToken);

    private static async Task<CmsSignedData> ReadAsync(
        Stream cms, CertificateCache cache, bool inPlace, CmsLimits? limits, CancellationToken cancellationToken)
    {
        limits ??= CmsLimits.Default;
        EncapsulatedContent content =
            inPlace && cms.CanSeek ? EncapsulatedContent.InPlace(cms) : EncapsulatedContent.Copied();
        Stream ber = inPlace ? cms : await CmsFormat.DecodePemAsync(cms, cancellationToken);
        using var reader = new BerReader(ber, limits);
        if (await CmsFormat.ReadContentInfoAsync(reader, cancellationToken) != CmsKind.SignedData)
        {
            throw new CmsException(CmsError.WrongKind, "this CMS object is not signed data");
        }

        CmsSignedData? data = null;
        try
        {
            await reader.EnterAsync(Der.Context0, cancellationToken);
            await reader.EnterAsync(Der.Sequence, cancellationToken);
            // The version follows from the rest (RFC 5652 §5.1).
            await reader.ReadElementAsync(Der.Integer, cancellationToken);
            IReadOnlyList<HashAlgorithmName> digests = ReadDigests(
                await reader.ReadElementAsync(cancellationToken), limits);
            data = await ReadContentAsync(reader, content, digests, limits, cancellationToken);
            if (await reader.PeekTagAsync(cancellationToken) == Der.Context0)
            {
                data._certificates = ReadCertificates(await reader.ReadElementAsync(cancellationToken), cache, limits);
            }

            if (await reader.PeekTagAsync(cancellationToken) == Der.Context1)
            {
                data.Crls = ReadCrls(await reader.ReadElementAsync(cancellationToken), limits);
            }

            data.Signers = ReadSigners(await reader.ReadElementAsync(cancellationToken), data.ContentType, limits);
            await reader.LeaveAsync(cancellationToken);
            await reader.LeaveAsync(cancellationToken);
            await reader.LeaveAsync(cancellationToken);
            data.HasExtraOctets =
                await reader.ReadRestAsync(cancellationToken) || ber is PemDecodingStream { HasTextAround: true };
            return data;
        }
        catch (AsnContentException e)
        {
            data?.Dispose();
            throw CmsException.Malformed("signed data", e);
        }
        catch
        {
            data?.Dispose();
            throw;
        }
    }

    /// <summary>The included content from its beginning; seekable; valid until this object is disposed.</summary>
    /// <exception cref="InvalidOperationException">The signature is detached.</exception>
    public Stream OpenContent() =>
        _content?.OpenRead()
        ?? throw new InvalidOperationException("the signature is detached: no content is included");

    /// <summary>Verifies digest, attributes and value of every signer.</summary>
    /// <param name="detachedContent">
    /// The content of a detached signature, read once to its end. When it is given, included content is ignored, so
    /// that no sender can have one text shown and another verified.
    /// </param>
    /// <param name="knownCertificates">More certificates to search for that of the signer.</param>
    /// <param name="cancellationToken">Stops between pieces of content.</param>
    /// <returns>One result for each of <see cref="Signers"/>, in that order.</returns>
    public async Task<IReadOnlyList<SignerVerification>> VerifyAsync(
        Stream? detachedContent, IEnumerable<X509Certificate2>? knownCertificates = null,
        CancellationToken cancellationToken = default)
    {
        HashAlgorithmName[] wanted = [.. Signers.Select(s => s.DigestAlgorithm).OfType<HashAlgorithmName>()];
        var pure = Signers.Any(s =>
            s is { HasSignedAttributes: false, SignatureAlgorithm.Scheme: SignatureScheme.Ed25519 });
        ContentHash? hash = _contentHash;
        ContentHash? own = null;
        byte[]? whole = null;
        try
        {
            Stream? again = detachedContent;
            if (again is null && _content is not null && (pure || !_contentHash!.Includes(wanted)))
            {
                again = _content.OpenRead(); // digestAlgorithms lacks an algorithm of a signer
            }

            if (again is not null)
            {
                hash = own = new ContentHash(wanted);
                if (pure)
                {
                    whole = await ReadPureAsync(again, own, cancellationToken);
                }

                await own.AppendAsync(again, cancellationToken);
                own.Finish();
            }
            _verified = hash;
            List<CmsCertificate> certificates = [.. _certificates];
            foreach (X509Certificate2 known in knownCertificates ?? [])
            {
                if (CmsCertificate.Of(known) is { } read)
                {
                    certificates.Add(read);
                }
            }
            var results = new SignerVerification[Signers.Count];
            for (var i = 0; i < results.Length; i++)
            {
                results[i] = SignerVerifier.Verify(Signers[i], hash, whole, certificates);
            }

            return results;
        }
        finally
        {
            own?.Dispose();
        }
    }

    /// <summary>The digest of the content of the last <see cref="VerifyAsync"/>; null when no signer uses the
    /// algorithm, or there was no content.</summary>
    public byte[]? ContentDigest(HashAlgorithmName algorithm) => _verified?.TryDigest(algorithm);

    /// <summary>Wipes the content.</summary>
    public void Dispose()
    {
        _content?.Dispose();
        _contentHash?.Dispose();
    }

    /// <summary>Reads content up to <see cref="MaxPureContent"/> and hashes what it reads. Returns null when the
    /// content is longer.</summary>
    private static async Task<byte[]?> ReadPureAsync(
        Stream content, ContentHash hash, CancellationToken cancellationToken)
    {
        var buffer = new byte[64 * 1024];
        using var whole = new MemoryStream();
        for (
            int count;
            whole.Length <= MaxPureContent && (count = await content.ReadAsync(buffer, cancellationToken)) > 0;

        )
        {
            hash.Append(buffer.AsSpan(0, count));
            whole.Write(buffer, 0, count);
        }
        return whole.Length <= MaxPureContent ? whole.ToArray() : null;
    }

    private static async Task<CmsSignedData> ReadContentAsync(
        BerReader reader, EncapsulatedContent content, IReadOnlyList<HashAlgorithmName> digests, CmsLimits limits,
        CancellationToken cancellationToken)
    {
        await reader.EnterAsync(Der.Sequence, cancellationToken);
        var type = Oids.Read(new AsnReader(await reader.ReadElementAsync(cancellationToken), AsnEncodingRules.BER));
        if (await reader.PeekTagAsync(cancellationToken) == BerReader.End)
        {
            await reader.LeaveAsync(cancellationToken);
            return new CmsSignedData(type, null, null);
        }
        await reader.EnterAsync(Der.Context0, cancellationToken);
        await reader.BeginOctetStringAsync(Der.OctetString, cancellationToken);
        var hash = new ContentHash(digests);
        try
        {
            for (ReadOnlyMemory<byte> piece; !(piece = await reader.ReadPieceAsync(cancellationToken)).IsEmpty;)
            {
                if (content.Length + piece.Length > limits.MaxContent)
                {
                    throw new CmsException(CmsError.LimitExceeded, "the signed content is too large");
                }

                hash.Append(piece.Span);
                content.Append(piece.Span, reader.Position - piece.Length);
            }
            hash.Finish();
            await reader.LeaveAsync(cancellationToken);
            await reader.LeaveAsync(cancellationToken);
            return new CmsSignedData(type, content, hash);
        }
        catch
        {
            content.Dispose();
            hash.Dispose();
            throw;
        }
    }

    private static List<HashAlgorithmName> ReadDigests(byte[] set, CmsLimits limits)
    {
        var digests = new List<HashAlgorithmName>();
        var count = 0;
        AsnReader algorithms = new AsnReader(set, AsnEncodingRules.BER).ReadSetOf(skipSortOrderValidation: true);
        while (algorithms.HasData)
        {
            if (++count > limits.MaxSigners)
            {
                throw new CmsException(CmsError.LimitExceeded, "too many digest algorithms");
            }
            AsnReader algorithm = algorithms.ReadSequence();
            HashAlgorithmName? digest = SignatureAlgorithm.DigestOf(Oids.Read(algorithm));
            if (algorithm.HasData)
            {
                algorithm.ReadEncodedValue(); // the parameters
            }

            algorithm.ThrowIfNotEmpty();
            // Skip an unsupported algorithm; the signer that uses it is reported as unsupported.
            if (digest is { } known)
            {
                digests.Add(known);
            }
        }
        return digests;
    }

    private static List<CmsCertificate> ReadCertificates(byte[] set, CertificateCache cache, CmsLimits limits)
    {
        var certificates = new List<CmsCertificate>();
        var count = 0;
        AsnReader choices = new AsnReader(set, AsnEncodingRules.BER).ReadSetOf(
            skipSortOrderValidation: true, new Asn1Tag(TagClass.ContextSpecific, 0));
        while (choices.HasData)
        {
            if (++count > limits.MaxCertificates)
            {
                throw new CmsException(CmsError.LimitExceeded, "too many certificates");
            }

            var x509 = choices.PeekTag().HasSameClassAndValue(Asn1Tag.Sequence);
            ReadOnlyMemory<byte> encoded = choices.ReadEncodedValue();
            // Skip attribute certificates and other kinds (RFC 5652 §10.2.2). Skip an unreadable certificate too; when
            // it is that of a signer, it is reported as missing.
            if (x509 && cache.Read(encoded) is { } certificate)
            {
                certificates.Add(certificate);
            }
        }
        return certificates;
    }

    private static List<byte[]> ReadCrls(byte[] set, CmsLimits limits)
    {
        var crls = new List<byte[]>();
        var count = 0;
        AsnReader choices = new AsnReader(set, AsnEncodingRules.BER).ReadSetOf(
            skipSortOrderValidation: true, new Asn1Tag(TagClass.ContextSpecific, 1));
        while (choices.HasData)
        {
            if (++count > limits.MaxCertificates)
            {
                throw new CmsException(CmsError.LimitExceeded, "too many CRLs");
            }

            var crl = choices.PeekTag().HasSameClassAndValue(Asn1Tag.Sequence);
            var encoded = choices.ReadEncodedValue().ToArray();
            if (crl)
            {
                crls.Add(encoded);
            }
        }
        return crls;
    }

    private static List<CmsSignerInfo> ReadSigners(byte[] set, string contentType, CmsLimits limits)
    {
        var signers = new List<CmsSignerInfo>();
        AsnReader infos = new AsnReader(set, AsnEncodingRules.BER).ReadSetOf(skipSortOrderValidation: true);
        while (infos.HasData)
        {
            if (signers.Count == limits.MaxSigners)
            {
                throw new CmsException(CmsError.LimitExceeded, "too many signers");
            }

            signers.Add(CmsSignerInfo.Read(infos, contentType));
        }
        return signers;
    }
}
