using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// A signature without its value. The steps are: prepare (the content is known), let the key sign <see cref="Digest"/>
/// (with Ed25519 <see cref="ToBeSigned"/>), complete.
/// It can be saved and loaded between the steps, because the key may be in another process or on the signatory's
/// computer, days later. The signed attributes (RFC 5652 §5.3) are fixed by the first step: content type, message
/// digest, signing time, signing certificate (RFC 5035), algorithm protection (RFC 6211) and those of the request.
/// Holds no secret.
/// </summary>
public sealed class PreparedSignature
{
    private const int FormatVersion = 1;
    private const int MaxSavedSize = 1 << 20;

    private readonly X509Certificate2 _certificate;
    private readonly byte[][] _chain;
    private readonly SignatureScheme _scheme;
    private readonly byte[] _signedAttributes;
    private readonly SignatureAlgorithm _algorithm;
    private readonly CmsCertificate _signer;

    /// <exception cref="CmsException">The key of the certificate does not fit the scheme.</exception>
    private PreparedSignature(
        X509Certificate2 certificate, byte[][] chain, HashAlgorithmName digest, SignatureScheme scheme,
        byte[] signedAttributes)
    {
        _certificate = certificate;
        _chain = chain;
        _scheme = scheme;
        _signedAttributes = signedAttributes;
        HashAlgorithm = digest;
        _algorithm = SignatureAlgorithm.Of(scheme, digest);
        if (CmsCertificate.Of(certificate) is not { } signer || !_algorithm.IsCompatibleWith(signer))
        {
            throw new CmsException(
                CmsError.CertificateNotUsable, $"the key of the certificate cannot sign with {scheme}");
        }
        // FIPS 186-5 §4: DSA signs nothing new.
        if (scheme == SignatureScheme.Dsa)
        {
            throw new CmsException(CmsError.UnsupportedAlgorithm, "DSA is verified and not written");
        }

        // RFC 8419 §3.1: the message digest is SHA-512, as the hash inside Ed25519.
        if (scheme == SignatureScheme.Ed25519 && digest != HashAlgorithmName.SHA512)
        {
            throw new CmsException(CmsError.UnsupportedAlgorithm, "Ed25519 signs with SHA-512");
        }

        _signer = signer;
        // RFC 5652 §5.4: the DER encoding of the attributes is signed with the tag of SET OF, not [0].
        Digest = CryptographicOperations.HashData(digest, signedAttributes);
    }

    /// <summary>What the key signs, except with Ed25519: the hash of the signed attributes, 32, 48 or 64
    /// bytes.</summary>
    public byte[] Digest { get; }

    /// <summary>
    /// The signed attributes, DER; <see cref="Digest"/> is their hash. A key that hashes by itself signs them. An
    /// Ed25519 key signs them always (RFC 8419 §3.1), because Ed25519 reads the message twice (on a token: CKM_EDDSA).
    /// </summary>
    public ReadOnlyMemory<byte> ToBeSigned => _signedAttributes;

    /// <summary>The hash algorithm of <see cref="Digest"/>; an RSA signature contains it.</summary>
    public HashAlgorithmName HashAlgorithm { get; }

    /// <summary>How the key signs <see cref="Digest"/>.</summary>
    public SignatureScheme Scheme => _scheme;

    /// <summary>The certificate of the key that signs.</summary>
    public X509Certificate2 Certificate => _certificate;

    /// <summary>Fixes the signed attributes.</summary>
    /// <param name="request">Who signs and how.</param>
    /// <param name="contentDigest">The hash of the content by <see cref="SigningRequest.Digest"/>.</param>
    /// <exception cref="CmsException">The key of the certificate does not fit the scheme, or the digest is not
    /// supported.</exception>
    /// <exception cref="ArgumentException">The content digest has a wrong length, or an attribute of the request is not
    /// DER or is one that this class writes itself.</exception>
    public static PreparedSignature Prepare(SigningRequest request, ReadOnlySpan<byte> contentDigest)
    {
        SignatureAlgorithm.DigestOid(request.Digest);
        if (contentDigest.Length != SignatureAlgorithm.HashSize(request.Digest))
        {
            throw new ArgumentException($"not a digest of {request.Digest.Name}", nameof(contentDigest));
        }

        var own = request.Certificate.RawData;
        byte[][] chain =
        [
            .. request
                .Chain.Select(c => c.RawData)
                .Where(c => !c.AsSpan().SequenceEqual(own))
                .DistinctBy(Convert.ToHexString),
        ];
        return new PreparedSignature(
            request.Certificate, chain, request.Digest, request.Scheme, WriteSignedAttributes(request, contentDigest));
    }

