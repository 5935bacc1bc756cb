using System.Formats.Asn1;

namespace SecureMail.Cms.Asn1;

/// <summary>Object identifiers of CMS and its algorithms, with the names of their standards.</summary>
internal static class Oids
{
    // RFC 5652, RFC 5083: content types
    public const string Data = "1.2.840.113549.1.7.1";
    public const string SignedData = "1.2.840.113549.1.7.2";
    public const string EnvelopedData = "1.2.840.113549.1.7.3";
    public const string DigestedData = "1.2.840.113549.1.7.5";
    public const string EncryptedData = "1.2.840.113549.1.7.6";
    public const string AuthenticatedData = "1.2.840.113549.1.9.16.1.2";
    public const string CompressedData = "1.2.840.113549.1.9.16.1.9";
    public const string AuthEnvelopedData = "1.2.840.113549.1.9.16.1.23";

    // RFC 5652 §11, RFC 5035: attributes
    public const string ContentType = "1.2.840.113549.1.9.3";
    public const string MessageDigest = "1.2.840.113549.1.9.4";
    public const string SigningTime = "1.2.840.113549.1.9.5";
    public const string SigningCertificate = "1.2.840.113549.1.9.16.2.12";
    public const string SigningCertificateV2 = "1.2.840.113549.1.9.16.2.47";
    public const string AlgorithmProtection = "1.2.840.113549.1.9.52"; // RFC 6211

    // RFC 5754: digests
    public const string Md5 = "1.2.840.113549.2.5";
    public const string Sha1 = "1.3.14.3.2.26";
    public const string Sha256 = "2.16.840.1.101.3.4.2.1";
    public const string Sha384 = "2.16.840.1.101.3.4.2.2";
    public const string Sha512 = "2.16.840.1.101.3.4.2.3";

    // RFC 8017, RFC 5754: RSA
    public const string RsaEncryption = "1.2.840.113549.1.1.1";
    public const string Md5WithRsa = "1.2.840.113549.1.1.4";
    public const string Sha1WithRsa = "1.2.840.113549.1.1.5";
    public const string RsaesOaep = "1.2.840.113549.1.1.7";
    public const string Mgf1 = "1.2.840.113549.1.1.8";
    public const string PSpecified = "1.2.840.113549.1.1.9";
    public const string RsassaPss = "1.2.840.113549.1.1.10";
    public const string Sha256WithRsa = "1.2.840.113549.1.1.11";
    public const string Sha384WithRsa = "1.2.840.113549.1.1.12";
    public const string Sha512WithRsa = "1.2.840.113549.1.1.13";

    // RFC 5480, RFC 5754: ECDSA
    public const string EcPublicKey = "1.2.840.10045.2.1";
    public const string EcdsaWithSha1 = "1.2.840.10045.4.1";
    public const string EcdsaWithSha256 = "1.2.840.10045.4.3.2";
    public const string EcdsaWithSha384 = "1.2.840.10045.4.3.3";
    public const string EcdsaWithSha512 = "1.2.840.10045.4.3.4";

    // RFC 3279 §2.2.2, §2.3.2, RFC 5754 §3.1: DSA, read and never written. SHA-384 and SHA-512: NIST's register.
    public const string Dsa = "1.2.840.10040.4.1";
    public const string DsaWithSha1 = "1.2.840.10040.4.3";
    public const string DsaWithSha256 = "2.16.840.1.101.3.4.3.2";
    public const string DsaWithSha384 = "2.16.840.1.101.3.4.3.3";
    public const string DsaWithSha512 = "2.16.840.1.101.3.4.3.4";

    // RFC 8410, RFC 8419
    public const string Ed25519 = "1.3.101.112";

    // RFC 3565, RFC 5084: AES
    public const string Aes128Cbc = "2.16.840.1.101.3.4.1.2";
    public const string Aes192Cbc = "2.16.840.1.101.3.4.1.22";
    public const string Aes256Cbc = "2.16.840.1.101.3.4.1.42";
    public const string Aes128Gcm = "2.16.840.1.101.3.4.1.6";
    public const string Aes192Gcm = "2.16.840.1.101.3.4.1.26";
    public const string Aes256Gcm = "2.16.840.1.101.3.4.1.46";

    // RFC 8551 §2.7: read, never written
    public const string TripleDesCbc = "1.2.840.113549.3.7";

    // RFC 9709: content-encryption key derived for one algorithm
    public const string CekHkdfSha256 = "1.2.840.113549.1.9.16.3.31";

    // RFC 3565 §2.3.2: key wrap
    public const string Aes128Wrap = "2.16.840.1.101.3.4.1.5";
    public const string Aes192Wrap = "2.16.840.1.101.3.4.1.25";
    public const string Aes256Wrap = "2.16.840.1.101.3.4.1.45";

    // RFC 5753 §7.1.4: ephemeral-static ECDH with the KDF of X9.63
    public const string StdDhSha1Kdf = "1.3.133.16.840.63.0.2";
    public const string StdDhSha256Kdf = "1.3.132.1.11.1";
    public const string StdDhSha384Kdf = "1.3.132.1.11.2";
    public const string StdDhSha512Kdf = "1.3.132.1.11.3";
    public const string CofactorDhSha1Kdf = "1.3.133.16.840.63.0.3";
    public const string CofactorDhSha256Kdf = "1.3.132.1.14.1";
    public const string CofactorDhSha384Kdf = "1.3.132.1.14.2";
    public const string CofactorDhSha512Kdf = "1.3.132.1.14.3";

    // RFC 8418 §2.2: the same with HKDF
    public const string StdDhHkdfSha256 = "1.2.840.113549.1.9.16.3.19";
    public const string StdDhHkdfSha384 = "1.2.840.113549.1.9.16.3.20";
    public const string StdDhHkdfSha512 = "1.2.840.113549.1.9.16.3.21";

    // RFC 9629 §3: KEMRecipientInfo as an OtherRecipientInfo
    public const string OtherRecipientKem = "1.2.840.113549.1.9.16.13.3";

    // RFC 8551 §2.5.2
    public const string SmimeCapabilities = "1.2.840.113549.1.9.15";

    // RFC 5280 §4.2.1.2
    public const string SubjectKeyIdentifier = "2.5.29.14";

    /// <summary>Bytes of contents of an object identifier at most; the longest in use has about twenty.</summary>
    private const int MaxContentsSize = 128;

    /// <summary>Reads an object identifier. A long one is refused, because the conversion of a megabyte to decimal
    /// digits takes minutes.</summary>
    /// <exception cref="AsnContentException">The next element is not an object identifier, or is too long.</exception>
    public static string Read(AsnReader reader)
    {
        if (reader.PeekTag() == Asn1Tag.ObjectIdentifier && reader.PeekContentBytes().Length > MaxContentsSize)
        {
            throw new AsnContentException("an object identifier that is too long");
        }

        return reader.ReadObjectIdentifier();
    }
}
