using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>
/// What a signature's AlgorithmIdentifier says, and the one place that verifies a signature value: of a signer, and
/// through <see cref="TryRead"/> of a certificate or a CRL too. An algorithm is read here or it is not known: nothing
/// is guessed from the key.
/// </summary>
public sealed class SignatureAlgorithm
{
    private readonly HashAlgorithmName _maskHash;
    private readonly int _saltLength;

    private SignatureAlgorithm(
        SignatureScheme scheme, HashAlgorithmName? hash, HashAlgorithmName maskHash = default, int saltLength = 0)
    {
        Scheme = scheme;
        Hash = hash;
        _maskHash = maskHash;
        _saltLength = saltLength;
    }

    /// <summary>The scheme.</summary>
    public SignatureScheme Scheme { get; }

    /// <summary>The hash that the identifier names; null for a bare key type (rsaEncryption), where the digest
    /// decides.</summary>
    public HashAlgorithmName? Hash { get; }

    /// <summary>Reads a DER or BER AlgorithmIdentifier; null when it is malformed or names nothing that is verified
    /// here.</summary>
    public static SignatureAlgorithm? TryRead(ReadOnlyMemory<byte> algorithmIdentifier)
    {
        try
        {
            var reader = new AsnReader(algorithmIdentifier, AsnEncodingRules.BER);
            AsnReader sequence = reader.ReadSequence();
            reader.ThrowIfNotEmpty();
            var oid = Oids.Read(sequence);
            if (oid == Oids.RsassaPss)
            {
                return ReadPss(sequence);
            }

            SignatureAlgorithm? algorithm = oid switch
            {
                Oids.RsaEncryption => new(SignatureScheme.RsaPkcs1, null),
                Oids.Md5WithRsa => new(SignatureScheme.RsaPkcs1, HashAlgorithmName.MD5),
                Oids.Sha1WithRsa => new(SignatureScheme.RsaPkcs1, HashAlgorithmName.SHA1),
                Oids.Sha256WithRsa => new(SignatureScheme.RsaPkcs1, HashAlgorithmName.SHA256),
                Oids.Sha384WithRsa => new(SignatureScheme.RsaPkcs1, HashAlgorithmName.SHA384),
                Oids.Sha512WithRsa => new(SignatureScheme.RsaPkcs1, HashAlgorithmName.SHA512),
                Oids.EcPublicKey => new(SignatureScheme.Ecdsa, null),
                Oids.EcdsaWithSha1 => new(SignatureScheme.Ecdsa, HashAlgorithmName.SHA1),
                Oids.EcdsaWithSha256 => new(SignatureScheme.Ecdsa, HashAlgorithmName.SHA256),
                Oids.EcdsaWithSha384 => new(SignatureScheme.Ecdsa, HashAlgorithmName.SHA384),
                Oids.EcdsaWithSha512 => new(SignatureScheme.Ecdsa, HashAlgorithmName.SHA512),
                Oids.Ed25519 => new(SignatureScheme.Ed25519, null),
                _ => null,
            };
            // RFC 8410 §3, RFC 8419 §2.2: absent. RFC 5754 §3: NULL for RSA, absent for ECDSA; both are met for each.
            return
                algorithm is null
                || (algorithm.Scheme == SignatureScheme.Ed25519 ? !sequence.HasData : NoParameters(sequence))
                ? algorithm
                : null;
        }
        catch (AsnContentException)
        {
            return null;
        }
    }

    /// <summary>What <see cref="WriteSignature"/> writes.</summary>
    internal static SignatureAlgorithm Of(SignatureScheme scheme, HashAlgorithmName hash) =>
        scheme switch
        {
            SignatureScheme.RsaPss => new(scheme, hash, hash, HashSize(hash)),
            SignatureScheme.Ed25519 => new(scheme, null),
            _ => new(scheme, hash),
        };

    /// <summary>
    /// Whether the value is a signature by the certificate's key over the message. False too when the identifier does
    /// not say by which hash, and when the key is of another kind, on a curve given by explicit parameters (RFC 5480
    /// §2.1.1 forbids them: they let a forger choose the base point), or not readable.
    /// </summary>
    public bool VerifyMessage(X509Certificate2 certificate, ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature)
    {
        if (CmsCertificate.Of(certificate) is not { } signer || !Fits(signer))
        {
            return false;
        }

        if (Scheme == SignatureScheme.Ed25519)
        {
            return VerifyMessage(signer, message, signature);
        }

        return Hash is { } hash && Verify(signer, CryptographicOperations.HashData(hash, message), hash, signature);
    }

