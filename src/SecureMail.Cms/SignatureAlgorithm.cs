using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>
/// What a signature's AlgorithmIdentifier says, and the one place that verifies a signature value: of a signer, and
/// through <see cref="TryRead"/> of a certificate or a CRL too. An algorithm is read here or it is not known: nothing is guessed from the key.
/// </summary>
public sealed class SignatureAlgorithm
{
    private readonly HashAlgorithmName _maskHash;
    private readonly int _saltLength;

    private SignatureAlgorithm(SignatureScheme scheme, HashAlgorithmName? hash, HashAlgorithmName maskHash = default, int saltLength = 0)
    {
        Scheme = scheme;
        Hash = hash;
        _maskHash = maskHash;
        _saltLength = saltLength;
    }

    /// <summary>The scheme.</summary>
    public SignatureScheme Scheme { get; }

    /// <summary>The hash that the identifier names; null for a bare key type (rsaEncryption), where the digest decides.</summary>
    public HashAlgorithmName? Hash { get; }

    /// <summary>Reads a DER or BER AlgorithmIdentifier; null when it is malformed or names nothing that is verified here.</summary>
    public static SignatureAlgorithm? TryRead(ReadOnlyMemory<byte> algorithmIdentifier)
    {
        try
        {
            var reader = new AsnReader(algorithmIdentifier, AsnEncodingRules.BER);
            AsnReader sequence = reader.ReadSequence();
            string oid = sequence.ReadObjectIdentifier();
            return oid switch
            {
                Oids.RsaEncryption => new(SignatureScheme.RsaPkcs1, null),
                Oids.Md5WithRsa => new(SignatureScheme.RsaPkcs1, HashAlgorithmName.MD5),
                Oids.Sha1WithRsa => new(SignatureScheme.RsaPkcs1, HashAlgorithmName.SHA1),
                Oids.Sha256WithRsa => new(SignatureScheme.RsaPkcs1, HashAlgorithmName.SHA256),
                Oids.Sha384WithRsa => new(SignatureScheme.RsaPkcs1, HashAlgorithmName.SHA384),
                Oids.Sha512WithRsa => new(SignatureScheme.RsaPkcs1, HashAlgorithmName.SHA512),
                Oids.RsassaPss => ReadPss(sequence),
                Oids.EcPublicKey => new(SignatureScheme.Ecdsa, null),
                Oids.EcdsaWithSha1 => new(SignatureScheme.Ecdsa, HashAlgorithmName.SHA1),
                Oids.EcdsaWithSha256 => new(SignatureScheme.Ecdsa, HashAlgorithmName.SHA256),
                Oids.EcdsaWithSha384 => new(SignatureScheme.Ecdsa, HashAlgorithmName.SHA384),
                Oids.EcdsaWithSha512 => new(SignatureScheme.Ecdsa, HashAlgorithmName.SHA512),
                _ => null,
            };
        }
        catch (AsnContentException)
        {
            return null;
        }
    }

    /// <summary>
    /// Whether the value is a signature by the certificate's key over the hash. False too when the key is of another kind,
    /// on a curve given by explicit parameters (RFC 5480 §2.1.1 forbids them: they let a forger choose the base point), or not readable.
    /// </summary>
    public bool Verify(X509Certificate2 certificate, ReadOnlySpan<byte> hash, HashAlgorithmName hashAlgorithm, ReadOnlySpan<byte> signature)
    {
        try
        {
            switch (Scheme)
            {
                case SignatureScheme.RsaPkcs1:
                    using (RSA? rsa = certificate.GetRSAPublicKey())
                        return rsa is not null && rsa.VerifyHash(hash, signature, hashAlgorithm, RSASignaturePadding.Pkcs1);
                case SignatureScheme.RsaPss:
                    // RFC 4056 §2.2: a key for RSASSA-PSS alone is accepted too.
                    return certificate.PublicKey.Oid.Value is Oids.RsaEncryption or Oids.RsassaPss
                        && RsaPss.Verify(certificate.PublicKey.ExportSubjectPublicKeyInfo(), hash, hashAlgorithm, _maskHash, _saltLength, signature);
                default:
                    if (certificate.PublicKey.EncodedParameters?.RawData is not [0x06, ..])
                        return false;
                    using (ECDsa? ecdsa = certificate.GetECDsaPublicKey())
                        return ecdsa is not null && ecdsa.VerifyHash(hash, signature, DSASignatureFormat.Rfc3279DerSequence);
            }
        }
        catch (CryptographicException)
        {
            return false;
        }
    }

    internal static string DigestOid(HashAlgorithmName hash) => hash.Name switch
    {
        "SHA256" => Oids.Sha256,
        "SHA384" => Oids.Sha384,
        "SHA512" => Oids.Sha512,
        _ => throw new CmsException(CmsError.UnsupportedAlgorithm, $"signatures are made with SHA-256, SHA-384 or SHA-512, not with {hash.Name}"),
    };

