using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>
/// The signature algorithm of an AlgorithmIdentifier. All signature values are verified here: those of signers, and
/// through <see cref="TryRead"/> those of certificates and CRLs. An algorithm comes from the AlgorithmIdentifier only;
/// it is not guessed from the key.
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

    public SignatureScheme Scheme { get; }

    /// <summary>The hash of the identifier; null for the identifier of a key type (rsaEncryption), where the digest
    /// algorithm determines the hash.</summary>
    public HashAlgorithmName? Hash { get; }

    /// <summary>Reads an AlgorithmIdentifier, DER or BER; null when it is malformed or not supported.</summary>
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
                Oids.Dsa => new(SignatureScheme.Dsa, null),
                Oids.DsaWithSha1 => new(SignatureScheme.Dsa, HashAlgorithmName.SHA1),
                Oids.DsaWithSha256 => new(SignatureScheme.Dsa, HashAlgorithmName.SHA256),
                Oids.DsaWithSha384 => new(SignatureScheme.Dsa, HashAlgorithmName.SHA384),
                Oids.DsaWithSha512 => new(SignatureScheme.Dsa, HashAlgorithmName.SHA512),
                _ => null,
            };
            // Parameters. RFC 8410 §3, RFC 8419 §2.2: absent. RFC 5754 §3: NULL for RSA, absent for ECDSA and DSA;
            // accept both for each, because writers differ.
            return
                algorithm is null
                || (algorithm.Scheme == SignatureScheme.Ed25519 ? !sequence.HasData : HasNoParameters(sequence))
                ? algorithm
                : null;
        }
        catch (AsnContentException)
        {
            return null;
        }
    }

    /// <summary>The algorithm that <see cref="WriteSignature"/> writes.</summary>
    internal static SignatureAlgorithm Of(SignatureScheme scheme, HashAlgorithmName hash) =>
        scheme switch
        {
            SignatureScheme.RsaPss => new(scheme, hash, hash, HashSize(hash)),
            SignatureScheme.Ed25519 => new(scheme, null),
            _ => new(scheme, hash),
        };

    /// <summary>
    /// Whether the value is a signature over the message by the key of the certificate. Returns false also when the
    /// identifier names no hash, and when the key is of another kind, on a curve with explicit parameters (RFC 5480
    /// §2.1.1 forbids them, because they let a forger choose the base point), or unreadable.
    /// </summary>
    public bool VerifyMessage(X509Certificate2 certificate, ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature)
    {
        if (CmsCertificate.Of(certificate) is not { } signer || !IsCompatibleWith(signer))
        {
            return false;
        }

        if (Scheme == SignatureScheme.Ed25519)
        {
            return VerifyMessage(signer, message, signature);
        }

        return Hash is { } hash && Verify(signer, CryptographicOperations.HashData(hash, message), hash, signature);
    }

    /// <summary>
    /// As <see cref="VerifyMessage(X509Certificate2, ReadOnlySpan{byte}, ReadOnlySpan{byte})"/> for a message that was
    /// hashed with <see cref="Hash"/> before, so that a large message is hashed once for many keys. False for Ed25519.
    /// </summary>
    public bool VerifyHash(X509Certificate2 certificate, ReadOnlySpan<byte> hash, ReadOnlySpan<byte> signature) =>
        Hash is { } algorithm
        && CmsCertificate.Of(certificate) is { } signer
        && IsCompatibleWith(signer)
        && Verify(signer, hash, algorithm, signature);

    /// <summary>
    /// Whether a signature with the key of the certificate can be computed at all. False for a key of a kind, on a
    /// curve, with parameters or of a size that is not supported: such a signature is not wrong, it is unknown.
    /// </summary>
    public static bool CanVerifyWith(X509Certificate2 certificate) => CmsCertificate.Of(certificate)?.Key is not null;

    /// <summary>Whether the value is a signature over the hash by the key of the certificate; false for Ed25519, which
    /// does not sign a hash.</summary>
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
            SignatureScheme.Dsa => key.VerifyDsa(hash, signature),
            _ => false,
        };
    }

    /// <summary>Whether the value is an Ed25519 signature over the message itself (RFC 8419 §3).</summary>
    internal bool VerifyMessage(CmsCertificate certificate, ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature) =>
        Scheme == SignatureScheme.Ed25519 && certificate.Key is { } key && key.VerifyEd25519(message, signature);

    /// <summary>
    /// Whether the key of the certificate may be used with this algorithm. RFC 4055 §1.2: a key for RSASSA-PSS is used
    /// with no other scheme; §3.3: when the certificate has its parameters, hash and mask are the same and the salt is
    /// not shorter.
    /// </summary>
    internal bool IsCompatibleWith(CmsCertificate certificate)
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
            case Oids.Dsa:
                return Scheme == SignatureScheme.Dsa;
            default:
                return false;
        }
    }

    /// <summary>Whether parameters are absent or NULL. RFC 5754 §2: both must be accepted for a digest.</summary>
    internal static bool HasNoParameters(AsnReader algorithm)
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

    /// <summary>The hash of the object identifier of a digest algorithm; null for an unsupported one. MD5 and SHA-1 are
    /// read, so that they can be named and refused.</summary>
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

    /// <summary>Writes the AlgorithmIdentifier of a digest. RFC 5754 §2: parameters are absent.</summary>
    internal static void WriteDigest(AsnWriter writer, HashAlgorithmName hash)
    {
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(DigestOid(hash));
        }
    }

    /// <summary>Writes the AlgorithmIdentifier of a signature.</summary>
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
                    // RFC 5754 §3.2: the parameters are NULL.
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

    /// <summary>RFC 4055 §3.1: RSASSA-PSS-params. DER leaves out defaults (SHA-1, 20 octets, trailer 1); here only the
    /// trailer is a default.</summary>
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

        // RFC 4055 §2.1: inside these parameters the digest has the parameters NULL.
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
        // RFC 4055 §3.1: the parameters of a signature must be present; absent parameters would mean SHA-1 throughout.
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
            // §3.1: the trailer field is always 1.
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

    /// <summary>Reads the last field of <paramref name="reader"/>, the AlgorithmIdentifier of a digest; null for an
    /// unsupported one.</summary>
    internal static HashAlgorithmName? ReadDigest(AsnReader reader)
    {
        AsnReader algorithm = reader.ReadSequence();
        reader.ThrowIfNotEmpty();
        HashAlgorithmName? digest = DigestOf(Oids.Read(algorithm));
        return HasNoParameters(algorithm) ? digest : null;
    }
}
