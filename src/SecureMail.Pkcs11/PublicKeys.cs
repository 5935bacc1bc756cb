using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Net.Pkcs11Interop.Common;

namespace SecureMail.Pkcs11;

/// <summary>The public key of a certificate or of an object on a token: RSA or elliptic-curve.</summary>
internal sealed class PublicKeyValue
{
    private PublicKeyValue(RSAParameters rsa) => (Kind, Rsa) = (CKK.CKK_RSA, rsa);

    private PublicKeyValue(ECParameters ec) => (Kind, Ec) = (CKK.CKK_EC, ec);

    /// <summary>CKK_RSA or CKK_EC.</summary>
    public CKK Kind { get; }

    public RSAParameters Rsa { get; }

    public ECParameters Ec { get; }

    public static PublicKeyValue Of(RSAParameters rsa) => new(rsa);

    public static PublicKeyValue Of(ECParameters ec) => new(ec);

    /// <summary>The key of a certificate; null for another kind and for a curve that the platform does not
    /// have.</summary>
    public static PublicKeyValue? Of(X509Certificate2 certificate)
    {
        try
        {
            // RFC 4055 §1.2: rsaEncryption, or the one algorithm that the key is for (RSAES-OAEP, RSASSA-PSS).
            if (certificate.PublicKey.Oid.Value
                is "1.2.840.113549.1.1.1" or "1.2.840.113549.1.1.7" or "1.2.840.113549.1.1.10")
            {
                using var rsa = RSA.Create();
                rsa.ImportRSAPublicKey(certificate.PublicKey.EncodedKeyValue.RawData, out _);
                return new PublicKeyValue(rsa.ExportParameters(includePrivateParameters: false));
            }

            using var ec = certificate.PublicKey.GetECDsaPublicKey();
            return ec is null ? null : new PublicKeyValue(ec.ExportParameters(includePrivateParameters: false));
        }
        catch (CryptographicException)
        {
            return null;
        }
    }

    public bool IsSameAs(PublicKeyValue other) =>
        Kind == other.Kind
        && (Kind == CKK.CKK_RSA
            ? IsSame(Rsa.Modulus, other.Rsa.Modulus)
            : IsSame(Ec.Q.X, other.Ec.Q.X) && IsSame(Ec.Q.Y, other.Ec.Q.Y));

    private static bool IsSame(byte[]? one, byte[]? other) => one.AsSpan().SequenceEqual(other);
}

/// <summary>
/// Reads public keys of objects on a token, in a session that the caller holds. CKA_ID and CKA_LABEL are for the
/// application (PKCS #11 2.40 §4.4, §4.8), so what shares them with a private key is a hint, while the attributes of
/// the private key itself prove its public key.
/// </summary>
internal static class PublicKeys
{
    /// <summary>The public key in the attributes of a private or public key object; null when it is not in
    /// them.</summary>
    public static PublicKeyValue? ReadOwn(Cryptoki functions, ulong session, ulong handle, CKK kind)
    {
        if (kind == CKK.CKK_RSA)
        {
            var modulus = TokenObjects.Read(functions, session, handle, CKA.CKA_MODULUS);
            var exponent = TokenObjects.Read(functions, session, handle, CKA.CKA_PUBLIC_EXPONENT);
            if (modulus is not { Length: > 0 })
            {
                return null;
            }
            // Remove leading zero bytes, which Cryptoki's big integers may have, because .NET takes the length of the
            // modulus as the key size.
            return PublicKeyValue.Of(new RSAParameters
            {
                Modulus = modulus.AsSpan().TrimStart((byte)0).ToArray(),
                Exponent = exponent is { Length: > 0 } ? exponent.AsSpan().TrimStart((byte)0).ToArray() : null,
            });
        }

        var curve = TokenObjects.Read(functions, session, handle, CKA.CKA_EC_PARAMS);
        var point = TokenObjects.Read(functions, session, handle, CKA.CKA_EC_POINT);
        return curve is { Length: > 0 } && point is { Length: > 0 } && DecodeEc(curve, point) is { } parameters
            ? PublicKeyValue.Of(parameters)
            : null;
    }

    /// <summary>The public keys of the objects that share the CKA_ID of a private key, or its label when it has no
    /// CKA_ID: public key objects first, then certificates.</summary>
    public static List<PublicKeyValue> ReadBeside(Cryptoki functions, ulong session, ulong privateKey, CKK kind)
    {
        List<PublicKeyValue> found = [];
        var id = TokenObjects.Read(functions, session, privateKey, CKA.CKA_ID) is { Length: > 0 } i ? i : null;
        var label = id is null ? TokenObjects.Read(functions, session, privateKey, CKA.CKA_LABEL) : null;
        if (id is null && label is not { Length: > 0 })
        {
            return found;
        }

        var publicKeys = new ObjectTemplate(CKO.CKO_PUBLIC_KEY, kind, label, id);
        foreach (var handle in TokenObjects.Find(functions, session, publicKeys))
        {
            if (ReadOwn(functions, session, handle, kind) is { } key)
            {
                found.Add(key);
            }
        }

        var certificates = new ObjectTemplate(CKO.CKO_CERTIFICATE, null, label, id);
        foreach (var certificate in TokenObjects.ReadCertificates(functions, session, certificates))
        {
            using (certificate)
            {
                if (PublicKeyValue.Of(certificate) is { } key && key.Kind == kind)
                {
                    found.Add(key);
                }
            }
        }

        return found;
    }

    /// <summary>The curve of an elliptic-curve key as its object identifier; null when the token does not tell
    /// it.</summary>
    public static string? ReadCurve(Cryptoki functions, ulong session, ulong handle)
    {
        try
        {
            return TokenObjects.Read(functions, session, handle, CKA.CKA_EC_PARAMS) is { Length: > 0 } curve
                ? AsnDecoder.ReadObjectIdentifier(curve, AsnEncodingRules.DER, out _)
                : null;
        }
        catch (AsnContentException)
        {
            return null;
        }
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
}
