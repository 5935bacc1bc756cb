using System.Formats.Asn1;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>How content is encrypted when it is written.</summary>
public enum ContentCipher
{
    /// <summary>AES-256-GCM in AuthEnvelopedData (RFC 5083, RFC 5084): confidential, and any change is seen.</summary>
    Aes256Gcm,

    /// <summary>AES-256-CBC in EnvelopedData (RFC 3565), for readers that know no better: a change is not seen.</summary>
    Aes256Cbc,
}

/// <summary>The contentEncryptionAlgorithm of a received object, with its parameters.</summary>
internal sealed record ContentAlgorithm(string Name, int KeySize, bool IsGcm, byte[] Nonce, int TagSize)
{
    /// <exception cref="CmsException">It is not AES-CBC or AES-GCM, or its parameters are wrong.</exception>
    /// <exception cref="AsnContentException">It is malformed.</exception>
    public static ContentAlgorithm Read(ReadOnlyMemory<byte> algorithmIdentifier)
    {
        AsnReader reader = new AsnReader(algorithmIdentifier, AsnEncodingRules.BER).ReadSequence();
        string oid = reader.ReadObjectIdentifier();
        return oid switch
        {
            Oids.Aes128Cbc => ReadCbc("AES-128-CBC", 16, reader),
            Oids.Aes192Cbc => ReadCbc("AES-192-CBC", 24, reader),
            Oids.Aes256Cbc => ReadCbc("AES-256-CBC", 32, reader),
            Oids.Aes128Gcm => ReadGcm("AES-128-GCM", 16, reader),
            Oids.Aes192Gcm => ReadGcm("AES-192-GCM", 24, reader),
            Oids.Aes256Gcm => ReadGcm("AES-256-GCM", 32, reader),
            _ => throw new CmsException(CmsError.UnsupportedAlgorithm, $"the content is encrypted with an algorithm that is not supported ({oid})"),
        };
    }

    private static ContentAlgorithm ReadCbc(string name, int keySize, AsnReader reader)
    {
        // RFC 3565 §4.1: the parameter is the IV, one block.
        byte[] iv = reader.ReadOctetString();
        return iv.Length == 16 ? new ContentAlgorithm(name, keySize, IsGcm: false, iv, 0) : throw CmsException.Malformed("an IV that is not one block");
    }

    private static ContentAlgorithm ReadGcm(string name, int keySize, AsnReader reader)
    {
        // RFC 5084 §3.2: GCMParameters { nonce, ICVlen DEFAULT 12 }, ICVlen 12 to 16.
        AsnReader parameters = reader.ReadSequence();
        byte[] nonce = parameters.ReadOctetString();
        int tagSize = 12;
        if (parameters.HasData && !parameters.TryReadInt32(out tagSize))
            tagSize = 0;
        parameters.ThrowIfNotEmpty();
        if (tagSize is < 12 or > 16)
            throw CmsException.Malformed("a GCM tag of another length than 12 to 16 octets");
        if (nonce.Length is < 1 or > 16)
            throw CmsException.Malformed("a GCM nonce of another length than 1 to 16 octets");
        return new ContentAlgorithm(name, keySize, IsGcm: true, nonce, tagSize);
    }
}
