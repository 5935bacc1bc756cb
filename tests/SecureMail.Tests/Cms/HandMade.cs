using System.Formats.Asn1;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Tests.Cms;

/// <summary>The one signer of a SignedData, right or wrong.</summary>
/// <param name="Digest">The digest's AlgorithmIdentifier: an object identifier, written without parameters.</param>
/// <param name="Algorithm">The signature's, likewise.</param>
/// <param name="Attributes">Writes the signed attributes into their SET; null: there are none.</param>
/// <param name="Sign">The value over the attributes' SET OF, or over what the test knows.</param>
internal sealed record HandMadeSigner(
    X509Certificate2 Certificate, string Digest, string Algorithm, Action<AsnWriter>? Attributes,
    Func<byte[]?, byte[]> Sign)
{
    /// <summary>Writes the digest's AlgorithmIdentifier in place of <see cref="Digest"/>.</summary>
    public Action<AsnWriter>? WriteDigest { get; init; }

    /// <summary>Writes the signature's in place of <see cref="Algorithm"/>.</summary>
    public Action<AsnWriter>? WriteAlgorithm { get; init; }

    /// <summary>Makes the SET that is sent of the SET in DER; null: the same.</summary>
    public Func<byte[], byte[]>? Send { get; init; }

    /// <summary>CRLs to enclose, in this order.</summary>
    public IReadOnlyList<byte[]>? Crls { get; init; }
}

/// <summary>A detached SignedData whose algorithms and attributes a test writes itself, right or wrong.</summary>
internal static class HandMade
{
    public const string Sha256 = "2.16.840.1.101.3.4.2.1";

    private static readonly Asn1Tag Context0 = new(TagClass.ContextSpecific, 0);

    public static byte[] SignedData(HandMadeSigner signer)
    {
        byte[]? set = null;
        if (signer.Attributes is { } attributes)
        {
            var attributeWriter = new AsnWriter(AsnEncodingRules.DER);
            using (attributeWriter.PushSetOf())
            {
                attributes(attributeWriter);
            }

            set = attributeWriter.Encode();
        }

        var value = signer.Sign(set);
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
                    Algorithm(writer, signer.Digest);
                }

                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier("1.2.840.113549.1.7.1");
                }

                using (writer.PushSetOf(Context0))
                {
                    writer.WriteEncodedValue(signer.Certificate.RawData);
                }

                if (signer.Crls is { } crls)
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
                        writer.WriteEncodedValue(signer.Certificate.IssuerName.RawData);
                        writer.WriteInteger(signer.Certificate.SerialNumberBytes.Span);
                    }

                    (signer.WriteDigest ?? (w => Algorithm(w, signer.Digest)))(writer);
                    if (set is not null)
                    {
                        byte[] retagged = [.. signer.Send?.Invoke(set) ?? set];
                        retagged[0] = 0xA0;
                        writer.WriteEncodedValue(retagged);
                    }

                    (signer.WriteAlgorithm ?? (w => Algorithm(w, signer.Algorithm)))(writer);
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
