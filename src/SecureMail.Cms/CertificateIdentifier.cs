using System.Formats.Asn1;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Cms;

/// <summary>
/// Identifies a certificate by issuer and serial number (RFC 5652 §10.2.4) or by subject key identifier. Names are
/// compared by RFC 5280 §7.1 (<see cref="EncodedName"/>), because some writers encode the issuer again with other
/// string types.
/// </summary>
internal sealed class CertificateIdentifier
{
    private readonly EncodedName? _issuer;
    private readonly byte[]? _serial;
    private readonly byte[]? _keyIdentifier;

    private CertificateIdentifier(EncodedName? issuer, byte[]? serial, byte[]? keyIdentifier)
    {
        _issuer = issuer;
        _serial = serial;
        _keyIdentifier = keyIdentifier;
    }

    /// <summary>Writes IssuerAndSerialNumber of a certificate.</summary>
    public static void Write(AsnWriter writer, X509Certificate2 certificate)
    {
        using (writer.PushSequence())
        {
            writer.WriteEncodedValue(certificate.IssuerName.RawData);
            writer.WriteInteger(certificate.SerialNumberBytes.Span);
        }
    }

    /// <summary>Reads SignerIdentifier or RecipientIdentifier, the same CHOICE in both (RFC 5652 §5.3,
    /// §6.2.1).</summary>
    /// <exception cref="AsnContentException">The element is neither of the two.</exception>
    public static CertificateIdentifier Read(AsnReader reader)
    {
        var keyIdentifier = new Asn1Tag(TagClass.ContextSpecific, 0);
        if (reader.PeekTag().HasSameClassAndValue(keyIdentifier))
        {
            return new CertificateIdentifier(null, null, reader.ReadOctetString(keyIdentifier));
        }

        AsnReader sequence = reader.ReadSequence();
        var issuer = new EncodedName(sequence.ReadEncodedValue().ToArray());
        var serial = sequence.ReadIntegerBytes().ToArray();
        return new CertificateIdentifier(issuer, serial, null);
    }

    /// <summary>Whether this identifier is that of the certificate.</summary>
    public bool Matches(CmsCertificate certificate)
    {
        if (_keyIdentifier is not null)
        {
            return certificate.SubjectKeyIdentifier() is { } own && own.Span.SequenceEqual(_keyIdentifier);
        }

        return certificate.Serial.Span.SequenceEqual(_serial) && certificate.Issuer.Matches(_issuer!);
    }
}
