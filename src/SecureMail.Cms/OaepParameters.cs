using System.Formats.Asn1;
using System.Security.Cryptography;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>The parameters of RSAES-OAEP (RFC 4055 §4.1).</summary>
/// <param name="Hash">The hash of the label: SHA1 (the default), SHA224, SHA256, SHA384 or SHA512.</param>
/// <param name="MaskHash">The hash of MGF1, of the same five.</param>
/// <param name="Label">The label, empty by default.</param>
public sealed record OaepParameters(HashAlgorithmName Hash, HashAlgorithmName MaskHash, ReadOnlyMemory<byte> Label)
{
    private const string Sha224 = "2.16.840.1.101.3.4.2.4";

    /// <summary>The same as a padding of .NET; null when .NET has none: it takes one hash for both, not SHA-224, and
    /// the empty label only.</summary>
    public RSAEncryptionPadding? Padding =>
        Hash == MaskHash && Label.IsEmpty && Hash.Name != "SHA224" ? RSAEncryptionPadding.CreateOaep(Hash) : null;

    /// <summary>For messages to people, for example <c>RSAES-OAEP with SHA256, MGF1 with SHA1</c>.</summary>
    public override string ToString() =>
        $"RSAES-OAEP with {Hash}, MGF1 with {MaskHash}" + (Label.IsEmpty ? "" : " and a label");

    /// <summary>Reads what follows the object identifier; null for a hash or a mask generation that is not
    /// supported.</summary>
    /// <exception cref="AsnContentException">The parameters are malformed.</exception>
    internal static OaepParameters? Read(AsnReader algorithm)
    {
        HashAlgorithmName? hash = HashAlgorithmName.SHA1;
        HashAlgorithmName? mask = HashAlgorithmName.SHA1;
        ReadOnlyMemory<byte> label = default;
        // Writers leave the defaults out, write them out, or leave out the parameters altogether.
        if (!algorithm.HasData || algorithm.PeekTag() == Asn1Tag.Null)
        {
            return new OaepParameters(hash.Value, mask.Value, label);
        }

        AsnReader parameters = algorithm.ReadSequence();
        if (Next(0) is { } hashField)
        {
            hash = ReadHash(hashField);
        }

        if (Next(1) is { } maskField)
        {
            AsnReader generation = maskField.ReadSequence();
            mask = Oids.Read(generation) == Oids.Mgf1 ? ReadHash(generation) : null;
        }

        var known = true;
        if (Next(2) is { } labelField)
        {
            AsnReader source = labelField.ReadSequence();
            known = Oids.Read(source) == Oids.PSpecified;
            label = known ? source.ReadOctetString() : default;
        }

        parameters.ThrowIfNotEmpty();
        return known && hash is { } h && mask is { } m && RsaOaep.IsSupported(h) && RsaOaep.IsSupported(m)
            ? new OaepParameters(h, m, label)
            : null;

        AsnReader? Next(int number)
        {
            var tag = new Asn1Tag(TagClass.ContextSpecific, number);
            return parameters.HasData && parameters.PeekTag().HasSameClassAndValue(tag)
                ? parameters.ReadSequence(tag)
                : null;
        }
    }

    private static HashAlgorithmName? ReadHash(AsnReader field)
    {
        AsnReader algorithm = field.ReadSequence();
        field.ThrowIfNotEmpty();
        var oid = Oids.Read(algorithm);
        return !SignatureAlgorithm.HasNoParameters(algorithm) ? null
            : oid == Sha224 ? new HashAlgorithmName("SHA224")
            : SignatureAlgorithm.DigestOf(oid);
    }
}
