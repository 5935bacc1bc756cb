using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// A signature that lacks only its value: prepare (the content is known), let the key sign <see cref="Digest"/> (or, by
/// Ed25519, <see cref="ToBeSigned"/>), complete.
/// Between the calls it can be saved and loaded, because the key may be in another process, or in the signatory's own
/// computer, days later. The signed attributes (RFC 5652 §5.3) are fixed when it is prepared: content type, message
/// digest, signing time, signing certificate (RFC 5035), algorithm protection (RFC 6211) and what the request adds.
/// Holds no secret.
/// </summary>
public sealed class PreparedSignature
{
    private const int SaveVersion = 1;
    private const int MaxSaved = 1 << 20;

    private readonly X509Certificate2 _certificate;
    private readonly byte[][] _chain;
    private readonly SignatureScheme _scheme;
    private readonly byte[] _signedAttributes;
    private readonly SignatureAlgorithm _algorithm;
    private readonly CmsCertificate _signer;

    /// <exception cref="CmsException">The certificate's key is not for the scheme.</exception>
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
        if (CmsCertificate.Of(certificate) is not { } signer || !_algorithm.Fits(signer))
        {
            throw new CmsException(CmsError.CertificateNotUsable, $"the certificate's key cannot sign by {scheme}");
        }
        // RFC 8419 §3.1: the message digest is by SHA-512, as Ed25519's own hash is.
        if (scheme == SignatureScheme.Ed25519 && digest != HashAlgorithmName.SHA512)
        {
            throw new CmsException(CmsError.UnsupportedAlgorithm, "Ed25519 signs with SHA-512");
        }