    /// <summary>The hash of a digest's object identifier; null when it is not one of ours. MD5 and SHA-1 are read so that they can be named and refused.</summary>
    internal static HashAlgorithmName? DigestOf(string oid) => oid switch
    {
        Oids.Md5 => HashAlgorithmName.MD5,
        Oids.Sha1 => HashAlgorithmName.SHA1,
        Oids.Sha256 => HashAlgorithmName.SHA256,
        Oids.Sha384 => HashAlgorithmName.SHA384,
        Oids.Sha512 => HashAlgorithmName.SHA512,
        _ => null,
    };

    internal static int HashSize(HashAlgorithmName hash) => hash.Name switch
    {
        "MD5" => 16,
        "SHA1" => 20,
        "SHA256" => 32,
        "SHA384" => 48,
        _ => 64,
    };

    /// <summary>Writes the digest's AlgorithmIdentifier; RFC 5754 §2: parameters are absent.</summary>
    internal static void WriteDigest(AsnWriter writer, HashAlgorithmName hash)
    {
        using (writer.PushSequence())
            writer.WriteObjectIdentifier(DigestOid(hash));
    }

    /// <summary>Writes the signature's AlgorithmIdentifier.</summary>
    internal static void WriteSignature(AsnWriter writer, SignatureScheme scheme, HashAlgorithmName hash)
    {
        using (writer.PushSequence())
        {
            switch (scheme)
            {
                case SignatureScheme.RsaPkcs1:
                    writer.WriteObjectIdentifier(hash.Name switch { "SHA256" => Oids.Sha256WithRsa, "SHA384" => Oids.Sha384WithRsa, _ => Oids.Sha512WithRsa });
                    // RFC 5754 §3.2: the parameters of these are NULL.
                    writer.WriteNull();
                    break;
                case SignatureScheme.Ecdsa:
                    writer.WriteObjectIdentifier(hash.Name switch { "SHA256" => Oids.EcdsaWithSha256, "SHA384" => Oids.EcdsaWithSha384, _ => Oids.EcdsaWithSha512 });
                    break;
                default:
                    writer.WriteObjectIdentifier(Oids.RsassaPss);
                    WritePssParameters(writer, hash);
                    break;
            }
        }
    }

    /// <summary>RFC 4055 §3.1: RSASSA-PSS-params; what equals a default (SHA-1, 20 octets, trailer 1) would be left out, ours never does save the trailer.</summary>
    private static void WritePssParameters(AsnWriter writer, HashAlgorithmName hash)
    {
        using (writer.PushSequence())
        {
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
                WriteDigestWithNull(writer, hash);
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 1)))
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(Oids.Mgf1);
                WriteDigestWithNull(writer, hash);
            }
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 2)))
                writer.WriteInteger(HashSize(hash));
        }

        // RFC 4055 §2.1: inside these parameters NULL is written.
        static void WriteDigestWithNull(AsnWriter writer, HashAlgorithmName hash)
        {
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(DigestOid(hash));
                writer.WriteNull();
            }
        }
    }

    private static SignatureAlgorithm? ReadPss(AsnReader algorithm)
    {
        HashAlgorithmName? hash = HashAlgorithmName.SHA1;
        HashAlgorithmName? mask = HashAlgorithmName.SHA1;
        int saltLength = 20;
        int trailer = 1;
        if (algorithm.HasData)
        {
            AsnReader parameters = algorithm.ReadSequence();
            if (Next(parameters, 0) is { } hashField)
                hash = DigestOf(hashField.ReadSequence().ReadObjectIdentifier());
            if (Next(parameters, 1) is { } maskField)
            {
                AsnReader mgf = maskField.ReadSequence();
                mask = mgf.ReadObjectIdentifier() == Oids.Mgf1 ? DigestOf(mgf.ReadSequence().ReadObjectIdentifier()) : null;
            }
            if (Next(parameters, 2) is { } saltField && (!saltField.TryReadInt32(out saltLength) || saltLength is < 0 or > 4096))
                return null;
            if (Next(parameters, 3) is { } trailerField && !trailerField.TryReadInt32(out trailer))
                return null;
            parameters.ThrowIfNotEmpty();
        }
        return hash is { } h && mask is { } m && trailer == 1 ? new(SignatureScheme.RsaPss, h, m, saltLength) : null;

        static AsnReader? Next(AsnReader reader, int number)
        {
            var tag = new Asn1Tag(TagClass.ContextSpecific, number);
            return reader.HasData && reader.PeekTag().HasSameClassAndValue(tag) ? reader.ReadSequence(tag) : null;
        }
    }
}
