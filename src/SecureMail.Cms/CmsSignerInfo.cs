using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>The problems of a signature other than its digest and its value. Each of them makes the signature
/// unacceptable.</summary>
public enum SignerProblem
{
    /// <summary>The digest algorithm is not supported.</summary>
    DigestUnsupported,

    /// <summary>The signature algorithm is not supported.</summary>
    SignatureAlgorithmUnsupported,

    /// <summary>
    /// The signature algorithm has another hash than the digest algorithm of the signer (RFC 8933 §3.1), is Ed25519
    /// with another digest than SHA-512 (RFC 8419 §3.1), or may not be used with the key of the certificate (RFC 4055
    /// §3.3).
    /// </summary>
    AlgorithmsContradict,

    /// <summary>The algorithm-protection attribute names other algorithms than the SignerInfo (RFC 6211 §2): the
    /// algorithms were changed.</summary>
    AlgorithmProtectionContradicts,

    /// <summary>Ed25519 over content without signed attributes, and the content is too long to be kept in
    /// memory.</summary>
    ContentTooLong,

    /// <summary>The signature is detached, and no content was given.</summary>
    ContentMissing,

    /// <summary>The certificate of the signer was not found.</summary>
    CertificateMissing,

    /// <summary>There are no signed attributes, which are required because the content is not id-data (RFC 5652
    /// §5.3).</summary>
    SignedAttributesMissing,

    /// <summary>An attribute cannot be read, or does not have exactly one value where this is required.</summary>
    AttributeMalformed,

    /// <summary>An attribute that may occur once occurs twice (RFC 5652 §11).</summary>
    AttributeDuplicated,

    /// <summary>The content-type attribute is missing (RFC 5652 §11.1).</summary>
    ContentTypeMissing,

    /// <summary>The content-type attribute differs from the type of the content.</summary>
    ContentTypeContradicts,

    /// <summary>The message-digest attribute is missing (RFC 5652 §11.2).</summary>
    MessageDigestMissing,

    /// <summary>A signing-certificate attribute names another certificate (RFC 2634 §5.4, RFC 5035 §4).</summary>
    SigningCertificateContradicts,

    /// <summary>
    /// There are no signed attributes, and the content is the encoding of signed attributes: the signature may have
    /// been made for another message, whose attributes are presented as content.
    /// </summary>
    ContentIsSignedAttributes,
}

/// <summary>
/// One SignerInfo (RFC 5652 §5.3) as it was read; nothing in it has been verified. Unknown attributes are kept with the
/// known ones. The signature does not cover the unsigned attributes.
/// </summary>
public sealed class CmsSignerInfo
{
    /// <summary>Attributes of a signer at most, signed and unsigned each, and values of one attribute; real signers
    /// have a dozen.</summary>
    private const int MaxAttributes = 256;

    /// <summary>Bytes of signed attributes at most that are encoded again because they are not DER.</summary>
    private const int MaxReencodedAttributes = 1 << 20;

    private readonly CertificateIdentifier _identifier;
    private readonly List<SignerProblem> _problems = [];
    private readonly List<SigningCertificate> _signingCertificates = [];

    private CmsSignerInfo(
        CertificateIdentifier identifier, string digestOid, ReadOnlyMemory<byte> digest, ReadOnlyMemory<byte> algorithm,
        byte[] signature)
    {
        _identifier = identifier;
        DigestOid = digestOid;
        DigestAlgorithm = SignatureAlgorithm.ReadDigest(new AsnReader(digest, AsnEncodingRules.BER));
        SignatureAlgorithm = SignatureAlgorithm.TryRead(algorithm);
        SignatureValue = signature;
    }

    /// <summary>The object identifier of the digest algorithm.</summary>
    public string DigestOid { get; }

    /// <summary>The digest algorithm: MD5, SHA1, SHA256, SHA384 or SHA512; null for another one.</summary>
    public HashAlgorithmName? DigestAlgorithm { get; }

    /// <summary>The signature algorithm; null when it is not supported.</summary>
    public SignatureAlgorithm? SignatureAlgorithm { get; }

    /// <summary>The signing-time attribute: a claim of the signer, not evidence.</summary>
    public DateTimeOffset? SigningTime { get; private set; }

    /// <summary>The signature value as it was received.</summary>
    public ReadOnlyMemory<byte> SignatureValue { get; }

    /// <summary>Whether there are signed attributes; without them the value is over the content itself.</summary>
    public bool HasSignedAttributes => EncodedSignedAttributes is not null;

