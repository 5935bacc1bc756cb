using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>What is wrong about a signature beside its digest and its value. Any of these makes it
/// unacceptable.</summary>
public enum SignerProblem
{
    /// <summary>The digest algorithm is none that is read here.</summary>
    DigestUnsupported,

    /// <summary>The signature algorithm is none that is read here.</summary>
    SignatureAlgorithmUnsupported,

    /// <summary>
    /// The signature algorithm names another hash than the signer's digest algorithm (RFC 8933 §3.1), is Ed25519 with
    /// another digest than SHA-512 (RFC 8419 §3.1), or is none that the certificate's key may be used for (RFC 4055
    /// §3.3).
    /// </summary>
    AlgorithmsContradict,

    /// <summary>The algorithm-protection attribute names other algorithms than the signer (RFC 6211 §2): they were
    /// exchanged.</summary>
    AlgorithmProtectionContradicts,

    /// <summary>Ed25519 over content without signed attributes, and more content than is held in memory for
    /// it.</summary>
    ContentTooLong,

    /// <summary>A detached signature, and no content was given.</summary>
    ContentMissing,

    /// <summary>The signer's certificate is not there.</summary>
    CertificateMissing,

    /// <summary>The content is not id-data, so there must be signed attributes (RFC 5652 §5.3), and there are
    /// none.</summary>
    SignedAttributesMissing,

    /// <summary>The signed attributes came in a form that cannot be hashed as they came (RFC 5652 §5.4 wants
    /// DER).</summary>
    SignedAttributesNotDer,

    /// <summary>An attribute cannot be read, or has not exactly one value where it must.</summary>
    AttributeMalformed,

    /// <summary>An attribute that may stand once stands twice (RFC 5652 §11).</summary>
    AttributeDuplicated,

    /// <summary>The content-type attribute is missing (RFC 5652 §11.1).</summary>
    ContentTypeMissing,

    /// <summary>The content-type attribute says something else than the content does.</summary>
    ContentTypeContradicts,

    /// <summary>The message-digest attribute is missing (RFC 5652 §11.2).</summary>
    MessageDigestMissing,

    /// <summary>A signing-certificate attribute names another certificate (RFC 2634 §5.4, RFC 5035 §4).</summary>
    SigningCertificateContradicts,

    /// <summary>
    /// There are no signed attributes, and the content is itself the encoding of signed attributes: the signature may
    /// have been made for another message and its attributes passed off as content.
    /// </summary>
    ContentIsSignedAttributes,
}

/// <summary>
/// One SignerInfo (RFC 5652 §5.3) as it was read; nothing in it has been verified. Attributes that are not known here
/// are kept with the known ones. Nothing in the unsigned ones is vouched for by the signer.
/// </summary>
public sealed class CmsSignerInfo
{
    /// <summary>Attributes of one kind, and values of one attribute, that are read; real signers have a
    /// dozen.</summary>
    private const int MaxAttributes = 256;

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

    /// <summary>The digest algorithm; null when it is not one of MD5, SHA1, SHA256, SHA384, SHA512.</summary>
    public HashAlgorithmName? DigestAlgorithm { get; }

    /// <summary>The signature algorithm; null when it is not supported.</summary>
    public SignatureAlgorithm? SignatureAlgorithm { get; }

    /// <summary>The signing-time attribute: what the signer claims, no evidence.</summary>
    public DateTimeOffset? SigningTime { get; private set; }

    /// <summary>The signature value as on the wire.</summary>
    public ReadOnlyMemory<byte> SignatureValue { get; }

    /// <summary>Whether there are signed attributes; without them the value is over the content itself.</summary>
    public bool HasSignedAttributes => SignedOctets is not null;

    /// <summary>The signed attributes in the order they came, known ones and others.</summary>
    public IReadOnlyList<CmsAttribute> SignedAttributes { get; private set; } = [];

    /// <summary>What the signer says its reader can do (RFC 8551 §2.5.2); null when it says nothing, or in a way that
    /// counts for nothing. No problem of the signature.</summary>
    public SmimeCapabilities? Capabilities => SmimeCapabilities.TryRead(SignedAttributes);

    /// <summary>The unsigned attributes in the order they came; anyone may have put them there.</summary>
    public IReadOnlyList<CmsAttribute> UnsignedAttributes { get; private set; } = [];

    /// <summary>What was signed: the signed attributes as SET OF.</summary>
    internal byte[]? SignedOctets { get; private set; }

    internal byte[]? MessageDigest { get; private set; }

    internal IReadOnlyList<SignerProblem> Problems => _problems;

    internal bool Names(CmsCertificate certificate) => _identifier.Names(certificate);

    /// <summary>Whether every signing-certificate attribute names this certificate.</summary>
    internal bool Admits(CmsCertificate certificate)
    {
        foreach (SigningCertificate named in _signingCertificates)
        {
            if (!named.Is(certificate))
            {
                return false;
            }
        }
        return true;
    }

    /// <exception cref="AsnContentException">It is no SignerInfo.</exception>
    /// <exception cref="CmsException">It holds more attributes than are read.</exception>
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
        // RFC 5652 §5.4: hashed with the tag of SET OF in place of [0]; the octets are those received.
        if (encoded[0] != Der.Context0 || encoded[1] == 0x80)
        {
            _problems.Add(SignerProblem.SignedAttributesNotDer);
        }

        SignedOctets = [Der.Set, .. encoded.AsSpan(1)];
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
            // RFC 5652 §11: these stand once. Others may stand as often as they like.
            if (!seen.Add(attribute.Oid) && known)
            {
                _problems.Add(SignerProblem.AttributeDuplicated);
            }
            // RFC 5652 §11.1 to §11.3, RFC 5035 §3, RFC 6211 §2: exactly one value; no attribute has none.
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
                if (!AlgorithmProtection.Agrees(value.ReadSequence(), digest, algorithm))
                {
                    _problems.Add(SignerProblem.AlgorithmProtectionContradicts);
                }

                break;
            default:
                if (SigningCertificate.Read(value, oid == Oids.SigningCertificateV2) is { } named)
                {
                    _signingCertificates.Add(named);
                }
                else
                {
                    _problems.Add(SignerProblem.AttributeMalformed);
                }

                break;
        }
    }
}

/// <summary>What verification found about one signer. It says nothing about trust.</summary>
/// <param name="Signer">The signer as read.</param>
/// <param name="DigestMatches">Whether the content is the content signed; null when that could not be computed.</param>
/// <param name="SignatureMatches">Whether the value is the certificate's over what was signed; null when that could not
/// be computed.</param>
/// <param name="Problems">Everything else that is wrong; empty for a good signature.</param>
public sealed record SignerVerification(
    CmsSignerInfo Signer, bool? DigestMatches, bool? SignatureMatches, IReadOnlyList<SignerProblem> Problems)
{
    internal CmsCertificate? Candidate { get; init; }

    /// <summary>
    /// The certificate the value verified with; when it verified with none, the one that the signer names; null when
    /// that is not there, or the platform cannot read it. It may be shared with others: do not dispose it.
    /// </summary>
    public X509Certificate2? Certificate => Candidate?.Certificate;

    /// <summary>The octets signed are the octets received, by the key of <see cref="Certificate"/>, and nothing
    /// contradicts it.</summary>
    public bool Intact => DigestMatches == true && SignatureMatches == true && Problems.Count == 0;
}
