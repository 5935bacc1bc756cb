using System.Formats.Asn1;
using System.Security.Cryptography;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// The part of a signing-certificate attribute that identifies the certificate of the signer: the first ESSCertID of
/// RFC 2634 §5.4.1 (SHA-1) or ESSCertIDv2 of RFC 5035 §4. The signature covers it, so the certificate cannot be
/// replaced by another one with the same key. Further entries, which would limit the path, and policies are ignored.
/// </summary>
internal sealed class SigningCertificate
{
    private readonly HashAlgorithmName _algorithm;
    private readonly byte[] _hash;
    private readonly EncodedName? _issuer;
    private readonly ReadOnlyMemory<byte> _serial;

    /// <exception cref="AsnContentException">The element is not an ESSCertID.</exception>
    private SigningCertificate(HashAlgorithmName algorithm, AsnReader rest)
    {
        _algorithm = algorithm;
        _hash = rest.ReadOctetString();
        if (!rest.HasData)
        {
            return;
        }
        // IssuerSerial { GeneralNames, CertificateSerialNumber }; RFC 5035 §4: the issuer is one directoryName.
        AsnReader issuerSerial = rest.ReadSequence();
        rest.ThrowIfNotEmpty();
        AsnReader names = issuerSerial.ReadSequence();
        _issuer = new EncodedName(names.ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 4)).ReadEncodedValue());
        names.ThrowIfNotEmpty();
        _serial = issuerSerial.ReadIntegerBytes();
        issuerSerial.ThrowIfNotEmpty();
    }

    /// <summary>Reads the value of the attribute; null when its hash algorithm is unknown.</summary>
    /// <exception cref="AsnContentException">The value is malformed.</exception>
    public static SigningCertificate? Read(AsnReader value, bool version2)
    {
        AsnReader first = value.ReadSequence().ReadSequence().ReadSequence();
        // RFC 5035 §4: SHA-256 is the default.
        HashAlgorithmName? algorithm = version2 ? HashAlgorithmName.SHA256 : HashAlgorithmName.SHA1;
        if (version2 && first.PeekTag().HasSameClassAndValue(Asn1Tag.Sequence))
        {
            algorithm = SignatureAlgorithm.ReadDigest(new AsnReader(first.ReadEncodedValue(), AsnEncodingRules.BER));
        }

        return algorithm is { } known ? new SigningCertificate(known, first) : null;
    }

    /// <summary>Whether the attribute identifies this certificate.</summary>
    public bool Matches(CmsCertificate certificate) =>
        CryptographicOperations.HashData(_algorithm, certificate.Encoded.Span).AsSpan().SequenceEqual(_hash)
        && (
            _issuer is not { } issuer
            || (_serial.Span.SequenceEqual(certificate.Serial.Span) && issuer.Matches(certificate.Issuer)));

    /// <summary>Writes the value of the attribute for a certificate: SigningCertificateV2 { certs { ESSCertIDv2 {
    /// certHash } } }, with SHA-256.</summary>
    public static void Write(AsnWriter writer, ReadOnlySpan<byte> certificate)
    {
        // Leave out issuer and serial number, because the signer identifier has them (so does ETSI EN 319 122-1
        // §5.2.2.3).
        using (writer.PushSequence())
        using (writer.PushSequence())
        using (writer.PushSequence())
        {
            writer.WriteOctetString(SHA256.HashData(certificate));
        }
    }
}

/// <summary>
/// CMSAlgorithmProtection (RFC 6211): repeats the algorithms of the signer in the signed attributes, because the
/// signature does not cover the digest and signature algorithms of a SignerInfo.
/// </summary>
internal static class AlgorithmProtection
{
    /// <summary>Whether the attribute has the same algorithms as the SignerInfo.</summary>
    /// <exception cref="AsnContentException">The value is malformed.</exception>
    public static bool Matches(AsnReader protection, ReadOnlyMemory<byte> digest, ReadOnlyMemory<byte> signature)
    {
        AsnReader protectedDigest = protection.ReadSequence();
        var signatureTag = new Asn1Tag(TagClass.ContextSpecific, 1);
        // RFC 6211 §2: in SignedData signatureAlgorithm is present and macAlgorithm [2] is absent.
        if (!protection.HasData || !protection.PeekTag().HasSameClassAndValue(signatureTag))
        {
            return false;
        }

        AsnReader protectedSignature = protection.ReadSequence(signatureTag);
        return !protection.HasData
            && IsSame(protectedDigest, new AsnReader(digest, AsnEncodingRules.BER).ReadSequence())
            && IsSame(protectedSignature, new AsnReader(signature, AsnEncodingRules.BER).ReadSequence());
    }

    /// <summary>Writes the value of the attribute.</summary>
    public static void Write(AsnWriter writer, SignatureScheme scheme, HashAlgorithmName hash)
    {
        using (writer.PushSequence())
        {
            SignatureAlgorithm.WriteDigest(writer, hash);
            SignatureAlgorithm.WriteSignature(writer, scheme, hash, new Asn1Tag(TagClass.ContextSpecific, 1));
        }
    }

    /// <summary>Whether identifier and parameters are the same; absent parameters and NULL are equal (RFC 5754
    /// §2).</summary>
    private static bool IsSame(AsnReader one, AsnReader other)
    {
        if (Oids.Read(one) != Oids.Read(other))
        {
            return false;
        }

        return Parameters(one).Span.SequenceEqual(Parameters(other).Span);

        static ReadOnlyMemory<byte> Parameters(AsnReader algorithm)
        {
            ReadOnlyMemory<byte> parameters = algorithm.HasData ? algorithm.ReadEncodedValue() : default;
            algorithm.ThrowIfNotEmpty();
            return parameters.Span is [0x05, 0x00] ? default : parameters;
        }
    }
}