    /// <summary>All signed attributes in the order of the message.</summary>
    public IReadOnlyList<CmsAttribute> SignedAttributes { get; private set; } = [];

    /// <summary>The capabilities that the signer announces (RFC 8551 §2.5.2); null when the attribute is missing or
    /// invalid, which is not a problem of the signature.</summary>
    public SmimeCapabilities? Capabilities => SmimeCapabilities.TryRead(SignedAttributes);

    /// <summary>The unsigned attributes in the order of the message; anyone may have added them.</summary>
    public IReadOnlyList<CmsAttribute> UnsignedAttributes { get; private set; } = [];

    /// <summary>The signed attributes as SET OF in DER, which the signature covers (RFC 5652 §5.4); null when there are
    /// none.</summary>
    internal byte[]? EncodedSignedAttributes { get; private set; }

    /// <summary>
    /// The signed attributes as SET OF in the encoding that was received, where that is not DER and has a definite
    /// length; otherwise null. Some signers sign this encoding.
    /// </summary>
    internal byte[]? ReceivedSignedAttributes { get; private set; }

    internal byte[]? MessageDigest { get; private set; }

    internal IReadOnlyList<SignerProblem> Problems => _problems;

    /// <summary>Whether the signer identifier is that of the certificate.</summary>
    internal bool IsIdentifiedBy(CmsCertificate certificate) => _identifier.Matches(certificate);

    /// <summary>Whether every signing-certificate attribute matches the certificate.</summary>
    internal bool MatchesSigningCertificates(CmsCertificate certificate)
    {
        foreach (SigningCertificate attribute in _signingCertificates)
        {
            if (!attribute.Matches(certificate))
            {
                return false;
            }
        }
        return true;
    }

    /// <exception cref="AsnContentException">The element is not a SignerInfo.</exception>
    /// <exception cref="CmsException">There are too many attributes or values.</exception>
    internal static CmsSignerInfo Read(AsnReader signers, string contentType)
    {
        AsnReader reader = signers.ReadSequence();
        reader.ReadIntegerBytes();
        var identifier = CertificateIdentifier.Read(reader);
        ReadOnlyMemory<byte> digest = reader.ReadEncodedValue();
        var digestOid = Oids.Read(new AsnReader(digest, AsnEncodingRules.BER).ReadSequence());
        byte[]? attributes = null;
        var signedAttributesTag = new Asn1Tag(TagClass.ContextSpecific, 0);
        if (reader.PeekTag().HasSameClassAndValue(signedAttributesTag))
        {
            attributes = reader.ReadEncodedValue().ToArray();
        }

        ReadOnlyMemory<byte> algorithm = reader.ReadEncodedValue();
        var signer = new CmsSignerInfo(identifier, digestOid, digest, algorithm, reader.ReadOctetString());
        if (reader.HasData)
        {
            signer.UnsignedAttributes = ReadAttributes(
                reader.ReadSetOf(skipSortOrderValidation: true, new Asn1Tag(TagClass.ContextSpecific, 1)));
        }

        reader.ThrowIfNotEmpty();

        signer.CheckAlgorithms();
        if (attributes is not null)
        {
            signer.ReadSignedAttributes(attributes, contentType, digest, algorithm);
        }
        else if (contentType != Oids.Data)
        {
            signer._problems.Add(SignerProblem.SignedAttributesMissing);
        }

        return signer;
    }

    private static List<CmsAttribute> ReadAttributes(AsnReader set)
    {
        var attributes = new List<CmsAttribute>();
        while (set.HasData)
        {
            AsnReader attribute = set.ReadSequence();
            var oid = Oids.Read(attribute);
            AsnReader values = attribute.ReadSetOf(skipSortOrderValidation: true);
            attribute.ThrowIfNotEmpty();
            var read = new List<ReadOnlyMemory<byte>>(1);
            while (values.HasData)
            {
                if (read.Count == MaxAttributes)
                {
                    throw new CmsException(CmsError.LimitExceeded, "too many values in an attribute");
                }

                read.Add(values.ReadEncodedValue());
            }
            if (attributes.Count == MaxAttributes)
            {
                throw new CmsException(CmsError.LimitExceeded, "too many attributes");
            }

            attributes.Add(new CmsAttribute(oid, read));
        }
        return attributes;
    }

