using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>
/// Key agreement (KeyAgreeRecipientInfo, RFC 5652 §6.2.2) between an ephemeral key of the sender and a static key of
/// the recipient: ECDH on the NIST curves (RFC 5753 §3.1) and X25519 (RFC 8418 §2). A key-encryption key is derived
/// from the shared secret and wraps the content-encryption key.
/// Left out: static keys of senders, ECMQV, X448, finite fields.
/// </summary>
internal static class KeyAgreement
{
    /// <summary>The key derivation from the shared secret: the KDF of X9.63, or HKDF.</summary>
    public readonly record struct Scheme(HashAlgorithmName Hash, bool Hkdf);

    /// <summary>A supported curve with its algorithms for sending (RFC 5753 §7.2). <c>FieldSize</c> is in
    /// bytes.</summary>
    private sealed record Curve(string Oid, ECCurve Named, int FieldSize, string SchemeOid, string WrapOid);

    private static readonly Curve[] Curves =
    [
        new("1.2.840.10045.3.1.7", ECCurve.NamedCurves.nistP256, 32, Oids.StdDhSha256Kdf, Oids.Aes256Wrap),
        new("1.3.132.0.34", ECCurve.NamedCurves.nistP384, 48, Oids.StdDhSha384Kdf, Oids.Aes256Wrap),
        new("1.3.132.0.35", ECCurve.NamedCurves.nistP521, 66, Oids.StdDhSha512Kdf, Oids.Aes256Wrap),
    ];

    private static readonly Asn1Tag Context0 = new(TagClass.ContextSpecific, 0);
    private static readonly Asn1Tag Context1 = new(TagClass.ContextSpecific, 1);
    private static readonly Asn1Tag Context2 = new(TagClass.ContextSpecific, 2);

    /// <summary>
    /// The scheme of a key-encryption algorithm; null for an unknown one. The cofactor variants are the same on these
    /// curves, because their cofactor is 1. SHA-1 is accepted, because the KDF does not depend on collision resistance
    /// and OpenSSL writes it by default.
    /// </summary>
    public static Scheme? SchemeOf(string oid) =>
        oid switch
        {
            Oids.StdDhSha1Kdf or Oids.CofactorDhSha1Kdf => new Scheme(HashAlgorithmName.SHA1, false),
            Oids.StdDhSha256Kdf or Oids.CofactorDhSha256Kdf => new Scheme(HashAlgorithmName.SHA256, false),
            Oids.StdDhSha384Kdf or Oids.CofactorDhSha384Kdf => new Scheme(HashAlgorithmName.SHA384, false),
            Oids.StdDhSha512Kdf or Oids.CofactorDhSha512Kdf => new Scheme(HashAlgorithmName.SHA512, false),
            Oids.StdDhHkdfSha256 => new Scheme(HashAlgorithmName.SHA256, true),
            Oids.StdDhHkdfSha384 => new Scheme(HashAlgorithmName.SHA384, true),
            Oids.StdDhHkdfSha512 => new Scheme(HashAlgorithmName.SHA512, true),
            _ => null,
        };

    /// <summary>Whether messages can be encrypted to this public key by key agreement.</summary>
    public static bool IsSupported(PublicKey key) =>
        key.Oid.Value == X25519Key.AlgorithmOid
            ? key.EncodedKeyValue.RawData.Length == X25519Key.Size
            : key.Oid.Value == Oids.EcPublicKey && CurveOf(key) is not null;

