using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>What is wrong about a signature beside its digest and its value. Any of these makes it unacceptable.</summary>
public enum SignerProblem
{
    /// <summary>The digest algorithm is none that is read here.</summary>
    DigestUnsupported,

    /// <summary>The signature algorithm is none that is read here.</summary>
    SignatureAlgorithmUnsupported,

    /// <summary>The signature algorithm names another hash than the signer's digest algorithm (RFC 8933 §3.1).</summary>
    AlgorithmsContradict,

    /// <summary>A detached signature, and no content was given.</summary>
    ContentMissing,

    /// <summary>The signer's certificate is not there.</summary>
    CertificateMissing,

    /// <summary>The content is not id-data, so there must be signed attributes (RFC 5652 §5.3), and there are none.</summary>
    SignedAttributesMissing,

    /// <summary>The signed attributes came in a form that cannot be hashed as they came (RFC 5652 §5.4 wants DER).</summary>
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

    /// <summary>The signing-certificate attribute names another certificate (RFC 5035 §5.4).</summary>
    SigningCertificateContradicts,

    /// <summary>
    /// There are no signed attributes, and the content is itself the encoding of signed attributes: the signature may
    /// have been made for another message and its attributes passed off as content.
    /// </summary>
    ContentIsSignedAttributes,
}

/// <summary>One SignerInfo (RFC 5652 §5.3) as it was read; nothing in it has been verified.</summary>
public sealed class CmsSignerInfo
{
    private readonly CertificateIdentifier _identifier;
    private readonly List<SignerProblem> _problems = [];
    private byte[]? _signingCertificateHash;
    private HashAlgorithmName _signingCertificateHashAlgorithm;