    /// <summary>Whether a value over this hash is the certificate's. Ed25519 signs no hashes: false.</summary>
    internal bool Verify(
        CmsCertificate certificate, ReadOnlySpan<byte> hash, HashAlgorithmName hashAlgorithm,
        ReadOnlySpan<byte> signature)
    {
        if (certificate.Key is not { } key)
        {
            return false;
        }

        return Scheme switch
        {
            SignatureScheme.RsaPkcs1 => key.VerifyRsaPkcs1(hash, hashAlgorithm, signature),
            SignatureScheme.RsaPss => key.VerifyRsaPss(hash, hashAlgorithm, _maskHash, _saltLength, signature),
            SignatureScheme.Ecdsa => key.VerifyEcdsa(hash, signature),
            _ => false,
        };
    }

    /// <summary>Ed25519 over the message itself (RFC 8419 §3).</summary>
    internal bool VerifyMessage(CmsCertificate certificate, ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature) =>
        Scheme == SignatureScheme.Ed25519 && certificate.Key is { } key && key.VerifyEd25519(message, signature);

    /// <summary>
    /// Whether a key may be used so. RFC 4055 §1.2: a key for RSASSA-PSS signs by nothing else; §3.3: where its
    /// parameters stand in the certificate, hash and mask are those, and the salt is no shorter.
    /// </summary>
    internal bool Fits(CmsCertificate certificate)
    {
        switch (certificate.KeyAlgorithm)
        {
            case Oids.RsaEncryption:
                return Scheme is SignatureScheme.RsaPkcs1 or SignatureScheme.RsaPss;
            case Oids.RsassaPss:
                if (Scheme != SignatureScheme.RsaPss)
                {
                    return false;
                }

                if (certificate.KeyParameters.IsEmpty)
                {
                    return true;
                }

                return TryReadPssParameters(certificate.KeyParameters) is { } key
                    && key.Hash == Hash
                    && key._maskHash == _maskHash
                    && key._saltLength <= _saltLength;
            case Oids.EcPublicKey:
                return Scheme == SignatureScheme.Ecdsa;
            case Oids.Ed25519:
                return Scheme == SignatureScheme.Ed25519;
            default:
                return false;
        }
    }

    /// <summary>RFC 5754 §2: the parameters of a digest are absent or NULL, and both must be taken.</summary>
    internal static bool NoParameters(AsnReader algorithm)
    {
        if (!algorithm.HasData)
        {
            return true;
        }

        return algorithm.ReadEncodedValue().Span is [0x05, 0x00] && !algorithm.HasData;
    }

    internal static string DigestOid(HashAlgorithmName hash) =>
        hash.Name switch
        {
            "SHA256" => Oids.Sha256,
            "SHA384" => Oids.Sha384,
            "SHA512" => Oids.Sha512,
            _ => throw new CmsException(
                CmsError.UnsupportedAlgorithm,
                $"signatures are made with SHA-256, SHA-384 or SHA-512, not with {hash.Name}"),
        };

    /// <summary>The hash of a digest's object identifier; null when it is not one of ours. MD5 and SHA-1 are read so
    /// that they can be named and refused.</summary>
    internal static HashAlgorithmName? DigestOf(string oid) =>
        oid switch
        {
            Oids.Md5 => HashAlgorithmName.MD5,
            Oids.Sha1 => HashAlgorithmName.SHA1,
            Oids.Sha256 => HashAlgorithmName.SHA256,
            Oids.Sha384 => HashAlgorithmName.SHA384,
            Oids.Sha512 => HashAlgorithmName.SHA512,
            _ => null,
        };