    /// <summary>The prepared signature in a format of SecureMail, DER. It contains no private key.</summary>
    public byte[] Save()
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteInteger(FormatVersion);
            writer.WriteInteger((int)_scheme);
            writer.WriteObjectIdentifier(SignatureAlgorithm.DigestOid(HashAlgorithm));
            writer.WriteEncodedValue(_signedAttributes);
            writer.WriteEncodedValue(_certificate.RawDataMemory.Span);
            using (writer.PushSequence())
            {
                foreach (var certificate in _chain)
                {
                    writer.WriteEncodedValue(certificate);
                }
            }
        }
        return writer.Encode();
    }

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    /// <exception cref="CmsException">The input is not a saved prepared signature, or is damaged.</exception>
    public static PreparedSignature Load(ReadOnlyMemory<byte> saved)
    {
        if (saved.Length > MaxSavedSize)
        {
            throw new CmsException(CmsError.LimitExceeded, "the prepared signature is too large");
        }

        try
        {
            var reader = new AsnReader(saved, AsnEncodingRules.DER);
            AsnReader sequence = reader.ReadSequence();
            reader.ThrowIfNotEmpty();
            if (sequence.ReadInteger() != FormatVersion
                || !sequence.TryReadInt32(out var scheme)
                || !Enum.IsDefined((SignatureScheme)scheme))
            {
                throw CmsException.Malformed("a prepared signature of another version");
            }

            HashAlgorithmName digest = SignatureAlgorithm.DigestOf(sequence.ReadObjectIdentifier())
                ?? throw CmsException.Malformed("a prepared signature with an unknown digest");
            SignatureAlgorithm.DigestOid(digest);
            ReadOnlyMemory<byte> attributes = sequence.PeekEncodedValue();
            sequence.ReadSetOf();
            X509Certificate2 certificate = X509CertificateLoader.LoadCertificate(sequence.ReadEncodedValue().Span);
            var chain = new List<byte[]>();
            AsnReader certificates = sequence.ReadSequence();
            while (certificates.HasData)
            {
                chain.Add(certificates.ReadEncodedValue().ToArray());
            }

            sequence.ThrowIfNotEmpty();
            return new PreparedSignature(
                certificate, [.. chain], digest, (SignatureScheme)scheme, attributes.ToArray());
        }
        catch (Exception e) when (e is AsnContentException or CryptographicException)
        {
            throw CmsException.Malformed("not a prepared signature", e);
        }
    }

    /// <summary>Adds the value and returns a detached SignedData in ContentInfo, DER.</summary>
    /// <param name="signatureValue">
    /// The signature over <see cref="Digest"/> or <see cref="ToBeSigned"/>. RSA: as long as the modulus. Ed25519: 64
    /// bytes. ECDSA: r || s, each as long as the order of the curve (IEEE P1363, as PKCS#11 and
    /// <see cref="ECDsa.SignHash(byte[])"/> return it); it is converted to X9.62 DER here.
    /// </param>
    /// <exception cref="CmsException">The value does not verify with the certificate: another key signed, or other
    /// data was signed.</exception>
    public byte[] Complete(ReadOnlySpan<byte> signatureValue)
    {
        var value = VerifyAndEncode(signatureValue);
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(Oids.SignedData);
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
            using (writer.PushSequence())
            {
                WriteVersionAndDigests(writer, HashAlgorithm);
                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier(Oids.Data);
                }

                WriteCertificatesAndSigners(writer, value);
            }
        }
        return writer.Encode();
    }

    /// <summary>Signs with a key of this process and completes the signature. Only SignHash of the key is called, so
    /// that a key on a token can be used.</summary>
    /// <exception cref="CmsException">The key is not that of the certificate.</exception>
    /// <exception cref="ArgumentException">The key is neither RSA nor ECDSA, or does not fit the scheme.</exception>
    public byte[] SignWith(AsymmetricAlgorithm key) => Complete(SignValue(key));

    /// <summary>The raw value that <see cref="Complete"/> takes.</summary>
    internal byte[] SignValue(AsymmetricAlgorithm key) =>
        (_scheme, key) switch
        {
            (SignatureScheme.RsaPkcs1, RSA rsa) => rsa.SignHash(Digest, HashAlgorithm, RSASignaturePadding.Pkcs1),
            (SignatureScheme.RsaPss, RSA rsa) => rsa.SignHash(Digest, HashAlgorithm, RSASignaturePadding.Pss),
            (SignatureScheme.Ecdsa, ECDsa ecdsa) => ecdsa.SignHash(Digest),
            _ => throw new ArgumentException($"the key cannot sign with {_scheme}", nameof(key)),
        };

    /// <summary>Writes version and digestAlgorithms of SignedData (RFC 5652 §5.1). The version is 1, because the
    /// content is id-data and signers are named by issuer and serial number.</summary>
    private static void WriteVersionAndDigests(AsnWriter writer, HashAlgorithmName digest)
    {
        writer.WriteInteger(1);
        using (writer.PushSetOf())
        {
            SignatureAlgorithm.WriteDigest(writer, digest);
        }
    }

    /// <summary>Writes certificates and signerInfos (RFC 5652 §5.1, §5.3).</summary>
    /// <param name="wireValue">The result of <see cref="VerifyAndEncode"/>.</param>
    internal void WriteCertificatesAndSigners(AsnWriter writer, ReadOnlySpan<byte> wireValue)
    {
        using (writer.PushSetOf(new Asn1Tag(TagClass.ContextSpecific, 0)))
        {
            writer.WriteEncodedValue(_certificate.RawDataMemory.Span);
            foreach (var certificate in _chain)
            {
                writer.WriteEncodedValue(certificate);
            }
        }
        using (writer.PushSetOf())
        using (writer.PushSequence())
        {
            writer.WriteInteger(1);
            CertificateIdentifier.Write(writer, _certificate);
            SignatureAlgorithm.WriteDigest(writer, HashAlgorithm);
            byte[] attributes = [.. _signedAttributes];
            attributes[0] = Der.Context0;
            writer.WriteEncodedValue(attributes);
            SignatureAlgorithm.WriteSignature(writer, _scheme, HashAlgorithm);
            writer.WriteOctetString(wireValue);
        }
    }

    /// <summary>The value as it is sent. It is verified, so that a wrong key is found before a message is
    /// sent.</summary>
    internal byte[] VerifyAndEncode(ReadOnlySpan<byte> signatureValue)
    {
        var value = _scheme == SignatureScheme.Ecdsa ? ToDer(signatureValue) : signatureValue.ToArray();
        var valid =
            _scheme == SignatureScheme.Ed25519
                ? _algorithm.VerifyMessage(_signer, _signedAttributes, value)
                : _algorithm.Verify(_signer, Digest, HashAlgorithm, value);
        if (!valid)
        {
            throw new CmsException(
                CmsError.SignatureValueWrong,
                "the signature value does not verify with the certificate: it is of another key or over other data");
        }

        return value;
    }

    /// <summary>RFC 5753 §2.1.1: an ECDSA value is sent as SEQUENCE { r, s }.</summary>
    private static byte[] ToDer(ReadOnlySpan<byte> value)
    {
        if (value.Length is < 2 or > 256 || value.Length % 2 != 0)
        {
            throw new CmsException(CmsError.SignatureValueWrong, "an ECDSA value is r || s, both of the same length");
        }

        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            WriteUnsigned(writer, value[..(value.Length / 2)]);
            WriteUnsigned(writer, value[(value.Length / 2)..]);
        }
        return writer.Encode();

        static void WriteUnsigned(AsnWriter writer, ReadOnlySpan<byte> number)
        {
            var zeros = number.IndexOfAnyExcept((byte)0);
            writer.WriteIntegerUnsigned(zeros < 0 ? [0] : number[zeros..]);
        }
    }

    private static byte[] WriteSignedAttributes(SigningRequest request, ReadOnlySpan<byte> contentDigest)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSetOf())
        {
            using (PushAttribute(writer, Oids.ContentType, out AsnWriter.Scope type))
            using (type)
            {
                writer.WriteObjectIdentifier(Oids.Data);
            }

            using (PushAttribute(writer, Oids.MessageDigest, out AsnWriter.Scope digest))
            using (digest)
            {
                writer.WriteOctetString(contentDigest);
            }

            if (request.SigningTime is { } time)
            {
                using (PushAttribute(writer, Oids.SigningTime, out AsnWriter.Scope signingTime))
                using (signingTime)
                {
                    WriteTime(writer, time.ToUniversalTime());
                }
            }
            using (PushAttribute(writer, Oids.SigningCertificateV2, out AsnWriter.Scope certificate))
            using (certificate)
            {
                SigningCertificate.Write(writer, request.Certificate.RawDataMemory.Span);
            }

            using (PushAttribute(writer, Oids.AlgorithmProtection, out AsnWriter.Scope protection))
            using (protection)
            {
                AlgorithmProtection.Write(writer, request.Scheme, request.Digest);
            }

            foreach (CmsAttribute attribute in request.Attributes)
            {
                WriteAttribute(writer, attribute);
            }
        }
        return writer.Encode();
    }

    private static void WriteAttribute(AsnWriter writer, CmsAttribute attribute)
    {
        if (
            attribute.Oid
                is Oids.ContentType
                    or Oids.MessageDigest
                    or Oids.SigningTime
                    or Oids.SigningCertificate
                    or Oids.SigningCertificateV2
                    or Oids.AlgorithmProtection
            || attribute.Values.Count == 0)
        {
            throw new ArgumentException($"attribute {attribute.Oid} is reserved, or has no value");
        }

        using (PushAttribute(writer, attribute.Oid, out AsnWriter.Scope values))
        using (values)
        {
            foreach (ReadOnlyMemory<byte> value in attribute.Values)
            {
                writer.WriteEncodedValue(value.Span);
            }
        }
    }

    private static AsnWriter.Scope PushAttribute(AsnWriter writer, string oid, out AsnWriter.Scope values)
    {
        AsnWriter.Scope attribute = writer.PushSequence();
        writer.WriteObjectIdentifier(oid);
        values = writer.PushSetOf();
        return attribute;
    }

    /// <summary>RFC 5652 §11.3: UTCTime for 1950 to 2049, GeneralizedTime for the rest; whole seconds.</summary>
    private static void WriteTime(AsnWriter writer, DateTimeOffset time)
    {
        if (time.Year is >= 1950 and < 2050)
        {
            writer.WriteUtcTime(time, 2049);
        }
        else
        {
            writer.WriteGeneralizedTime(time, omitFractionalSeconds: true);
        }
    }
}
