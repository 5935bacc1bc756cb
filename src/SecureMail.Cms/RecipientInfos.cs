using System.Formats.Asn1;
using System.Security.Cryptography;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>
/// Writes and reads RecipientInfos (RFC 5652 §6.2). The content-encryption key comes from the first RecipientInfo that
/// names one of the given keys and has a supported key wrap. Kinds that need another secret (shared key, password) and
/// unknown kinds are skipped. A RecipientInfo for a given key with an unsupported key wrap is skipped too, because a
/// supported one may follow.
/// </summary>
internal static class RecipientInfos
{
    // RFC 5652 §6.2: the CHOICE of RecipientInfo. [2] is a shared key, [3] a password.
    private static readonly Asn1Tag KeyAgree = new(TagClass.ContextSpecific, 1, isConstructed: true);
    private static readonly Asn1Tag Other = new(TagClass.ContextSpecific, 4, isConstructed: true);
    private static readonly Asn1Tag Context0 = new(TagClass.ContextSpecific, 0);
    private static readonly Asn1Tag Context1 = new(TagClass.ContextSpecific, 1);

    /// <summary>Bytes of a typical RecipientInfo: a 2048-bit key and a name of ordinary length.</summary>
    private const int ExpectedSize = 640;

    /// <summary>RecipientInfos with the key wrapped for each recipient, DER.</summary>
    /// <exception cref="CmsException">A recipient's key cannot be encrypted to.</exception>
    public static byte[] Wrap(IReadOnlyList<EnvelopeRecipient> recipients, ReadOnlySpan<byte> contentKey)
    {
        // Give the size beforehand, because the writer grows by a kilobyte at a time, which for thousands of recipients
        // costs more than their keys.
        var writer = new AsnWriter(AsnEncodingRules.DER, 64 + (recipients.Count * ExpectedSize));
        writer.PushSetOf();
        foreach (EnvelopeRecipient recipient in recipients)
        {
            recipient.Write(writer, contentKey);
        }

        writer.PopSetOf();
        return writer.Encode();
    }

    /// <summary>Unwraps the content-encryption key with the first of the keys that a RecipientInfo names. Returns
    /// <paramref name="keySize"/> bytes, which are random when unwrapping failed.</summary>
    /// <exception cref="CmsException">None of the keys is named, or none with a supported key wrap.</exception>
    public static byte[] Unwrap(byte[] recipientInfos, IReadOnlyList<RecipientKey> keys, int keySize, CmsLimits limits)
    {
        // RFC 3218 §2.3.2: when the padding or the length is wrong, continue with a random key and fail at the content,
        // as for any other wrong message. Generate the key before, so that both paths do the same work.
        var substitute = RandomNumberGenerator.GetBytes(keySize);
        var search = new Search(
            [.. keys.Where(k => RecipientKey.IsSupported(k.Key)).Select(k => new OurKey(k))], keySize, limits);
        AsnReader infos = new AsnReader(recipientInfos, AsnEncodingRules.BER).ReadSetOf(skipSortOrderValidation: true);
        while (infos.HasData)
        {
            search.CountRecipient();
            Asn1Tag tag = infos.PeekTag();
            byte[]? key = null;
            if (tag == Asn1Tag.Sequence)
            {
                key = search.ReadKeyTransport(infos.ReadSequence());
            }
            else if (tag == KeyAgree)
            {
                key = search.ReadKeyAgreement(infos.ReadSequence(Context1));
            }
            else if (tag == Other)
            {
                search.ReadOther(infos.ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 4)));
            }
            else
            {
                infos.ReadEncodedValue();
            }

            if (key is null)
            {
                continue;
            }

            if (key.Length == keySize)
            {
                return key;
            }

