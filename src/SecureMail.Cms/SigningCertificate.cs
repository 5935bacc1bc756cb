using System.Formats.Asn1;
using System.Security.Cryptography;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// What a signing-certificate attribute says about the signer's own certificate: the first ESSCertID of RFC 2634 §5.4.1
/// (SHA-1) or ESSCertIDv2 of RFC 5035 §4. The signature covers it, so nobody can put another certificate with the same
/// key in its place. Further entries, which would limit the path, and policies are passed over.
/// </summary>
internal sealed class SigningCertificate
{
    private readonly HashAlgorithmName _algorithm;
    private readonly byte[] _hash;
    private readonly ReadOnlyMemory<byte>? _issuer;
    private readonly ReadOnlyMemory<byte> _serial;

    /// <exception cref="AsnContentException">It is no ESSCertID.</exception>
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
        _issuer = names.ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 4)).ReadEncodedValue();
        names.ThrowIfNotEmpty();
        _serial = issuerSerial.ReadIntegerBytes();
        issuerSerial.ThrowIfNotEmpty();
    }

    /// <summary>Reads the attribute's value; null when its hash is none that is known.</summary>
    /// <exception cref="AsnContentException">It is malformed.</exception>
    public static SigningCertificate? Read(AsnReader value, bool version2)
    {
        AsnReader first = value.ReadSequence().ReadSequence().ReadSequence();
        // RFC 5035 §4: SHA-256 unless it says otherwise.
        HashAlgorithmName? algorithm = version2 ? HashAlgorithmName.SHA256 : HashAlgorithmName.SHA1;
        if (version2 && first.PeekTag().HasSameClassAndValue(Asn1Tag.Sequence))
        {
            algorithm = SignatureAlgorithm.ReadDigest(new AsnReader(first.ReadEncodedValue(), AsnEncodingRules.BER));
        }

        return algorithm is { } known ? new SigningCertificate(known, first) : null;
    }

    /// <summary>Whether this certificate is the one named.</summary>
    public bool Is(CmsCertificate certificate) =>
        CryptographicOperations.HashData(_algorithm, certificate.Encoded.Span).AsSpan().SequenceEqual(_hash)
        && (
            _issuer is not { } issuer
            || (
                issuer.Span.SequenceEqual(certificate.Issuer.Span)
                && _serial.Span.SequenceEqual(certificate.Serial.Span)));

    /// <summary>The attribute's value for a certificate: SigningCertificateV2 { certs { ESSCertIDv2 { certHash } } },
    /// by SHA-256.</summary>
    public static void Write(AsnWriter writer, ReadOnlySpan<byte> certificate)
    {
        // The issuer and serial number stand in the signer identifier already (ETSI EN 319 122-1 §5.2.2.3 leaves them
        // out too).
        using (writer.PushSequence())
        using (writer.PushSequence())
        using (writer.PushSequence())
        {
            writer.WriteOctetString(SHA256.HashData(certificate));
        }
    }
}

/// <summary>
/// CMSAlgorithmProtection (RFC 6211): the signer's algorithms once more, among what is signed. The digest and signature
/// algorithms of a SignerInfo themselves are not signed.
/// </summary>
internal static class AlgorithmProtection
{
    /// <summary>Whether it names the algorithms that the signer info names.</summary>
    /// <exception cref="AsnContentException">It is malformed.</exception>
    public static bool Agrees(AsnReader protection, ReadOnlyMemory<byte> digest, ReadOnlyMemory<byte> signature)
    {
        AsnReader protectedDigest = protection.ReadSequence();
        var signatureTag = new Asn1Tag(TagClass.ContextSpecific, 1);
        // RFC 6211 §2: signatureAlgorithm stands where it is used with SignedData, macAlgorithm [2] does not.
        if (!protection.HasData || !protection.PeekTag().HasSameClassAndValue(signatureTag))
        {
            return false;
        }

        AsnReader protectedSignature = protection.ReadSequence(signatureTag);
        return !protection.HasData
            && Same(protectedDigest, new AsnReader(digest, AsnEncodingRules.BER).ReadSequence())
            && Same(protectedSignature, new AsnReader(signature, AsnEncodingRules.BER).ReadSequence());
    }

    /// <summary>The attribute's value.</summary>
    public static void Write(AsnWriter writer, SignatureScheme scheme, HashAlgorithmName hash)
    {
        using (writer.PushSequence())
        {
            SignatureAlgorithm.WriteDigest(writer, hash);
            SignatureAlgorithm.WriteSignature(writer, scheme, hash, new Asn1Tag(TagClass.ContextSpecific, 1));
        }
    }

    /// <summary>The same identifier and parameters; absent and NULL are one (RFC 5754 §2).</summary>
    private static bool Same(AsnReader one, AsnReader other)
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
