using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// SignedData (RFC 5652 §5), read from DER, BER or PEM in one pass. Attached content is hashed while it passes and held in
/// a <see cref="SecretSpool"/>; certificates, CRLs and signers are parsed under <see cref="CmsLimits"/>. Then
/// <see cref="VerifyAsync"/> answers for each signer whether content, attributes and value belong together. Whether the
/// signer is to be trusted is SecureMail.Trust's question, not asked here. Unsigned attributes are left out so far.
/// </summary>
public sealed class CmsSignedData : IDisposable
{
    /// <summary>Certificates tried for one signer: an attacker may send many under one issuer and serial number.</summary>
    private const int MaxCandidates = 8;

    private readonly HeldContent? _content;
    private readonly ContentHash? _contentHash;
    private ContentHash? _verified;

    private CmsSignedData(string contentType, HeldContent? content, ContentHash? contentHash)
    {
        ContentType = contentType;
        _content = content;
        _contentHash = contentHash;
    }

    /// <summary>Object identifier of the content's type; id-data is 1.2.840.113549.1.7.1.</summary>
    public string ContentType { get; }

    /// <summary>Whether the content is inside; if not, the signature is detached.</summary>
    public bool HasContent => _content is not null;

    /// <summary>Octets of the content inside; 0 when detached.</summary>
    public long ContentLength => _content?.Length ?? 0;

    /// <summary>The X.509 certificates inside that could be parsed. Anyone can put certificates here.</summary>
    public IReadOnlyList<X509Certificate2> Certificates { get; private set; } = [];

    /// <summary>The CRLs inside, DER or BER as they came.</summary>
    public IReadOnlyList<byte[]> Crls { get; private set; } = [];

    /// <summary>The signers, in the order they came; may be empty (a mere bag of certificates).</summary>
    public IReadOnlyList<CmsSignerInfo> Signers { get; private set; } = [];

    /// <summary>Reads a SignedData to its end. The stream stays the caller's.</summary>
    /// <exception cref="CmsException">It is no CMS, of another kind, damaged, cut off or beyond a limit.</exception>
    public static Task<CmsSignedData> ReadAsync(Stream cms, CmsLimits? limits = null, CancellationToken cancel = default) =>
        ReadAsync(cms, inPlace: false, limits, cancel);

    /// <summary>
    /// As <see cref="ReadAsync(Stream, CmsLimits?, CancellationToken)"/>, but the content inside is left where it lies instead of copied, when the stream is
    /// seekable and no PEM. The stream must stay open and as it is while this object is in use, and nobody else may read it meanwhile.
    /// </summary>
    public static Task<CmsSignedData> ReadInPlaceAsync(Stream cms, CmsLimits? limits = null, CancellationToken cancel = default) =>
        ReadAsync(cms, inPlace: true, limits, cancel);