    internal static int HashSize(HashAlgorithmName hash) =>
        hash.Name switch
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
        {
            writer.WriteObjectIdentifier(DigestOid(hash));
        }
    }

    /// <summary>Writes the signature's AlgorithmIdentifier.</summary>
    internal static void WriteSignature(
        AsnWriter writer, SignatureScheme scheme, HashAlgorithmName hash, Asn1Tag? tag = null)
    {
        using (writer.PushSequence(tag))
        {
            switch (scheme)
            {
                case SignatureScheme.RsaPkcs1:
                    writer.WriteObjectIdentifier(
                        hash.Name switch
                        {
                            "SHA256" => Oids.Sha256WithRsa,
                            "SHA384" => Oids.Sha384WithRsa,
                            _ => Oids.Sha512WithRsa,
                        });
                    // RFC 5754 §3.2: the parameters of these are NULL.
                    writer.WriteNull();
                    break;
                case SignatureScheme.Ed25519:
                    writer.WriteObjectIdentifier(Oids.Ed25519);
                    break;
                case SignatureScheme.Ecdsa:
                    writer.WriteObjectIdentifier(
                        hash.Name switch
                        {
                            "SHA256" => Oids.EcdsaWithSha256,
                            "SHA384" => Oids.EcdsaWithSha384,
                            _ => Oids.EcdsaWithSha512,
                        });
                    break;
                default:
                    writer.WriteObjectIdentifier(Oids.RsassaPss);
                    WritePssParameters(writer, hash);
                    break;
            }
        }
    }

    /// <summary>RFC 4055 §3.1: RSASSA-PSS-params; what equals a default (SHA-1, 20 octets, trailer 1) would be left
    /// out, ours never does save the trailer.</summary>
    private static void WritePssParameters(AsnWriter writer, HashAlgorithmName hash)
    {
        using (writer.PushSequence())
        {
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
            {
                WriteDigestWithNull(writer, hash);
            }

            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 1)))
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(Oids.Mgf1);
                WriteDigestWithNull(writer, hash);
            }
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 2)))
            {
                writer.WriteInteger(HashSize(hash));
            }
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
        // RFC 4055 §3.1: beside a signature the parameters must stand; left out, they would mean SHA-1 throughout.
        if (!algorithm.HasData)
        {
            return null;
        }

        SignatureAlgorithm? read = TryReadPssParameters(algorithm.ReadEncodedValue());
        return algorithm.HasData ? null : read;
    }

    /// <summary>RFC 4055 §3.1: RSASSA-PSS-params with its defaults.</summary>
    private static SignatureAlgorithm? TryReadPssParameters(ReadOnlyMemory<byte> encoded)
    {
        try
        {
            HashAlgorithmName? hash = HashAlgorithmName.SHA1;
            HashAlgorithmName? mask = HashAlgorithmName.SHA1;
            var saltLength = 20;
            var trailer = 1;
            AsnReader parameters = new AsnReader(encoded, AsnEncodingRules.BER).ReadSequence();
            if (Next(parameters, 0) is { } hashField)
            {
                hash = ReadDigest(hashField);
            }

            if (Next(parameters, 1) is { } maskField)
            {
                AsnReader mgf = maskField.ReadSequence();
                maskField.ThrowIfNotEmpty();
                mask = Oids.Read(mgf) == Oids.Mgf1 ? ReadDigest(mgf) : null;
            }
            if (Next(parameters, 2) is { } saltField
                && (!saltField.TryReadInt32(out saltLength) || saltLength is < 0 or > 4096 || saltField.HasData))
            {
                return null;
            }

            if (Next(parameters, 3) is { } trailerField
                && (!trailerField.TryReadInt32(out trailer) || trailerField.HasData))
            {
                return null;
            }

            parameters.ThrowIfNotEmpty();
            // §3.1: the trailer field is 1, there is no other.
            return hash is { } h && mask is { } m && trailer == 1
                ? new(SignatureScheme.RsaPss, h, m, saltLength)
                : null;
        }
        catch (AsnContentException)
        {
            return null;
        }

        static AsnReader? Next(AsnReader reader, int number)
        {
            var tag = new Asn1Tag(TagClass.ContextSpecific, number);
            return reader.HasData && reader.PeekTag().HasSameClassAndValue(tag) ? reader.ReadSequence(tag) : null;
        }
    }

    /// <summary>The last field of <paramref name="reader"/>, a digest's AlgorithmIdentifier; null when it is none of
    /// ours.</summary>
    internal static HashAlgorithmName? ReadDigest(AsnReader reader)
    {
        AsnReader algorithm = reader.ReadSequence();
        reader.ThrowIfNotEmpty();
        HashAlgorithmName? digest = DigestOf(Oids.Read(algorithm));
        return NoParameters(algorithm) ? digest : null;
    }
}