    /// <summary>Writes [1] KeyAgreeRecipientInfo for one recipient, with a new ephemeral key.</summary>
    /// <param name="rid">KeyAgreeRecipientIdentifier, DER.</param>
    public static void Write(AsnWriter writer, PublicKey recipient, byte[] rid, ReadOnlySpan<byte> contentKey)
    {
        Curve? curve = recipient.Oid.Value == X25519Key.AlgorithmOid ? null : CurveOf(recipient);
        var wrap = Der.Encode(w => WriteAlgorithm(w, curve?.WrapOid ?? Oids.Aes256Wrap));
        var scheme = curve?.SchemeOid ?? Oids.StdDhHkdfSha256;
        (var point, var secret) = curve is null
            ? ComputeEphemeralX25519(recipient)
            : ComputeEphemeralEc(recipient, curve);
        byte[]? wrappingKey = null;
        byte[] wrapped;
        try
        {
            wrappingKey = DeriveWrappingKey(
                secret, SchemeOf(scheme)!.Value, wrap, userMaterial: null, salt: default, size: 32);
            wrapped = AesKeyWrap.Wrap(wrappingKey, contentKey);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(secret);
            CryptographicOperations.ZeroMemory(wrappingKey);
        }

        using (writer.PushSequence(Context1))
        {
            writer.WriteInteger(3);
            using (writer.PushSequence(Context0))
            using (writer.PushSequence(Context1))
            {
                // RFC 5753 §3.1.1: parameters absent (or NULL); RFC 8410 §3: absent.
                WriteAlgorithm(writer, curve is null ? X25519Key.AlgorithmOid : Oids.EcPublicKey);
                writer.WriteBitString(point);
            }
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(scheme);
                writer.WriteEncodedValue(wrap);
            }
            using (writer.PushSequence())
            using (writer.PushSequence())
            {
                writer.WriteEncodedValue(rid);
                writer.WriteOctetString(wrapped);
            }
        }
    }

    /// <summary>
    /// Unwraps the content-encryption key of one RecipientEncryptedKey. Returns null when the public key is not on the
    /// curve of the recipient or has a low order, or when the key-encryption key is wrong (the integrity check of the
    /// key wrap fails).
    /// </summary>
    /// <param name="originatorKey">OriginatorPublicKey, without its tag.</param>
    /// <param name="wrapAlgorithm">AlgorithmIdentifier of the key wrap, as it was received.</param>
    /// <param name="wrapSize">Bytes of the key-encryption key.</param>
    public static byte[]? Unwrap(
        RecipientKey ours, AsnReader originatorKey, Scheme scheme, byte[] wrapAlgorithm, int wrapSize,
        byte[]? userMaterial, byte[] encryptedKey)
    {
        var secret = ComputeSharedSecret(ours, originatorKey);
        if (secret is null)
        {
            return null;
        }

        try
        {
            var wrapOid = Oids.Read(new AsnReader(wrapAlgorithm, AsnEncodingRules.BER).ReadSequence());
            // RFC 5753 §7.2 puts the AlgorithmIdentifier into the derivation. Its parameters are absent (RFC 3565
            // §2.3.2) or NULL, and writers differ, some within one message. Try both; the integrity check finds the
            // right one.
            byte[][] keyInfos =
            [
                Der.Encode(w => WriteAlgorithm(w, wrapOid)),
                Der.Encode(w => WriteAlgorithm(w, wrapOid, withNull: true)),
            ];
            // RFC 8418 §2.2: the salt is ukm. Bouncy Castle puts ukm in entityUInfo only, so try an empty salt too.
            byte[][] salts =
                scheme.Hkdf && userMaterial is not null
                    ? [userMaterial, []]
                    :
                    [
                        [],
                    ];
            foreach (var keyInfo in keyInfos)
            {
                foreach (var salt in salts)
                {
                    var wrappingKey = DeriveWrappingKey(secret, scheme, keyInfo, userMaterial, salt, wrapSize);
                    var key = AesKeyWrap.Unwrap(wrappingKey, encryptedKey);
                    CryptographicOperations.ZeroMemory(wrappingKey);
                    if (key is not null)
                    {
                        return key;
                    }
                }
            }
            return null;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(secret);
        }
    }

    private static byte[]? ComputeSharedSecret(RecipientKey ours, AsnReader originatorKey)
    {
        AsnReader algorithm = originatorKey.ReadSequence();
        var oid = Oids.Read(algorithm);
        var point = originatorKey.ReadBitString(out var unused);
        if (unused != 0)
        {
            return null;
        }

        switch (ours.Key)
        {
            case X25519Key own when oid == X25519Key.AlgorithmOid:
                var secret = new byte[X25519Key.Size];
                return own.TryDerive(point, secret) ? secret : null;
            case ECDiffieHellman own when oid == Oids.EcPublicKey && CurveOf(ours.Certificate.PublicKey) is { } curve:
                // RFC 5753 §3.1.1: the curve is that of the recipient. Refuse parameters that name another curve.
                if (algorithm.HasData
                    && algorithm.PeekTag() == Asn1Tag.ObjectIdentifier
                    && Oids.Read(algorithm) != curve.Oid)
                {
                    return null;
                }

                try
                {
                    using ECDiffieHellman? sender = FromPoint(point, curve);
                    using ECDiffieHellmanPublicKey? theirs = sender?.PublicKey;
                    return theirs is null ? null : own.DeriveRawSecretAgreement(theirs);
                }
                catch (CryptographicException)
                {
                    return null; // not on the curve, or refused by the token
                }

            default:
                return null;
        }
    }

    private static (byte[] Point, byte[] Secret) ComputeEphemeralX25519(PublicKey recipient)
    {
        using var ephemeral = X25519Key.Generate();
        var secret = new byte[X25519Key.Size];
        return ephemeral.TryDerive(recipient.EncodedKeyValue.RawData, secret)
            ? (ephemeral.PublicKey.ToArray(), secret)
            : throw NotUsable();
    }

    private static (byte[] Point, byte[] Secret) ComputeEphemeralEc(PublicKey recipient, Curve curve)
    {
        try
        {
            using ECDiffieHellman theirs = FromPoint(recipient.EncodedKeyValue.RawData, curve) ?? throw NotUsable();
            using var ephemeral = ECDiffieHellman.Create(curve.Named);
            ECParameters own = ephemeral.ExportParameters(includePrivateParameters: false);
            using ECDiffieHellmanPublicKey publicKey = theirs.PublicKey;
            return ([0x04, .. own.Q.X!, .. own.Q.Y!], ephemeral.DeriveRawSecretAgreement(publicKey));
        }
        catch (CryptographicException)
        {
            throw NotUsable();
        }
    }

    /// <summary>RFC 5480 §2.2: an uncompressed point. The platform refuses one that is not on the curve.</summary>
    [SuppressMessage("Reliability", "CA2000", Justification = "the caller disposes it")]
    private static ECDiffieHellman? FromPoint(ReadOnlySpan<byte> point, Curve curve)
    {
        if (point.Length != 1 + (2 * curve.FieldSize) || point[0] != 0x04)
        {
            return null;
        }

        return ECDiffieHellman.Create(
            new ECParameters
            {
                Curve = curve.Named,
                Q = new ECPoint
                {
                    X = point.Slice(1, curve.FieldSize).ToArray(),
                    Y = point[(1 + curve.FieldSize)..].ToArray(),
                },
            });
    }

    private static Curve? CurveOf(PublicKey key)
    {
        try
        {
            var named = AsnDecoder.ReadObjectIdentifier(key.EncodedParameters?.RawData, AsnEncodingRules.BER, out _);
            return Array.Find(Curves, c => c.Oid == named);
        }
        catch (AsnContentException)
        {
            return null; // explicit parameters (RFC 5480 §2.1.1 forbids them)
        }
    }

    private static byte[] DeriveWrappingKey(
        byte[] secret, Scheme scheme, byte[] keyInfo, byte[]? userMaterial, ReadOnlySpan<byte> salt, int size)
    {
        var shared = EncodeSharedInfo(keyInfo, userMaterial, size);
        var key = new byte[size];
        if (scheme.Hkdf)
        {
            HKDF.DeriveKey(scheme.Hash, secret, key, salt, shared);
            return key;
        }
        // SEC 1 §3.6.1 (X9.63): the hash of the secret, a counter from 1, and the shared information.
        using var hash = IncrementalHash.CreateHash(scheme.Hash);
        Span<byte> counter = stackalloc byte[4];
        for (int written = 0, i = 1; written < size; i++)
        {
            hash.AppendData(secret);
            BinaryPrimitives.WriteInt32BigEndian(counter, i);
            hash.AppendData(counter);
            hash.AppendData(shared);
            var digest = hash.GetHashAndReset();
            var count = Math.Min(digest.Length, size - written);
            digest.AsSpan(0, count).CopyTo(key.AsSpan(written));
            written += count;
            CryptographicOperations.ZeroMemory(digest);
        }
        return key;
    }

    /// <summary>RFC 5753 §7.2: ECC-CMS-SharedInfo.</summary>
    private static byte[] EncodeSharedInfo(byte[] keyInfo, byte[]? userMaterial, int size) =>
        Der.Encode(writer =>
        {
            using (writer.PushSequence())
            {
                writer.WriteEncodedValue(keyInfo);
                if (userMaterial is not null)
                {
                    using (writer.PushSequence(Context0))
                    {
                        writer.WriteOctetString(userMaterial);
                    }
                }
                // suppPubInfo: the length of the key in bits, as a 32-bit number.
                Span<byte> bits = stackalloc byte[4];
                BinaryPrimitives.WriteInt32BigEndian(bits, size * 8);
                using (writer.PushSequence(Context2))
                {
                    writer.WriteOctetString(bits);
                }
            }
        });

    private static void WriteAlgorithm(AsnWriter writer, string oid, bool withNull = false)
    {
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(oid);
            if (withNull)
            {
                writer.WriteNull();
            }
        }
    }

    private static CmsException NotUsable() =>
        new(CmsError.CertificateNotUsable, "a recipient's certificate has a public key that is not on its curve");
}
