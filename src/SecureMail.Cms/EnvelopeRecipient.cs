using System.Formats.Asn1;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>How the content-encryption key is transported to an RSA recipient.</summary>
public enum KeyTransport
{
    /// <summary>
    /// RSAES-PKCS1-v1_5. Common tokens (for example SoftHSM) unwrap OAEP with SHA-1 only, and older tokens not at all.
    /// The recipient counters its weakness as in RFC 3218.
    /// </summary>
    Pkcs1,

    /// <summary>RSAES-OAEP with SHA-1 and MGF1 with SHA-1 (the defaults of RFC 4055 §4.1).</summary>
    OaepSha1,

    /// <summary>RSAES-OAEP with SHA-256 and MGF1 with SHA-256.</summary>
    OaepSha256,
}

/// <summary>
/// A recipient to encrypt to. The key of the certificate is parsed once and kept, so that an object used for many
/// messages costs each message only the encryption. Safe to use from many threads.
/// </summary>
public sealed class EnvelopeRecipient
{
    private static readonly ConditionalWeakTable<X509Certificate2, EnvelopeRecipient> Cache = [];

    private readonly RSA? _rsa;
    private readonly RSAEncryptionPadding _padding;
    private readonly byte[] _transportAlgorithm;
    private readonly byte[] _rid;

    /// <summary>Checks that the key of the certificate can be encrypted to. The caller checks whether the certificate
    /// is the right one, valid, and meant for encryption.</summary>
    /// <param name="certificate">RSA, EC on P-256, P-384 or P-521, or X25519.</param>
    /// <param name="transport">For an RSA key; other keys use key agreement.</param>
    /// <param name="byKeyIdentifier">Names the recipient by subject key identifier in place of issuer and serial
    /// number.</param>
    /// <exception cref="CmsException">The key is of another kind, or the subject key identifier is
    /// missing.</exception>
    public EnvelopeRecipient(
        X509Certificate2 certificate, KeyTransport transport = KeyTransport.Pkcs1, bool byKeyIdentifier = false)
    {
        Certificate = certificate;
        ByKeyIdentifier = byKeyIdentifier;
        if (certificate.PublicKey.Oid.Value == Oids.RsaEncryption)
        {
            _rsa = certificate.GetRSAPublicKey()!;
        }
        else if (!KeyAgreement.IsSupported(certificate.PublicKey))
        {
            throw new CmsException(
                CmsError.CertificateNotUsable,
                "mail can be encrypted to certificates with RSA, P-256, P-384, P-521 and X25519 keys only");
        }

        _padding = transport switch
        {
            KeyTransport.OaepSha1 => RSAEncryptionPadding.OaepSHA1,
            KeyTransport.OaepSha256 => RSAEncryptionPadding.OaepSHA256,
            _ => RSAEncryptionPadding.Pkcs1,
        };
        _transportAlgorithm = EncodeAlgorithm(transport);
        _rid = EncodeIdentifier();
    }

    /// <summary>
    /// The recipient of this certificate with the defaults, cached as long as the certificate object lives, so that a
    /// caller that keeps its certificates (for example a directory) has their keys parsed once.
    /// </summary>
    /// <exception cref="CmsException">The key cannot be encrypted to.</exception>
    public static EnvelopeRecipient Of(X509Certificate2 certificate) =>
        Cache.GetValue(certificate, static c => new EnvelopeRecipient(c));

    /// <summary>The key usage (RFC 5280 §4.2.1.3) that a certificate with this extension needs for encryption:
    /// keyEncipherment for an RSA key, keyAgreement for others.</summary>
    public static X509KeyUsageFlags RequiredKeyUsage(X509Certificate2 certificate) =>
        certificate.PublicKey.Oid.Value is Oids.EcPublicKey or X25519Key.AlgorithmOid
            ? X509KeyUsageFlags.KeyAgreement
            : X509KeyUsageFlags.KeyEncipherment;

    /// <summary>The recipient's certificate.</summary>
    public X509Certificate2 Certificate { get; }

    /// <summary>Whether RecipientInfo names the recipient by subject key identifier.</summary>
    public bool ByKeyIdentifier { get; }