    private static async Task<CmsSignedData> ReadAsync(Stream cms, bool inPlace, CmsLimits? limits, CancellationToken cancel)
    {
        limits ??= CmsLimits.Default;
        HeldContent held = inPlace && cms.CanSeek ? HeldContent.InPlace(cms) : HeldContent.Copied();
        Stream unarmoured = await CmsFormat.UnarmourAsync(cms, cancel);
        if (unarmoured is PemDecodingStream)
            held = HeldContent.Copied();
        using var reader = new BerReader(unarmoured, limits);
        if (await CmsFormat.ReadContentInfoAsync(reader, cancel) != CmsKind.SignedData)
            throw new CmsException(CmsError.WrongKind, "this CMS object is not signed data");
        CmsSignedData? data = null;
        try
        {
            await reader.EnterAsync(Der.Context0, cancel);
            await reader.EnterAsync(Der.Sequence, cancel);
            await reader.ReadElementAsync(cancel); // version: RFC 5652 §5.1 derives it from the rest, nothing depends on it
            IReadOnlyList<HashAlgorithmName> digests = ReadDigests(await reader.ReadElementAsync(cancel));
            data = await ReadContentAsync(reader, held, digests, limits, cancel);
            if (await reader.PeekTagAsync(cancel) == Der.Context0)
                data.Certificates = ReadCertificates(await reader.ReadElementAsync(cancel), limits);
            if (await reader.PeekTagAsync(cancel) == Der.Context1)
                data.Crls = ReadCrls(await reader.ReadElementAsync(cancel), limits);
            data.Signers = ReadSigners(await reader.ReadElementAsync(cancel), data.ContentType, limits);
            await reader.LeaveAsync(cancel);
            await reader.LeaveAsync(cancel);
            await reader.LeaveAsync(cancel);
            await reader.ExpectEndOfInputAsync(cancel);
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

    /// <summary>The content inside, from its beginning; seekable; good until this object is disposed.</summary>
    /// <exception cref="InvalidOperationException">The signature is detached.</exception>
    public Stream OpenContent() => _content?.OpenRead() ?? throw new InvalidOperationException("the signature is detached: there is no content inside");

    /// <summary>Verifies digest, attributes and value of every signer.</summary>
    /// <param name="detachedContent">
    /// The content when it stands outside, read once to its end. When it is given it alone counts: content inside is then
    /// ignored, so that nobody can show one text and have another verified.
    /// </param>
    /// <param name="knownCertificates">More certificates to find the signer's among.</param>
    /// <param name="cancel">Stops between pieces of content.</param>
    /// <returns>One answer for each of <see cref="Signers"/>, in that order.</returns>
    public async Task<IReadOnlyList<SignerVerification>> VerifyAsync(Stream? detachedContent, IEnumerable<X509Certificate2>? knownCertificates = null, CancellationToken cancel = default)
    {
        HashAlgorithmName[] wanted = [.. Signers.Select(s => s.DigestAlgorithm).OfType<HashAlgorithmName>()];
        ContentHash? hash = _contentHash;
        ContentHash? own = null;
        try
        {
            Stream? again = detachedContent;
            if (again is null && _content is not null && !_contentHash!.Covers(wanted))
                again = _content.OpenRead(); // digestAlgorithms did not announce every signer's
            if (again is not null)
            {
                hash = own = new ContentHash(wanted);
                await own.AppendAsync(again, cancel);
                own.Finish();
            }
            _verified = hash;
            X509Certificate2[] certificates = [.. Certificates, .. knownCertificates ?? []];
            return [.. Signers.Select(signer => Verify(signer, hash, certificates))];
        }
        finally
        {
            own?.Dispose();
        }
    }

    /// <summary>The digest of the content that the last <see cref="VerifyAsync"/> was over; null when no signer's algorithm asked for it, or there was no content.</summary>
    public byte[]? ContentDigest(HashAlgorithmName algorithm) => _verified?.TryDigest(algorithm);

    /// <summary>Removes the content.</summary>
    public void Dispose()
    {
        _content?.Dispose();
        _contentHash?.Dispose();
    }

    private static SignerVerification Verify(CmsSignerInfo signer, ContentHash? content, X509Certificate2[] certificates)
    {
        List<SignerProblem> problems = [.. signer.Problems];
        if (content is null)
            problems.Add(SignerProblem.ContentMissing);
        X509Certificate2[] candidates = [.. certificates.Where(signer.Names).DistinctBy(c => c.Thumbprint).OrderByDescending(signer.Admits).Take(MaxCandidates)];
        if (candidates.Length == 0)
            problems.Add(SignerProblem.CertificateMissing);
        if (signer.DigestAlgorithm is not { } digest)
            return new SignerVerification(signer, candidates.FirstOrDefault(), null, null, problems);

        byte[]? contentDigest = content?.Digest(digest);
        bool? digestMatches = null;
        byte[]? signedHash = contentDigest;
        if (signer.SignedAttributes is not null)
        {
            if (contentDigest is not null && signer.MessageDigest is not null)
                digestMatches = CryptographicOperations.FixedTimeEquals(contentDigest, signer.MessageDigest);
            signedHash = CryptographicOperations.HashData(digest, signer.SignedAttributes);
        }
        else if (content is not null && LooksLikeSignedAttributes(content.Prefix))
        {
            problems.Add(SignerProblem.ContentIsSignedAttributes);
        }

        X509Certificate2? match = null;
        bool? signatureMatches = null;
        if (signedHash is not null && signer.SignatureAlgorithm is { } algorithm && candidates.Length > 0)
        {
            match = candidates.FirstOrDefault(c => algorithm.Verify(c, signedHash, digest, signer.SignatureValue.Span));
            signatureMatches = match is not null;
            // Without signed attributes the value is over the content itself: one answer for both.
            if (signer.SignedAttributes is null)
                digestMatches = signatureMatches;
        }
        X509Certificate2? certificate = match ?? candidates.FirstOrDefault();
        if (certificate is not null && !signer.Admits(certificate))
            problems.Add(SignerProblem.SigningCertificateContradicts);
        return new SignerVerification(signer, certificate, digestMatches, signatureMatches, problems);
    }

    /// <summary>A SET whose first kilobytes hold the object identifier of message-digest, as signed attributes do.</summary>
    private static bool LooksLikeSignedAttributes(ReadOnlySpan<byte> prefix)
    {
        ReadOnlySpan<byte> messageDigestOid = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x04];
        return prefix is [Der.Set, ..] && prefix.IndexOf(messageDigestOid) >= 0;
    }

    private static async Task<CmsSignedData> ReadContentAsync(BerReader reader, HeldContent held, IReadOnlyList<HashAlgorithmName> digests, CmsLimits limits, CancellationToken cancel)
    {
        await reader.EnterAsync(Der.Sequence, cancel);
        string type = AsnDecoder.ReadObjectIdentifier(await reader.ReadElementAsync(cancel), AsnEncodingRules.BER, out _);
        if (await reader.PeekTagAsync(cancel) == BerReader.End)
        {
            await reader.LeaveAsync(cancel);
            return new CmsSignedData(type, null, null);
        }
        await reader.EnterAsync(Der.Context0, cancel);
        await reader.BeginOctetsAsync(Der.OctetString, cancel);
        var hash = new ContentHash(digests);
        try
        {
            for (ReadOnlyMemory<byte> piece; !(piece = await reader.ReadOctetsAsync(cancel)).IsEmpty;)
            {
                if (held.Length + piece.Length > limits.MaxContent)
                    throw new CmsException(CmsError.LimitExceeded, "the signed content is too large");
                hash.Append(piece.Span);
                held.Append(piece.Span, reader.Position - piece.Length);
            }
            hash.Finish();
            await reader.LeaveAsync(cancel);
            await reader.LeaveAsync(cancel);
            return new CmsSignedData(type, held, hash);
        }
        catch
        {
            held.Dispose();
            hash.Dispose();
            throw;
        }
    }

    private static List<HashAlgorithmName> ReadDigests(byte[] set)
    {
        var digests = new List<HashAlgorithmName>();
        AsnReader algorithms = new AsnReader(set, AsnEncodingRules.BER).ReadSetOf(skipSortOrderValidation: true);
        while (algorithms.HasData)
        {
            // One that is not ours is passed over: the signer that uses it will be answered as unsupported.
            if (SignatureAlgorithm.DigestOf(algorithms.ReadSequence().ReadObjectIdentifier()) is { } digest)
                digests.Add(digest);
        }
        return digests;
    }

    private static List<X509Certificate2> ReadCertificates(byte[] set, CmsLimits limits)
    {
        var certificates = new List<X509Certificate2>();
        int count = 0;
        AsnReader choices = new AsnReader(set, AsnEncodingRules.BER).ReadSetOf(skipSortOrderValidation: true, new Asn1Tag(TagClass.ContextSpecific, 0));
        while (choices.HasData)
        {
            if (++count > limits.MaxCertificates)
                throw new CmsException(CmsError.LimitExceeded, "too many certificates");
            bool x509 = choices.PeekTag().HasSameClassAndValue(Asn1Tag.Sequence);
            ReadOnlyMemory<byte> encoded = choices.ReadEncodedValue();
            if (!x509)
                continue; // attribute certificates and the like (RFC 5652 §10.2.2)
            try
            {
                certificates.Add(X509CertificateLoader.LoadCertificate(encoded.Span));
            }
            catch (CryptographicException)
            {
                // A certificate that nobody can read helps nobody; if it was the signer's, the finding says it is missing.
            }
        }
        return certificates;
    }

    private static List<byte[]> ReadCrls(byte[] set, CmsLimits limits)
    {
        var crls = new List<byte[]>();
        int count = 0;
        AsnReader choices = new AsnReader(set, AsnEncodingRules.BER).ReadSetOf(skipSortOrderValidation: true, new Asn1Tag(TagClass.ContextSpecific, 1));
        while (choices.HasData)
        {
            if (++count > limits.MaxCertificates)
                throw new CmsException(CmsError.LimitExceeded, "too many revocation lists");
            bool crl = choices.PeekTag().HasSameClassAndValue(Asn1Tag.Sequence);
            byte[] encoded = choices.ReadEncodedValue().ToArray();
            if (crl)
                crls.Add(encoded);
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
                throw new CmsException(CmsError.LimitExceeded, "too many signers");
            signers.Add(CmsSignerInfo.Read(infos, contentType));
        }
        return signers;
    }
}
