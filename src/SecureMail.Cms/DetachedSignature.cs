using System.Formats.Asn1;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// The parts of a detached SignedData (RFC 5652 §5.1), so that signers can be combined. Each part is kept as it was
/// received, because a re-encoding could change what a signer signed.
/// </summary>
internal sealed class DetachedSignature
{
    private static readonly Asn1Tag CertificatesTag = new(TagClass.ContextSpecific, 0);
    private static readonly Asn1Tag CrlsTag = new(TagClass.ContextSpecific, 1);

    private readonly int _version;
    private readonly string _contentType;
    private readonly List<ReadOnlyMemory<byte>> _digests;
    private readonly List<ReadOnlyMemory<byte>> _certificates;
    private readonly List<ReadOnlyMemory<byte>> _crls;
    private readonly List<ReadOnlyMemory<byte>> _signers;

    private DetachedSignature(
        int version, string contentType, List<ReadOnlyMemory<byte>> digests, List<ReadOnlyMemory<byte>> certificates,
        List<ReadOnlyMemory<byte>> crls, List<ReadOnlyMemory<byte>> signers)
    {
        _version = version;
        _contentType = contentType;
        _digests = digests;
        _certificates = certificates;
        _crls = crls;
        _signers = signers;
    }

    /// <exception cref="CmsException">The input is not SignedData, includes content, or exceeds a limit.</exception>
    public static DetachedSignature Read(ReadOnlyMemory<byte> signedData)
    {
        CmsLimits limits = CmsLimits.Default;
        if (signedData.Length > limits.MaxPart)
        {
            throw new CmsException(CmsError.LimitExceeded, "the detached signature is too large");
        }

        try
        {
            var outer = new AsnReader(signedData, AsnEncodingRules.BER);
            AsnReader info = outer.ReadSequence();
            outer.ThrowIfNotEmpty();
            if (Oids.Read(info) != Oids.SignedData)
            {
                throw new CmsException(CmsError.WrongKind, "this CMS object is not signed data");
            }

            AsnReader data = info.ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 0)).ReadSequence();
            var version =
                data.TryReadInt32(out var v) && v is >= 1 and <= 5
                    ? v
                    : throw CmsException.Malformed("an invalid version");
            List<ReadOnlyMemory<byte>> digests = ReadElements(
                data.ReadSetOf(skipSortOrderValidation: true), limits.MaxSigners);
            AsnReader encapsulated = data.ReadSequence();
            var contentType = Oids.Read(encapsulated);
            if (encapsulated.HasData)
            {
                throw new CmsException(
                    CmsError.WrongKind, "the content is included: only detached signatures are combined");
            }

            List<ReadOnlyMemory<byte>> certificates = ReadOptional(data, CertificatesTag, limits.MaxCertificates);
            List<ReadOnlyMemory<byte>> crls = ReadOptional(data, CrlsTag, limits.MaxCertificates);
            List<ReadOnlyMemory<byte>> signers = ReadElements(
                data.ReadSetOf(skipSortOrderValidation: true), limits.MaxSigners);
            data.ThrowIfNotEmpty();
            return new DetachedSignature(version, contentType, digests, certificates, crls, signers);
        }
        catch (AsnContentException e)
        {
            throw CmsException.Malformed("signed data", e);
        }
    }

    /// <summary>Combines two signatures; a part that both have is taken once.</summary>
    /// <exception cref="CmsException">The two signatures are not over the same content.</exception>
    public DetachedSignature Merge(DetachedSignature other)
    {
        if (_contentType != other._contentType)
        {
            throw new CmsException(CmsError.WrongKind, "the two signatures are over content of different types");
        }

        List<CmsSignerInfo> signers = [.. ReadSigners(this), .. ReadSigners(other)];
        foreach (CmsSignerInfo signer in signers)
        {
            if (
                signer.MessageDigest is { } digest
                && signers.Exists(s =>
                    s.DigestOid == signer.DigestOid && s.MessageDigest is { } d && !d.AsSpan().SequenceEqual(digest)))
            {
                throw new CmsException(
                    CmsError.SignatureValueWrong, "the two signatures are not over the same content");
            }
        }
        // RFC 5652 §5.1: the version follows from the parts, so the higher version is right for both.
        return new DetachedSignature(
            Math.Max(_version, other._version), _contentType, Union(_digests, other._digests),
            Union(_certificates, other._certificates), Union(_crls, other._crls), Union(_signers, other._signers));
    }

    public byte[] Encode()
    {
        // Parts in BER stay in BER. When all parts are DER, the whole is DER, because every SET is sorted.
        var writer = new AsnWriter(AsnEncodingRules.BER);
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(Oids.SignedData);
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
            using (writer.PushSequence())
            {
                writer.WriteInteger(_version);
                WriteSet(writer, _digests, Asn1Tag.SetOf);
                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier(_contentType);
                }

                if (_certificates.Count > 0)
                {
                    WriteSet(writer, _certificates, CertificatesTag);
                }

                if (_crls.Count > 0)
                {
                    WriteSet(writer, _crls, CrlsTag);
                }

                WriteSet(writer, _signers, Asn1Tag.SetOf);
            }
        }
        return writer.Encode();
    }

    private static IEnumerable<CmsSignerInfo> ReadSigners(DetachedSignature parts) =>
        parts._signers.Select(s =>
        {
            try
            {
                return CmsSignerInfo.Read(new AsnReader(s, AsnEncodingRules.BER), parts._contentType);
            }
            catch (AsnContentException e)
            {
                throw CmsException.Malformed("a signer", e);
            }
        });

    private static void WriteSet(AsnWriter writer, List<ReadOnlyMemory<byte>> elements, Asn1Tag tag)
    {
        using (writer.PushSetOf(tag))
        {
            foreach (ReadOnlyMemory<byte> element in elements)
            {
                writer.WriteEncodedValue(element.Span);
            }
        }
    }

    /// <summary>The elements of both without duplicates, in the order of DER (X.690 §11.6).</summary>
    private static List<ReadOnlyMemory<byte>> Union(List<ReadOnlyMemory<byte>> one, List<ReadOnlyMemory<byte>> other)
    {
        var union = new List<ReadOnlyMemory<byte>>(one);
        foreach (ReadOnlyMemory<byte> element in other)
        {
            if (!union.Exists(e => e.Span.SequenceEqual(element.Span)))
            {
                union.Add(element);
            }
        }
        union.Sort((a, b) => a.Span.SequenceCompareTo(b.Span));
        return union;
    }

    private static List<ReadOnlyMemory<byte>> ReadOptional(AsnReader reader, Asn1Tag tag, int limit) =>
        reader.HasData && reader.PeekTag().HasSameClassAndValue(tag)
            ? ReadElements(reader.ReadSetOf(skipSortOrderValidation: true, tag), limit)
            : [];

    private static List<ReadOnlyMemory<byte>> ReadElements(AsnReader set, int limit)
    {
        var elements = new List<ReadOnlyMemory<byte>>();
        while (set.HasData)
        {
            if (elements.Count == limit)
            {
                throw new CmsException(CmsError.LimitExceeded, "too many parts in a signature");
            }

            elements.Add(set.ReadEncodedValue());
        }
        return elements;
    }
}