    /// <summary>RFC 5652 §6.1: EnvelopedData has version 0 when this holds for all recipients.</summary>
    internal bool IsVersion0 => _rsa is not null && !ByKeyIdentifier;

    /// <summary>Writes RecipientInfo (RFC 5652 §6.2) with the key wrapped for this recipient.</summary>
    internal void Write(AsnWriter writer, ReadOnlySpan<byte> contentKey)
    {
        if (_rsa is null)
        {
            KeyAgreement.Write(writer, Certificate.PublicKey, _rid, contentKey);
            return;
        }
        using (writer.PushSequence())
        {
            // RFC 5652 §6.2.1: 0 with issuer and serial number, 2 with the subject key identifier.
            writer.WriteInteger(ByKeyIdentifier ? 2 : 0);
            writer.WriteEncodedValue(_rid);
            writer.WriteEncodedValue(_transportAlgorithm);
            writer.WriteOctetString(_rsa.Encrypt(contentKey, _padding));
        }
    }

    /// <summary>RecipientIdentifier or KeyAgreeRecipientIdentifier, DER.</summary>
    private byte[] EncodeIdentifier()
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        if (!ByKeyIdentifier)
        {
            CertificateIdentifier.Write(writer, Certificate);
            return writer.Encode();
        }
        var identifier = CmsCertificate.Of(Certificate)?.SubjectKeyIdentifier()?.ToArray()
            ?? throw new CmsException(
                CmsError.CertificateNotUsable, "a recipient's certificate has no subject key identifier");
        var context0 = new Asn1Tag(TagClass.ContextSpecific, 0);
        if (_rsa is not null)
        {
            writer.WriteOctetString(identifier, context0);
            return writer.Encode();
        }
        // RFC 5652 §6.2.2: rKeyId is a RecipientKeyIdentifier; its optional fields date and other are left out.
        using (writer.PushSequence(context0))
        {
            writer.WriteOctetString(identifier);
        }

        return writer.Encode();
    }

    private static byte[] EncodeAlgorithm(KeyTransport transport)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            if (transport == KeyTransport.Pkcs1)
            {
                writer.WriteObjectIdentifier(Oids.RsaEncryption);
                writer.WriteNull();
            }
            else
            {
                writer.WriteObjectIdentifier(Oids.RsaesOaep);
                // RFC 4055 §4.1: SHA-1 and MGF1 with SHA-1 are the defaults, which DER leaves out.
                using (writer.PushSequence())
                {
                    if (transport == KeyTransport.OaepSha256)
                    {
                        WriteOaepSha256(writer);
                    }
                }
            }
        }
        return writer.Encode();
    }

    private static void WriteOaepSha256(AsnWriter writer)
    {
        using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
        {
            SignatureAlgorithm.WriteDigest(writer, HashAlgorithmName.SHA256);
        }

        using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 1)))
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(Oids.Mgf1);
            SignatureAlgorithm.WriteDigest(writer, HashAlgorithmName.SHA256);
        }
    }
}

/// <summary>A certificate that messages may be encrypted to, and its private key.</summary>
/// <param name="Certificate">Messages name it by issuer and serial number, or by subject key identifier.</param>
/// <param name="Key">
/// <see cref="RSA"/>, of which only Decrypt is called; <see cref="ECDiffieHellman"/>, of which only
/// DeriveRawSecretAgreement is called (a key on a token supports both); or <see cref="X25519Key"/>. Each throws
/// <see cref="CryptographicException"/> for invalid input, and another exception for a token that is not present. A key
/// of another kind is ignored.
/// </param>
public sealed record RecipientKey(X509Certificate2 Certificate, AsymmetricAlgorithm Key)
{
    /// <summary>
    /// Decrypts RSAES-OAEP with parameters that <see cref="OaepParameters.Padding"/> is null for, when the private key
    /// cannot leave its token. It throws as Key does. Null for a key in memory, and for a token that is not asked.
    /// </summary>
    public Func<OaepParameters, byte[], byte[]>? DecryptOaep { get; init; }

    /// <summary>Whether messages can be decrypted with keys of this kind.</summary>
    public static bool IsSupported(AsymmetricAlgorithm key) => key is RSA or ECDiffieHellman or X25519Key;
}
