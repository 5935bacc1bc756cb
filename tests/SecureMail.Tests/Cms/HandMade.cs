using System.Formats.Asn1;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Tests.Cms;

/// <summary>A detached SignedData whose algorithms and attributes a test writes itself, right or wrong.</summary>
internal static class HandMade
{
    public const string Sha256 = "2.16.840.1.101.3.4.2.1";

    private static readonly Asn1Tag Context0 = new(TagClass.ContextSpecific, 0);

    /// <param name="digest">The digest's AlgorithmIdentifier: an object identifier, written without parameters.</param>
    /// <param name="algorithm">The signature's, likewise.</param>
    /// <param name="attributes">Writes the signed attributes into their SET; null: there are none.</param>
    /// <param name="sign">The value over the attributes' SET OF, or over what the test knows.</param>
    /// <param name="writeDigest">Writes the signer's digest AlgorithmIdentifier in place of
    /// <paramref name="digest"/>.</param>
    /// <param name="writeAlgorithm">Writes the signature's in place of <paramref name="algorithm"/>.</param>
    /// <param name="send">Makes the SET that is sent of the SET in DER; null: the same.</param>
    /// <param name="crls">CRLs to enclose, in this order.</param>
    public static byte[] SignedData(
        X509Certificate2 certificate, string digest, string algorithm, Action<AsnWriter>? attributes,
        Func<byte[]?, byte[]> sign, Action<AsnWriter>? writeDigest = null, Action<AsnWriter>? writeAlgorithm = null,
        Func<byte[], byte[]>? send = null, IReadOnlyList<byte[]>? crls = null)
    {
        byte[]? set = null;
        if (attributes is not null)
        {
            var attributeWriter = new AsnWriter(AsnEncodingRules.DER);
            using (attributeWriter.PushSetOf())
            {
                attributes(attributeWriter);
            }

            set = attributeWriter.Encode();
        }
        var value = sign(set);
        var writer = new AsnWriter(AsnEncodingRules.BER);
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier("1.2.840.113549.1.7.2");
            using (writer.PushSequence(Context0))
            using (writer.PushSequence())
            {
                writer.WriteInteger(1);
                using (writer.PushSetOf())
                {
                    Algorithm(writer, digest);
                }

                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier("1.2.840.113549.1.7.1");
                }

                using (writer.PushSetOf(Context0))
                {
                    writer.WriteEncodedValue(certificate.RawData);
                }

                if (crls is not null)
                {
                    // A SEQUENCE is written and tagged as the SET, because the writer would sort a SET.
                    using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 1)))
                    {
                        foreach (var crl in crls)
                        {
                            writer.WriteEncodedValue(crl);
                        }
                    }
                }

                using (writer.PushSetOf())
                using (writer.PushSequence())
                {
                    writer.WriteInteger(1);
                    using (writer.PushSequence())
                    {
                        writer.WriteEncodedValue(certificate.IssuerName.RawData);
                        writer.WriteInteger(certificate.SerialNumberBytes.Span);
                    }
                    (writeDigest ?? (w => Algorithm(w, digest)))(writer);
                    if (set is not null)
                    {
                        byte[] retagged = [.. send?.Invoke(set) ?? set];
                        retagged[0] = 0xA0;
                        writer.WriteEncodedValue(retagged);
                    }
                    (writeAlgorithm ?? (w => Algorithm(w, algorithm)))(writer);
                    writer.WriteOctetString(value);
                }
            }
        }
        return writer.Encode();
    }

    public static void Attribute(AsnWriter writer, string oid, params Action<AsnWriter>?[] values)
    {
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(oid);
            using (writer.PushSetOf())
            {
                foreach (Action<AsnWriter>? value in values)
                {
                    value?.Invoke(writer);
                }
            }
        }
    }

    /// <param name="parameters">Encoded; null: absent.</param>
    public static void Algorithm(AsnWriter writer, string oid, byte[]? parameters = null)
    {
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(oid);
            if (parameters is not null)
            {
                writer.WriteEncodedValue(parameters);
            }
        }
    }
}
