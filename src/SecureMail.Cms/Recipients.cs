using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>A certificate that mail may have been encrypted to, and its private key.</summary>
/// <param name="Certificate">Recipients are named by issuer and serial number, or by subject key identifier.</param>
/// <param name="Key">
/// Only <see cref="RSA.Decrypt(byte[], RSAEncryptionPadding)"/> is called, so a token's key will do. It throws
/// <see cref="CryptographicException"/> for a padding that is wrong and anything else for a token that is not there.
/// </param>
public sealed record RecipientKey(X509Certificate2 Certificate, RSA Key);

/// <summary>
/// Key transport to RSA recipients (RFC 5652 §6.2.1): the content-encryption key wrapped for each. Other kinds of
/// recipient (agreement, shared key, password) are passed over when reading.
/// </summary>
internal static class Recipients
{
    /// <summary>
    /// RecipientInfos, DER. PKCS#1 v1.5, because common tokens (SoftHSM among them) unwrap OAEP with SHA-1 only and older ones not at all;
    /// the reader's defence against its weakness is RFC 3218's, in <see cref="Unwrap"/>.
    /// </summary>
    public static byte[] Wrap(IReadOnlyList<X509Certificate2> certificates, byte[] contentKey)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSetOf())
        {
            foreach (X509Certificate2 certificate in certificates)
            {
                if (certificate.PublicKey.Oid.Value != Oids.RsaEncryption)
                    throw new CmsException(CmsError.CertificateNotUsable, "mail can be encrypted to RSA certificates only");
                using RSA key = certificate.GetRSAPublicKey()!;
                using (writer.PushSequence())
                {
                    writer.WriteInteger(0);
                    CertificateIdentifier.Write(writer, certificate);
                    using (writer.PushSequence())
                    {
                        writer.WriteObjectIdentifier(Oids.RsaEncryption);
                        writer.WriteNull();
                    }
                    writer.WriteOctetString(key.Encrypt(contentKey, RSAEncryptionPadding.Pkcs1));
                }
            }
        }
        return writer.Encode();
    }

    /// <summary>The content-encryption key for the first of our keys that a recipient names.</summary>
    /// <exception cref="CmsException">None of the keys is named, or the one named is wrapped in a way not supported.</exception>
    public static byte[] Unwrap(byte[] recipientInfos, IReadOnlyList<RecipientKey> keys, int keySize, CmsLimits limits)
    {
        int count = 0;
        AsnReader infos = new AsnReader(recipientInfos, AsnEncodingRules.BER).ReadSetOf(skipSortOrderValidation: true);
        while (infos.HasData)
        {
            if (++count > limits.MaxRecipients)
                throw new CmsException(CmsError.LimitExceeded, "too many recipients");
            if (!infos.PeekTag().HasSameClassAndValue(Asn1Tag.Sequence))
            {
                infos.ReadEncodedValue();
                continue;
            }
            AsnReader info = infos.ReadSequence();
            info.ReadInteger();
            CertificateIdentifier recipient = CertificateIdentifier.Read(info);
            RecipientKey? key = keys.FirstOrDefault(k => recipient.Names(k.Certificate));
            if (key is null)
                continue;
            RSAEncryptionPadding padding = ReadPadding(info.ReadSequence());
            byte[] encryptedKey = info.ReadOctetString();
            info.ThrowIfNotEmpty();
            return Decrypt(key.Key, encryptedKey, padding, keySize);
        }
        throw new CmsException(CmsError.NotForUs, "this is encrypted, and to none of the keys at hand");
    }

    private static byte[] Decrypt(RSA key, byte[] encryptedKey, RSAEncryptionPadding padding, int keySize)
    {
        // RFC 3218 §2.3.2: when the padding or the length is wrong, go on with a random key and fail at the content, as
        // any other wrong message does. It is drawn before, so that both paths do the same work.
        byte[] substitute = RandomNumberGenerator.GetBytes(keySize);
        try
        {
            byte[] contentKey = key.Decrypt(encryptedKey, padding);
            if (contentKey.Length == keySize)
                return contentKey;
            CryptographicOperations.ZeroMemory(contentKey);
        }
        catch (CryptographicException)
        {
            // The padding was wrong; see above.
        }
        return substitute;
    }

    private static RSAEncryptionPadding ReadPadding(AsnReader algorithm)
    {
        switch (algorithm.ReadObjectIdentifier())
        {
            case Oids.RsaEncryption:
                return RSAEncryptionPadding.Pkcs1;
            case Oids.RsaesOaep when ReadOaepHash(algorithm) is { } hash:
                return RSAEncryptionPadding.CreateOaep(hash);
            default:
                throw new CmsException(CmsError.UnsupportedAlgorithm, "the key for us is wrapped in a way that is not supported");
        }
    }

    /// <summary>RFC 4055 §4.1: RSAES-OAEP-params. Only one hash for label and mask, and the empty label, are supported: so it is with the platform and the tokens.</summary>
    private static HashAlgorithmName? ReadOaepHash(AsnReader algorithm)
    {
        HashAlgorithmName? hash = HashAlgorithmName.SHA1;
        HashAlgorithmName? mask = HashAlgorithmName.SHA1;
        if (!algorithm.HasData)
            return hash;
        AsnReader parameters = algorithm.ReadSequence();
        if (Next(0) is { } hashField)
            hash = SignatureAlgorithm.DigestOf(hashField.ReadSequence().ReadObjectIdentifier());
        if (Next(1) is { } maskField)
        {
            AsnReader mgf = maskField.ReadSequence();
            mask = mgf.ReadObjectIdentifier() == Oids.Mgf1 ? SignatureAlgorithm.DigestOf(mgf.ReadSequence().ReadObjectIdentifier()) : null;
        }
        if (Next(2) is { } labelField)
        {
            AsnReader label = labelField.ReadSequence();
            if (label.ReadObjectIdentifier() != Oids.PSpecified || label.ReadOctetString().Length != 0)
                return null;
        }
        return hash == mask && hash != HashAlgorithmName.MD5 ? hash : null;

        AsnReader? Next(int number)
        {
            var tag = new Asn1Tag(TagClass.ContextSpecific, number);
            return parameters.HasData && parameters.PeekTag().HasSameClassAndValue(tag) ? parameters.ReadSequence(tag) : null;
        }
    }
}
