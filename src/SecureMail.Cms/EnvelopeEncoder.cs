using System.Formats.Asn1;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>Encodes (Auth)EnvelopedData around a ciphertext that is not held in memory (RFC 5652 §6.1, RFC 5083
/// §2.1).</summary>
internal static class EnvelopeEncoder
{
    /// <summary>Encodes everything before the first byte of ciphertext.</summary>
    /// <param name="ciphertextLength">Null when it is not known; indefinite lengths are written then.</param>
    /// <exception cref="ArgumentException">There is no recipient.</exception>
    public static byte[] EncodePrefix(
        bool authenticated, IReadOnlyList<EnvelopeRecipient> recipients, ReadOnlySpan<byte> wrappedKey,
        byte[] algorithm, long? ciphertextLength)
    {
        if (recipients.Count == 0)
        {
            throw new ArgumentException("encryption needs a recipient", nameof(recipients));
        }

        return EncodePrefix(
            authenticated, recipients.All(r => r.IsVersion0), [], RecipientInfos.Wrap(recipients, wrappedKey),
            algorithm, ciphertextLength);
    }

    /// <inheritdoc cref="EncodePrefix(bool, IReadOnlyList{EnvelopeRecipient}, ReadOnlySpan{byte}, byte[], long?)"/>
    /// <param name="isVersion0">Whether all recipients allow version 0.</param>
    /// <param name="originatorInfo">Empty, or originatorInfo in DER.</param>
    /// <param name="recipientInfos">RecipientInfos in DER.</param>
    public static byte[] EncodePrefix(
        bool authenticated, bool isVersion0, byte[] originatorInfo, byte[] recipientInfos, byte[] algorithm,
        long? ciphertextLength)
    {
        var type = Der.Encode(w =>
            w.WriteObjectIdentifier(authenticated ? Oids.AuthEnvelopedData : Oids.EnvelopedData));
        // RFC 5083 §2.1: always 0. RFC 5652 §6.1: 0 without originatorInfo, when every recipient has key transport and
        // is named by issuer and serial number; 2 otherwise.
        var version = Der.Encode(w =>
            w.WriteInteger(authenticated || (isVersion0 && originatorInfo.Length == 0) ? 0 : 2));
        byte[] typeAndAlgorithm = [.. Der.Encode(w => w.WriteObjectIdentifier(Oids.Data)), .. algorithm];
        if (ciphertextLength is not { } encrypted)
        {
            return
            [
                .. Der.IndefiniteHeader(Der.Sequence),
                .. type,
                .. Der.IndefiniteHeader(Der.Context0),
                .. Der.IndefiniteHeader(Der.Sequence),
                .. version,
                .. originatorInfo,
                .. recipientInfos,
                .. Der.IndefiniteHeader(Der.Sequence),
                .. typeAndAlgorithm,
                .. Der.IndefiniteHeader(Der.Context0),
            ];
        }
        var encryptedContentInfo = typeAndAlgorithm.Length + Der.EncodedLength(encrypted);
        var enveloped =
            version.Length
            + originatorInfo.Length
            + recipientInfos.Length
            + Der.EncodedLength(encryptedContentInfo)
            + (authenticated ? Der.EncodedLength(AesGcmContext.TagSize) : 0);
        var contentInfo = type.Length + Der.EncodedLength(Der.EncodedLength(enveloped));
        return
        [
            .. Der.Header(Der.Sequence, contentInfo),
            .. type,
            .. Der.Header(Der.Context0, Der.EncodedLength(enveloped)),
            .. Der.Header(Der.Sequence, enveloped),
            .. version,
            .. originatorInfo,
            .. recipientInfos,
            .. Der.Header(Der.Sequence, encryptedContentInfo),
            .. typeAndAlgorithm,
            .. Der.Header(Der.PrimitiveContext0, encrypted),
        ];
    }

    /// <summary>mac (RFC 5083 §2.1), DER; empty without a tag.</summary>
    public static byte[] EncodeMac(byte[] tag) =>
        tag.Length == 0 ? [] : [.. Der.Header(Der.OctetString, tag.Length), .. tag];
}