    private void CheckAlgorithms()
    {
        if (DigestAlgorithm is null)
        {
            _problems.Add(SignerProblem.DigestUnsupported);
        }

        if (SignatureAlgorithm is null)
        {
            _problems.Add(SignerProblem.SignatureAlgorithmUnsupported);
        }
        else if (SignatureAlgorithm.Hash is { } hash && DigestAlgorithm is { } digest && hash != digest)
        {
            _problems.Add(SignerProblem.AlgorithmsContradict);
        }
        else if (SignatureAlgorithm.Scheme == SignatureScheme.Ed25519
            && DigestAlgorithm is { } edDigest
            && edDigest != HashAlgorithmName.SHA512)
        {
            _problems.Add(SignerProblem.AlgorithmsContradict);
        }
    }

    private void ReadSignedAttributes(
        byte[] encoded, string contentType, ReadOnlyMemory<byte> digest, ReadOnlyMemory<byte> algorithm)
    {
        // RFC 5652 §5.4: the DER encoding is signed, with the tag of SET OF in place of [0], whatever was sent.
        byte[] received = [Der.Set, .. encoded.AsSpan(1)];
        if (Der.IsCanonical(received))
        {
            EncodedSignedAttributes = received;
        }
        else if (received.Length > MaxReencodedAttributes)
        {
            throw new CmsException(CmsError.LimitExceeded, "signed attributes that are too large to be encoded again");
        }
        else
        {
            EncodedSignedAttributes = Der.Reencode(received);
            ReceivedSignedAttributes = received[1] == 0x80 ? null : received;
        }

        SignedAttributes = ReadAttributes(
            new AsnReader(encoded, AsnEncodingRules.BER).ReadSetOf(
                skipSortOrderValidation: true, new Asn1Tag(TagClass.ContextSpecific, 0)));

        var seen = new HashSet<string>();
        foreach (CmsAttribute attribute in SignedAttributes)
        {
            var known =
                attribute.Oid
                is Oids.ContentType
                    or Oids.MessageDigest
                    or Oids.SigningTime
                    or Oids.SigningCertificate
                    or Oids.SigningCertificateV2
                    or Oids.AlgorithmProtection;
            // RFC 5652 §11: the known attributes occur once. Other attributes may occur any number of times.
            if (!seen.Add(attribute.Oid) && known)
            {
                _problems.Add(SignerProblem.AttributeDuplicated);
            }
            // RFC 5652 §11.1 to §11.3, RFC 5035 §3, RFC 6211 §2: exactly one value. Every attribute has a value.
            if (attribute.Values.Count == 0 || (known && attribute.Values.Count > 1))
            {
                _problems.Add(SignerProblem.AttributeMalformed);
            }

            if (!known || attribute.Values.Count == 0)
            {
                continue;
            }

            try
            {
                var value = new AsnReader(attribute.Values[0], AsnEncodingRules.BER);
                ReadAttribute(attribute.Oid, value, contentType, digest, algorithm);
                value.ThrowIfNotEmpty();
            }
            catch (AsnContentException)
            {
                _problems.Add(SignerProblem.AttributeMalformed);
            }
        }
        if (!seen.Contains(Oids.ContentType))
        {
            _problems.Add(SignerProblem.ContentTypeMissing);
        }

        if (MessageDigest is null)
        {
            _problems.Add(SignerProblem.MessageDigestMissing);
        }
    }

    private void ReadAttribute(
        string oid, AsnReader value, string contentType, ReadOnlyMemory<byte> digest, ReadOnlyMemory<byte> algorithm)
    {
        switch (oid)
        {
            case Oids.ContentType:
                if (Oids.Read(value) != contentType)
                {
                    _problems.Add(SignerProblem.ContentTypeContradicts);
                }

                break;
            case Oids.MessageDigest:
                MessageDigest = value.ReadOctetString();
                break;
            case Oids.SigningTime:
                SigningTime = value.PeekTag().HasSameClassAndValue(Asn1Tag.UtcTime)
                    ? value.ReadUtcTime(2049)
                    : value.ReadGeneralizedTime();
                break;
            case Oids.AlgorithmProtection:
                if (!AlgorithmProtection.Matches(value.ReadSequence(), digest, algorithm))
                {
                    _problems.Add(SignerProblem.AlgorithmProtectionContradicts);
                }

                break;
            default:
                if (SigningCertificate.Read(value, oid == Oids.SigningCertificateV2) is { } attribute)
                {
                    _signingCertificates.Add(attribute);
                }
                else
                {
                    _problems.Add(SignerProblem.AttributeMalformed);
                }

                break;
        }
    }
}
