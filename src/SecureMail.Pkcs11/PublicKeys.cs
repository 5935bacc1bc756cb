using System.Formats.Asn1;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Pkcs11;

/// <summary>
/// Reads the public key of a private key on a token. Tokens keep it in different places, which are tried in this order:
/// attributes of the private key, the public key object with the same CKA_ID, the certificate with the same CKA_ID.
/// </summary>
internal static class PublicKeys
{
    /// <exception cref="Pkcs11Exception">PUBLIC_KEY_ABSENT, or an error of the token.</exception>
    public static RSAParameters ReadRsa(Cryptoki functions, CULong session, CULong privateKey)
    {
        if (ReadRsaAttributes(functions, session, privateKey) is { } own)
        {
            return own;
        }

        var id = ReadId(functions, session, privateKey);
        foreach (
            var handle in TokenObjects.Find(
                functions, session, ObjectTemplate.Create(Ck.ObjectPublicKey, null, id, Ck.KeyRsa)))
        {
            if (ReadRsaAttributes(functions, session, handle) is { } attributes)
            {
                return attributes;
            }
        }
        foreach (var certificate in ReadCertificates(functions, session, id))
        {
            using var key = certificate.GetRSAPublicKey();
            if (key is not null)
            {
                return key.ExportParameters(includePrivateParameters: false);
            }
        }
        throw NotFound();
    }

    /// <exception cref="Pkcs11Exception">PUBLIC_KEY_ABSENT, or an error of the token.</exception>
    public static ECParameters ReadEc(Cryptoki functions, CULong session, CULong privateKey)
    {
        var curve = TokenObjects.Read(functions, session, privateKey, Ck.AttributeEcParams);
        var id = ReadId(functions, session, privateKey);
        foreach (
            var handle in TokenObjects
                .Find(functions, session, ObjectTemplate.Create(Ck.ObjectPublicKey, null, id, Ck.KeyEc))
                .Prepend(privateKey))
        {
            var point = TokenObjects.Read(functions, session, handle, Ck.AttributeEcPoint);
            if (point is { Length: > 0 } && curve is { Length: > 0 } && DecodeEc(curve, point) is { } parameters)
            {
                return parameters;
            }
        }
        foreach (var certificate in ReadCertificates(functions, session, id))
        {
            using var key = certificate.GetECDsaPublicKey();
            if (key is not null)
            {
                return key.ExportParameters(includePrivateParameters: false);
            }
        }
        throw NotFound();
    }

    private static RSAParameters? ReadRsaAttributes(Cryptoki functions, CULong session, CULong handle)
    {
        var modulus = TokenObjects.Read(functions, session, handle, Ck.AttributeModulus);
        var exponent = TokenObjects.Read(functions, session, handle, Ck.AttributePublicExponent);
        if (modulus is not { Length: > 0 } || exponent is not { Length: > 0 })
        {
            return null;
        }
        // Remove leading zero bytes, which Cryptoki's big integers may have, because .NET takes the length of the
        // modulus as the key size.
        return new RSAParameters
        {
            Modulus = modulus.AsSpan().TrimStart((byte)0).ToArray(),
            Exponent = exponent.AsSpan().TrimStart((byte)0).ToArray(),
        };
    }

    private static ECParameters? DecodeEc(byte[] curve, byte[] point)
    {
        try
        {
            var oid = AsnDecoder.ReadObjectIdentifier(curve, AsnEncodingRules.DER, out _);
            // PKCS #11 2.40 §2.3.3: the point is DER, an OCTET STRING. Some tokens return the raw point.
            var raw =
                point[0] == 0x04
                && point.Length > 2
                && AsnDecoder.TryReadPrimitiveOctetString(point, AsnEncodingRules.DER, out var inner, out var used)
                && used == point.Length
                    ? inner.ToArray()
                    : point;
            if (raw[0] != 0x04 || raw.Length % 2 != 1)
            {
                return null; // not an uncompressed point (X9.62 §4.3.6)
            }

            var size = raw.Length / 2;
            return new ECParameters
            {
                Curve = ECCurve.CreateFromValue(oid),
                Q = new ECPoint { X = raw[1..(1 + size)], Y = raw[(1 + size)..] },
            };
        }
        catch (Exception e) when (e is AsnContentException or CryptographicException)
        {
            return null;
        }
    }

    private static byte[] ReadId(Cryptoki functions, CULong session, CULong handle) =>
        TokenObjects.Read(functions, session, handle, Ck.AttributeId) is { Length: > 0 } id ? id : throw NotFound();

    private static List<X509Certificate2> ReadCertificates(Cryptoki functions, CULong session, byte[] id) =>
        TokenObjects.ReadCertificates(functions, session, ObjectTemplate.Create(Ck.ObjectCertificate, null, id));

    private static Pkcs11Exception NotFound() =>
        new(
            Pkcs11Fault.KeyUnusable, "PUBLIC_KEY_ABSENT",
            "the token holds neither the public key nor the certificate of the private key");
}