        _signer = signer;
        // RFC 5652 §5.4: what is signed is the DER encoding of the attributes as SET OF, not as [0].
        Digest = CryptographicOperations.HashData(digest, signedAttributes);
    }

    /// <summary>What the key signs: the hash of the signed attributes, 32, 48 or 64 octets. Not so with
    /// Ed25519.</summary>
    public byte[] Digest { get; }

    /// <summary>
    /// What <see cref="Digest"/> is the hash of, DER: the signed attributes. A key that hashes by itself signs these;
    /// an Ed25519 key has to (RFC 8419 §3.1), for it needs the message twice (on a token: CKM_EDDSA).
    /// </summary>
    public ReadOnlyMemory<byte> ToBeSigned => _signedAttributes;

    /// <summary>The algorithm that made <see cref="Digest"/>; part of what an RSA key signs.</summary>
    public HashAlgorithmName HashAlgorithm { get; }

    /// <summary>How the key signs <see cref="Digest"/>.</summary>
    public SignatureScheme Scheme => _scheme;

    /// <summary>The certificate whose key has to sign.</summary>
    public X509Certificate2 Certificate => _certificate;

    /// <summary>Fixes what will be signed.</summary>
    /// <param name="request">Who signs and how.</param>
    /// <param name="contentDigest">The hash of the content by <see cref="SigningRequest.Digest"/>.</param>
    /// <exception cref="CmsException">The certificate's key does not fit the scheme, or the digest is not
    /// supported.</exception>
    /// <exception cref="ArgumentException">The content's digest has another length, or an attribute of the request is
    /// not DER or one of ours.</exception>
    public static PreparedSignature Prepare(SigningRequest request, ReadOnlySpan<byte> contentDigest)
    {
        SignatureAlgorithm.DigestOid(request.Digest);
        if (contentDigest.Length != SignatureAlgorithm.HashSize(request.Digest))
        {
            throw new ArgumentException($"not a digest by {request.Digest.Name}", nameof(contentDigest));
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

    /// <summary>The prepared signature as octets (DER, a format of our own); the certificate's key does not go
    /// along.</summary>
    public byte[] Save()
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteInteger(SaveVersion);
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

    /// <summary>What <see cref="Save"/> wrote.</summary>
    /// <exception cref="CmsException">It is not that, or damaged.</exception>
    public static PreparedSignature Load(ReadOnlyMemory<byte> saved)
    {
        if (saved.Length > MaxSaved)
        {
            throw new CmsException(CmsError.LimitExceeded, "a prepared signature is never so large");
        }

        try
        {
            var reader = new AsnReader(saved, AsnEncodingRules.DER);
            AsnReader sequence = reader.ReadSequence();
            reader.ThrowIfNotEmpty();
            if (sequence.ReadInteger() != SaveVersion
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

    /// <summary>Puts the value in: a detached SignedData in ContentInfo, DER.</summary>
    /// <param name="signatureValue">
    /// What the key made over <see cref="Digest"/> or <see cref="ToBeSigned"/>. RSA: as long as the modulus. Ed25519:
    /// 64 octets. ECDSA: r || s, each as long as the curve's order (IEEE P1363, what PKCS#11 and
    /// <see cref="ECDsa.SignHash(byte[])"/> give); it is turned into X9.62 DER here.
    /// </param>
    /// <exception cref="CmsException">The value does not verify with the certificate: another key signed, or something
    /// else.</exception>
    public byte[] Complete(ReadOnlySpan<byte> signatureValue)
    {
        var value = Checked(signatureValue);
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(Oids.SignedData);
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
            using (writer.PushSequence())
            {
                WriteHead(writer, HashAlgorithm);
                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier(Oids.Data);
                }

                WriteTail(writer, value);
            }
        }
        return writer.Encode();
    }

    /// <summary>Lets a key at hand sign, then completes; of the key only SignHash is called, so that a token's key will
    /// do.</summary>
    /// <exception cref="CmsException">The key is not the certificate's.</exception>
    /// <exception cref="ArgumentException">The key is neither RSA nor ECDSA, or does not fit the scheme.</exception>
    public byte[] SignWith(AsymmetricAlgorithm key) => Complete(SignValue(key));

    /// <summary>The raw value that <see cref="Complete"/> takes.</summary>
    internal byte[] SignValue(AsymmetricAlgorithm key) =>
        (_scheme, key) switch
        {
            (SignatureScheme.RsaPkcs1, RSA rsa) => rsa.SignHash(Digest, HashAlgorithm, RSASignaturePadding.Pkcs1),
            (SignatureScheme.RsaPss, RSA rsa) => rsa.SignHash(Digest, HashAlgorithm, RSASignaturePadding.Pss),
            (SignatureScheme.Ecdsa, ECDsa ecdsa) => ecdsa.SignHash(Digest),
            _ => throw new ArgumentException($"the key cannot sign by {_scheme}", nameof(key)),
        };

    /// <summary>version and digestAlgorithms of SignedData (RFC 5652 §5.1); version 1: id-data, issuer and serial
    /// number.</summary>
    internal static void WriteHead(AsnWriter writer, HashAlgorithmName digest)
    {
        writer.WriteInteger(1);
        using (writer.PushSetOf())
        {
            SignatureAlgorithm.WriteDigest(writer, digest);
        }
    }

    /// <summary>certificates and signerInfos (RFC 5652 §5.1, §5.3); the value as it goes on the wire.</summary>
    internal void WriteTail(AsnWriter writer, ReadOnlySpan<byte> wireValue)
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

    /// <summary>The value in its form on the wire, verified: a wrong key is found before anything leaves.</summary>
    internal byte[] Checked(ReadOnlySpan<byte> signatureValue)
    {
        var value = _scheme == SignatureScheme.Ecdsa ? ToDer(signatureValue) : signatureValue.ToArray();
        var right =
            _scheme == SignatureScheme.Ed25519
                ? _algorithm.VerifyMessage(_signer, _signedAttributes, value)
                : _algorithm.Verify(_signer, Digest, HashAlgorithm, value);
        if (!right)
        {
            throw new CmsException(
                CmsError.SignatureValueWrong,
                "the signature value does not fit the certificate: another key has signed, or other data");
        }

        return value;
    }

    /// <summary>RFC 5753 §2.1.1: on the wire an ECDSA value is SEQUENCE { r, s }.</summary>
    private static byte[] ToDer(ReadOnlySpan<byte> value)
    {
        if (value.Length is < 2 or > 256 || value.Length % 2 != 0)
        {
            throw new CmsException(CmsError.SignatureValueWrong, "an ECDSA value is r || s, both of one length");
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
            throw new ArgumentException($"attribute {attribute.Oid} is written here, or has no value");
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
