using System.Formats.Asn1;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>How the content's key is transported to an RSA recipient.</summary>
public enum KeyTransport
{
    /// <summary>
    /// RSAES-PKCS1-v1_5. Common tokens (SoftHSM among them) unwrap OAEP with SHA-1 only and older ones not at all; the
    /// reader's defence against its weakness is RFC 3218's.
    /// </summary>
    Pkcs1,

    /// <summary>RSAES-OAEP, SHA-1 and its mask (RFC 4055 §4.1's defaults).</summary>
    OaepSha1,

    /// <summary>RSAES-OAEP, SHA-256 and its mask.</summary>
    OaepSha256,
}

/// <summary>
/// Someone to encrypt to. The certificate's key is parsed once and kept: an object that is used for many messages costs
/// each of them the encryption alone. Safe for use by many threads.
/// </summary>
public sealed class EnvelopeRecipient
{
    private static readonly ConditionalWeakTable<X509Certificate2, EnvelopeRecipient> Known = [];

    private readonly RSA? _rsa;
    private readonly RSAEncryptionPadding _padding;
    private readonly byte[] _transportAlgorithm;
    private readonly byte[] _rid;

    /// <summary>Checks that the certificate's key can be encrypted to; whether it is the right one, valid, and meant
    /// for it, is for the caller to know.</summary>
    /// <param name="certificate">RSA, EC on P-256, P-384 or P-521, or X25519.</param>
    /// <param name="transport">For an RSA key; others are agreed with.</param>
    /// <param name="byKeyIdentifier">Names the recipient by subject key identifier in place of issuer and serial
    /// number.</param>
    /// <exception cref="CmsException">The key is of another kind, or there is no subject key identifier.</exception>
    public EnvelopeRecipient(
        X509Certificate2 certificate, KeyTransport transport = KeyTransport.Pkcs1, bool byKeyIdentifier = false)
    {
        Certificate = certificate;
        ByKeyIdentifier = byKeyIdentifier;
        if (certificate.PublicKey.Oid.Value == Oids.RsaEncryption)
        {
            _rsa = certificate.GetRSAPublicKey()!;
        }
        else if (!KeyAgreement.Serves(certificate.PublicKey))
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
        _transportAlgorithm = TransportAlgorithm(transport);
        _rid = Rid();
    }

    /// <summary>
    /// The recipient of this certificate in the default way, kept for as long as the certificate object lives: whoever
    /// holds on to his certificates (a directory, say) has their keys parsed once.
    /// </summary>
    /// <exception cref="CmsException">The key cannot be encrypted to.</exception>
    public static EnvelopeRecipient Of(X509Certificate2 certificate) =>
        Known.GetValue(certificate, static c => new EnvelopeRecipient(c));

    /// <summary>The key usage (RFC 5280 §4.2.1.3) that a certificate to be encrypted to has, where it has any: an RSA
    /// key enciphers keys, others agree on them.</summary>
    public static X509KeyUsageFlags UsageOf(X509Certificate2 certificate) =>
        certificate.PublicKey.Oid.Value is Oids.EcPublicKey or X25519Key.AlgorithmOid
            ? X509KeyUsageFlags.KeyAgreement
            : X509KeyUsageFlags.KeyEncipherment;

    /// <summary>The recipient's certificate.</summary>
    public X509Certificate2 Certificate { get; }

    /// <summary>Named by subject key identifier.</summary>
    public bool ByKeyIdentifier { get; }

    /// <summary>RFC 5652 §6.1: EnvelopedData with none but such recipients has version 0.</summary>
    internal bool IsPlain => _rsa is not null && !ByKeyIdentifier;

    /// <summary>RecipientInfo (RFC 5652 §6.2) with the key wrapped for this recipient.</summary>
    internal void Write(AsnWriter writer, ReadOnlySpan<byte> contentKey)
    {
        if (_rsa is null)
        {
            KeyAgreement.Write(writer, Certificate.PublicKey, _rid, contentKey);
            return;
        }
        using (writer.PushSequence())
        {
            // RFC 5652 §6.2.1: 0 with issuer and serial number, 2 with the key's identifier.
            writer.WriteInteger(ByKeyIdentifier ? 2 : 0);
            writer.WriteEncodedValue(_rid);
            writer.WriteEncodedValue(_transportAlgorithm);
            writer.WriteOctetString(_rsa.Encrypt(contentKey, _padding));
        }
    }

    private byte[] Rid()
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
        // RFC 5652 §6.2.2: rKeyId is a RecipientKeyIdentifier, whose date and other are left out.
        using (writer.PushSequence(context0))
        {
            writer.WriteOctetString(identifier);
        }

        return writer.Encode();
    }

    private static byte[] TransportAlgorithm(KeyTransport transport)
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
                // RFC 4055 §4.1: SHA-1 and its mask are the defaults, which DER leaves out.
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

/// <summary>A certificate that mail may have been encrypted to, and its private key.</summary>
/// <param name="Certificate">Recipients are named by issuer and serial number, or by subject key identifier.</param>
/// <param name="Key">
/// <see cref="RSA"/>, of which only Decrypt is called, <see cref="ECDiffieHellman"/>, of which only
/// DeriveRawSecretAgreement is called (so a token's key will do for either), or <see cref="X25519Key"/>. Each throws
/// <see cref="CryptographicException"/> for input that is wrong and anything else for a token that is not there. A key
/// of another kind opens nothing.
/// </param>
public sealed record RecipientKey(X509Certificate2 Certificate, AsymmetricAlgorithm Key)
{
    /// <summary>Whether mail can be opened with keys of this kind.</summary>
    public static bool Serves(AsymmetricAlgorithm key) => key is RSA or ECDiffieHellman or X25519Key;
}