    private CmsSignerInfo(CertificateIdentifier identifier, string digestOid, SignatureAlgorithm? algorithm, byte[] signature)
    {
        _identifier = identifier;
        DigestOid = digestOid;
        DigestAlgorithm = SignatureAlgorithm.DigestOf(digestOid);
        SignatureAlgorithm = algorithm;
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
    public bool HasSignedAttributes => SignedAttributes is not null;

    internal byte[]? SignedAttributes { get; private set; }

    internal byte[]? MessageDigest { get; private set; }

    internal IReadOnlyList<SignerProblem> Problems => _problems;

    internal bool Names(X509Certificate2 certificate) => _identifier.Names(certificate);

    /// <summary>Whether the signing-certificate attribute, if any, names this certificate.</summary>
    internal bool Admits(X509Certificate2 certificate) => _signingCertificateHash is null
        || CryptographicOperations.HashData(_signingCertificateHashAlgorithm, certificate.RawDataMemory.Span).AsSpan().SequenceEqual(_signingCertificateHash);

    /// <exception cref="AsnContentException">It is no SignerInfo.</exception>
    internal static CmsSignerInfo Read(AsnReader signers, string contentType)
    {
        AsnReader reader = signers.ReadSequence();
        reader.ReadInteger();
        CertificateIdentifier identifier = CertificateIdentifier.Read(reader);
        string digestOid = ReadAlgorithmOid(reader);
        byte[]? attributes = null;
        var signedAttributesTag = new Asn1Tag(TagClass.ContextSpecific, 0);
        if (reader.PeekTag().HasSameClassAndValue(signedAttributesTag))
            attributes = reader.ReadEncodedValue().ToArray();
        var algorithm = SignatureAlgorithm.TryRead(reader.ReadEncodedValue());
        var signer = new CmsSignerInfo(identifier, digestOid, algorithm, reader.ReadOctetString());
        // unsignedAttrs [1]: nothing in them is signed; timestamps and countersignatures will be read from there.
        if (reader.HasData)
            reader.ReadSetOf(new Asn1Tag(TagClass.ContextSpecific, 1));
        reader.ThrowIfNotEmpty();

        signer.CheckAlgorithms();
        if (attributes is not null)
            signer.ReadSignedAttributes(attributes, contentType);
        else if (contentType != Oids.Data)
            signer._problems.Add(SignerProblem.SignedAttributesMissing);
        return signer;
    }

    private void CheckAlgorithms()
    {
        if (DigestAlgorithm is null)
            _problems.Add(SignerProblem.DigestUnsupported);
        if (SignatureAlgorithm is null)
            _problems.Add(SignerProblem.SignatureAlgorithmUnsupported);
        else if (SignatureAlgorithm.Hash is { } hash && DigestAlgorithm is { } digest && hash != digest)
            _problems.Add(SignerProblem.AlgorithmsContradict);
    }

    private void ReadSignedAttributes(byte[] encoded, string contentType)
    {
        // RFC 5652 §5.4: hashed with the tag of SET OF in place of [0]; the octets are those received.
        if (encoded[0] != Der.Context0 || encoded[1] == 0x80)
            _problems.Add(SignerProblem.SignedAttributesNotDer);
        SignedAttributes = [Der.Set, .. encoded.AsSpan(1)];

        var seen = new HashSet<string>();
        AsnReader attributes = new AsnReader(encoded, AsnEncodingRules.BER).ReadSetOf(skipSortOrderValidation: true, new Asn1Tag(TagClass.ContextSpecific, 0));
        bool contentTypeSeen = false;
        while (attributes.HasData)
        {
            AsnReader attribute = attributes.ReadSequence();
            string oid = attribute.ReadObjectIdentifier();
            AsnReader values = attribute.ReadSetOf(skipSortOrderValidation: true);
            attribute.ThrowIfNotEmpty();
            bool known = oid is Oids.ContentType or Oids.MessageDigest or Oids.SigningTime or Oids.SigningCertificate or Oids.SigningCertificateV2;
            if (!known)
                continue;
            if (!seen.Add(oid))
                _problems.Add(SignerProblem.AttributeDuplicated);
            contentTypeSeen |= oid == Oids.ContentType;
            try
            {
                ReadAttribute(oid, values, contentType);
                values.ThrowIfNotEmpty();
            }
            catch (AsnContentException)
            {
                _problems.Add(SignerProblem.AttributeMalformed);
            }
        }
        if (!contentTypeSeen)
            _problems.Add(SignerProblem.ContentTypeMissing);
        if (MessageDigest is null)
            _problems.Add(SignerProblem.MessageDigestMissing);
    }

    private void ReadAttribute(string oid, AsnReader values, string contentType)
    {
        switch (oid)
        {
            case Oids.ContentType:
                if (values.ReadObjectIdentifier() != contentType)
                    _problems.Add(SignerProblem.ContentTypeContradicts);
                break;
            case Oids.MessageDigest:
                MessageDigest = values.ReadOctetString();
                break;
            case Oids.SigningTime:
                SigningTime = values.PeekTag().HasSameClassAndValue(Asn1Tag.UtcTime) ? values.ReadUtcTime(2049) : values.ReadGeneralizedTime();
                break;
            case Oids.SigningCertificate:
                // RFC 2634 §5.4: SHA-1 always. The newer attribute wins where both stand.
                byte[] hash = values.ReadSequence().ReadSequence().ReadSequence().ReadOctetString();
                if (_signingCertificateHash is null)
                    (_signingCertificateHash, _signingCertificateHashAlgorithm) = (hash, HashAlgorithmName.SHA1);
                break;
            case Oids.SigningCertificateV2:
                // RFC 5035 §3: the first ESSCertIDv2 is the signer's; its hash algorithm is SHA-256 unless it says otherwise.
                AsnReader first = values.ReadSequence().ReadSequence().ReadSequence();
                HashAlgorithmName? algorithm = HashAlgorithmName.SHA256;
                if (first.PeekTag().HasSameClassAndValue(Asn1Tag.Sequence))
                    algorithm = SignatureAlgorithm.DigestOf(ReadAlgorithmOid(first));
                if (algorithm is { } known)
                    (_signingCertificateHash, _signingCertificateHashAlgorithm) = (first.ReadOctetString(), known);
                else
                    _problems.Add(SignerProblem.AttributeMalformed);
                break;
        }
    }

    private static string ReadAlgorithmOid(AsnReader reader) => reader.ReadSequence().ReadObjectIdentifier();
}

/// <summary>What verification found about one signer. It says nothing about trust.</summary>
/// <param name="Signer">The signer as read.</param>
/// <param name="Certificate">The certificate the value verified with; when it verified with none, the one that the signer names; null when that is not there.</param>
/// <param name="DigestMatches">Whether the content is the content signed; null when that could not be computed.</param>
/// <param name="SignatureMatches">Whether the value is the certificate's over what was signed; null when that could not be computed.</param>
/// <param name="Problems">Everything else that is wrong; empty for a good signature.</param>
public sealed record SignerVerification(
    CmsSignerInfo Signer,
    X509Certificate2? Certificate,
    bool? DigestMatches,
    bool? SignatureMatches,
    IReadOnlyList<SignerProblem> Problems)
{
    /// <summary>The octets signed are the octets received, by the key of <see cref="Certificate"/>, and nothing contradicts it.</summary>
    public bool Intact => DigestMatches == true && SignatureMatches == true && Problems.Count == 0;
}
