using System.Formats.Asn1;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Pkcs11;

/// <summary>
/// The public half of a private key on a token. Tokens keep it in different places, tried in this order: attributes of
/// the private key itself, the public key object of the same CKA_ID, the certificate of the same CKA_ID.
/// </summary>
internal static class PublicKeys
{
    public static RSAParameters Rsa(Cryptoki functions, CULong session, CULong privateKey)
    {
        if (RsaOf(functions, session, privateKey) is { } own)
        {
            return own;
        }

        var id = IdOf(functions, session, privateKey);
        foreach (
            var handle in TokenObjects.Find(
                functions, session, ObjectTemplate.Of(Ck.ObjectPublicKey, null, id, Ck.KeyRsa)))
        {
            if (RsaOf(functions, session, handle) is { } beside)
            {
                return beside;
            }
        }
        foreach (var certificate in CertificatesOf(functions, session, id))
        {
            using var key = certificate.GetRSAPublicKey();
            if (key is not null)
            {
                return key.ExportParameters(includePrivateParameters: false);
            }
        }
        throw Absent();
    }

    public static ECParameters Ec(Cryptoki functions, CULong session, CULong privateKey)
    {
        var curve = TokenObjects.Read(functions, session, privateKey, Ck.AttributeEcParams);
        var id = IdOf(functions, session, privateKey);
        foreach (
            var handle in TokenObjects
                .Find(functions, session, ObjectTemplate.Of(Ck.ObjectPublicKey, null, id, Ck.KeyEc))
                .Prepend(privateKey))
        {
            var point = TokenObjects.Read(functions, session, handle, Ck.AttributeEcPoint);
            if (point is { Length: > 0 } && curve is { Length: > 0 } && EcOf(curve, point) is { } parameters)
            {
                return parameters;
            }
        }
        foreach (var certificate in CertificatesOf(functions, session, id))
        {
            using var key = certificate.GetECDsaPublicKey();
            if (key is not null)
            {
                return key.ExportParameters(includePrivateParameters: false);
            }
        }
        throw Absent();
    }

    private static RSAParameters? RsaOf(Cryptoki functions, CULong session, CULong handle)
    {
        var modulus = TokenObjects.Read(functions, session, handle, Ck.AttributeModulus);
        var exponent = TokenObjects.Read(functions, session, handle, Ck.AttributePublicExponent);
        if (modulus is not { Length: > 0 } || exponent is not { Length: > 0 })
        {
            return null;
        }
        // Cryptoki's big integers may carry leading zeroes; .NET takes the modulus's length for the key's.
        return new RSAParameters
        {
            Modulus = modulus.AsSpan().TrimStart((byte)0).ToArray(),
            Exponent = exponent.AsSpan().TrimStart((byte)0).ToArray(),
        };
    }

    private static ECParameters? EcOf(byte[] curve, byte[] point)
    {
        try
        {
            var oid = AsnDecoder.ReadObjectIdentifier(curve, AsnEncodingRules.DER, out _);
            // PKCS #11 2.40 §2.3.3: the point is DER, an OCTET STRING; some tokens give the octets bare.
            var octets =
                point[0] == 0x04
                && point.Length > 2
                && AsnDecoder.TryReadPrimitiveOctetString(point, AsnEncodingRules.DER, out var inner, out var used)
                && used == point.Length
                    ? inner.ToArray()
                    : point;
            if (octets[0] != 0x04 || octets.Length % 2 != 1)
            {
                return null; // X9.62 §4.3.6: only uncompressed points
            }

            var size = octets.Length / 2;
            return new ECParameters
            {
                Curve = ECCurve.CreateFromValue(oid),
                Q = new ECPoint { X = octets[1..(1 + size)], Y = octets[(1 + size)..] },
            };
        }
        catch (Exception e) when (e is AsnContentException or CryptographicException)
        {
            return null;
        }
    }

    private static byte[] IdOf(Cryptoki functions, CULong session, CULong handle) =>
        TokenObjects.Read(functions, session, handle, Ck.AttributeId) is { Length: > 0 } id ? id : throw Absent();

    private static List<X509Certificate2> CertificatesOf(Cryptoki functions, CULong session, byte[] id) =>
        TokenObjects.Certificates(functions, session, ObjectTemplate.Of(Ck.ObjectCertificate, null, id));

    private static Pkcs11Exception Absent() =>
        new(
            Pkcs11Fault.KeyUnusable, "PUBLIC_KEY_ABSENT",
            "the token has neither the public key nor the certificate of the key");
}