            CryptographicOperations.ZeroMemory(key);
            return substitute;
        }
        return search switch
        {
            { Failed: true } => substitute,
            { Unsupported: { } what } => throw new CmsException(CmsError.UnsupportedAlgorithm, what),
            _ => throw new CmsException(CmsError.NotForUs, "this is encrypted to none of the available keys"),
        };
    }

    /// <summary>One of the keys with the identifiers of its certificate, which are read once, because thousands of
    /// recipients are compared with them.</summary>
    private sealed class OurKey(RecipientKey key)
    {
        private readonly EncodedName _issuer = new(key.Certificate.IssuerName.RawData);
        private readonly ReadOnlyMemory<byte> _serial = key.Certificate.SerialNumberBytes;
        private readonly byte[]? _keyIdentifier = CmsCertificate.Of(key.Certificate)?.SubjectKeyIdentifier()?.ToArray();

        public RecipientKey Key => key;

        public bool IsIssuerAndSerial(EncodedName issuer, ReadOnlySpan<byte> serial) =>
            _serial.Span.SequenceEqual(serial) && _issuer.Matches(issuer);

        public bool IsKeyIdentifier(ReadOnlySpan<byte> identifier) =>
            _keyIdentifier is not null && _keyIdentifier.AsSpan().SequenceEqual(identifier);
    }

    private sealed class Search(OurKey[] ours, int keySize, CmsLimits limits)
    {
        private const string UnsupportedWrap = "the key wrap for the available keys is not supported";

        private int _count;

        /// <summary>One of the keys was named, and unwrapping failed.</summary>
        public bool Failed { get; private set; }

        /// <summary>One of the keys was named, with an unsupported key wrap: what is not supported.</summary>
        public string? Unsupported { get; private set; }

        public void CountRecipient()
        {
            if (++_count > limits.MaxRecipients)
            {
                throw new CmsException(CmsError.LimitExceeded, "too many recipients");
            }
        }

        /// <summary>Reads KeyTransRecipientInfo (RFC 5652 §6.2.1). Returns an empty key when decryption failed, because
        /// the failure must not be distinguishable from a wrong key.</summary>
        public byte[]? ReadKeyTransport(AsnReader info)
        {
            info.ReadInteger();
            if (ReadRecipientKey(info, isKeyAgreement: false) is not { } recipient)
            {
                return null;
            }

            if (recipient.Key is not RSA key)
            {
                Unsupported = UnsupportedWrap;
                return null;
            }

            AsnReader algorithm = info.ReadSequence();
            var oid = Oids.Read(algorithm);
            var encryptedKey = info.ReadOctetString();
            info.ThrowIfNotEmpty();
            try
            {
                switch (oid)
                {
                    // RFC 3370 §4.2.1: the parameters are NULL; some writers leave them out.
                    case Oids.RsaEncryption when SignatureAlgorithm.HasNoParameters(algorithm):
                        return key.Decrypt(encryptedKey, RSAEncryptionPadding.Pkcs1);
                    case Oids.RsaesOaep when OaepParameters.Read(algorithm) is { } parameters:
                        return DecryptOaep(recipient, key, parameters, encryptedKey);
                    default:
                        Unsupported = UnsupportedWrap;
                        return null;
                }
            }
            catch (CryptographicException)
            {
                return []; // the padding was wrong
            }
        }

        /// <summary>Decrypts with the platform where it has the parameters, else with what the recipient brings for
        /// them, else with libcrypto. Null when the key is on a token that nothing is brought for.</summary>
        private byte[]? DecryptOaep(
            RecipientKey recipient, RSA key, OaepParameters parameters, byte[] encryptedKey)
        {
            if (parameters.Padding is { } padding)
            {
                return key.Decrypt(encryptedKey, padding);
            }

            if (recipient.DecryptOaep is { } decrypt)
            {
                return decrypt(parameters, encryptedKey);
            }

            byte[] exported;
            try
            {
                exported = key.ExportRSAPrivateKey();
            }
            catch (CryptographicException)
            {
                Unsupported = $"the key is on a token and {parameters} is not available there (CKM_RSA_PKCS_OAEP)";
                return null;
            }

            try
            {
                return RsaOaep.TryDecrypt(
                    exported, parameters.Hash, parameters.MaskHash, parameters.Label.Span, encryptedKey) ?? [];
            }
            finally
            {
                CryptographicOperations.ZeroMemory(exported);
            }
        }

        /// <summary>Reads KeyAgreeRecipientInfo (RFC 5652 §6.2.2).</summary>
        public byte[]? ReadKeyAgreement(AsnReader info)
        {
            info.ReadInteger();
            AsnReader originator = info.ReadSequence(Context0);
            // OriginatorIdentifierOrKey: [1] is an ephemeral key; the others name a static key in a certificate.
            AsnReader? originatorKey = originator.PeekTag().HasSameClassAndValue(Context1)
                ? originator.ReadSequence(Context1)
                : null;
            var userMaterial = info.PeekTag().HasSameClassAndValue(Context1)
                ? info.ReadSequence(Context1).ReadOctetString()
                : null;
            AsnReader algorithm = info.ReadSequence();
            KeyAgreement.Scheme? scheme = KeyAgreement.SchemeOf(Oids.Read(algorithm));
            var wrap =
                algorithm.HasData && algorithm.PeekTag() == Asn1Tag.Sequence
                    ? algorithm.ReadEncodedValue().ToArray()
                    : null;
            AsnReader encryptedKeys = info.ReadSequence();
            while (encryptedKeys.HasData)
            {
                CountRecipient();
                AsnReader encrypted = encryptedKeys.ReadSequence();
                if (ReadRecipientKey(encrypted, isKeyAgreement: true) is not { } recipient)
                {
                    continue;
                }

                var wrapSize = WrapSizeOf(wrap);
                if (scheme is null || originatorKey is null || recipient.Key is RSA || wrapSize == 0)
                {
                    Unsupported = UnsupportedWrap;
                    continue;
                }
                var encryptedKey = encrypted.ReadOctetString();
                var key = KeyAgreement.Unwrap(
                    recipient, originatorKey, scheme.Value, wrap!, wrapSize, userMaterial, encryptedKey);
                if (key?.Length == keySize)
                {
                    return key;
                }

                CryptographicOperations.ZeroMemory(key);
                Failed = true;
                return null;
            }
            return null;
        }

        /// <summary>
        /// Reads OtherRecipientInfo (RFC 5652 §6.2.5). Only the recipient of KEMRecipientInfo (RFC 9629 §3) is read, so
        /// that the error is "not supported" and not "for other recipients".
        /// </summary>
        public void ReadOther(AsnReader info)
        {
            if (Oids.Read(info) != Oids.OtherRecipientKem)
            {
                return;
            }

            AsnReader kem = info.ReadSequence();
            kem.ReadInteger();
            if (ReadRecipientKey(kem, isKeyAgreement: false) is not null)
            {
                Unsupported = UnsupportedWrap;
            }
        }

        /// <summary>Reads the identifier of a recipient and returns the key that it names; null when it names
        /// none.</summary>
        private RecipientKey? ReadRecipientKey(AsnReader reader, bool isKeyAgreement)
        {
            if (reader.PeekTag().HasSameClassAndValue(Context0))
            {
                // RFC 5652 §6.2.1: [0] is the identifier itself; §6.2.2: a SEQUENCE of the identifier, date and other.
                var identifier = isKeyAgreement
                    ? reader.ReadSequence(Context0).ReadOctetString()
                    : reader.ReadOctetString(Context0);
                return Array.Find(ours, k => k.IsKeyIdentifier(identifier))?.Key;
            }
            AsnReader sequence = reader.ReadSequence();
            var issuer = new EncodedName(sequence.ReadEncodedValue());
            ReadOnlyMemory<byte> serial = sequence.ReadIntegerBytes();
            foreach (OurKey key in ours)
            {
                if (key.IsIssuerAndSerial(issuer, serial.Span))
                {
                    return key.Key;
                }
            }
            return null;
        }

        private static int WrapSizeOf(byte[]? algorithm) =>
            algorithm is null
                ? 0
                : Oids.Read(new AsnReader(algorithm, AsnEncodingRules.BER).ReadSequence()) switch
                {
                    Oids.Aes128Wrap => 16,
                    Oids.Aes192Wrap => 24,
                    Oids.Aes256Wrap => 32,
                    _ => 0,
                };
    }
}
