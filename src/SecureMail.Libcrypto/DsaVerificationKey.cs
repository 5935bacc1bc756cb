using System.Formats.Asn1;
using Org.BouncyCastle.Crypto.Parameters;
using Org.BouncyCastle.Crypto.Signers;
using BigInteger = Org.BouncyCastle.Math.BigInteger;

namespace SecureMail.Libcrypto;

/// <summary>
/// A DSA public key by BouncyCastle, because old certificates and messages have them and the platform's type for them
/// is obsolete. FIPS 186-5 §4 has retired DSA; whoever judges a signature by it calls it weak.
/// </summary>
internal sealed class DsaVerificationKey : VerificationKey
{
    // FIPS 186-4 §4.2 has 1024, 2048 and 3072 bits; old keys are shorter. The cost of a verification grows with the
    // cube of the size.
    private const int MinPrimeBits = 512;
    private const int MaxPrimeBits = 3072;

    private readonly DsaPublicKeyParameters _key;

    private DsaVerificationKey(DsaPublicKeyParameters key) => _key = key;

    public static DsaVerificationKey? TryMake(
        ReadOnlySpan<byte> p, ReadOnlySpan<byte> q, ReadOnlySpan<byte> g, ReadOnlySpan<byte> y)
    {
        if (p.Length > MaxPrimeBits / 8 || q.Length > 32 || g.Length > p.Length || y.Length > p.Length)
        {
            return null;
        }

        BigInteger prime = Number(p),
            order = Number(q),
            generator = Number(g);
        // FIPS 186-4 §4.1: the bits of q, 1 < g < p. An even modulus has no fast exponentiation.
        if (prime.BitLength is < MinPrimeBits or > MaxPrimeBits
            || !prime.TestBit(0)
            || order.BitLength is not (160 or 224 or 256)
            || generator.CompareTo(BigInteger.One) <= 0
            || generator.CompareTo(prime) >= 0)
        {
            return null;
        }

        try
        {
            // Throws unless 1 < y < p - 1 and y has the order q.
            return new DsaVerificationKey(
                new DsaPublicKeyParameters(Number(y), new DsaParameters(prime, order, generator)));
        }
        catch (ArgumentException)
        {
            return null;
        }
    }

    public override bool VerifyDsa(ReadOnlySpan<byte> hash, ReadOnlySpan<byte> signature)
    {
        if (!TryRead(signature, out var r, out var s))
        {
            return false;
        }

        var signer = new DsaSigner();
        signer.Init(forSigning: false, _key);
        // FIPS 186-4 §4.7: of a hash longer than q the leftmost bits count; 0 < r < q and 0 < s < q.
        return signer.VerifySignature(hash.ToArray(), r, s);
    }

    private static bool TryRead(ReadOnlySpan<byte> signature, out BigInteger r, out BigInteger s)
    {
        r = s = BigInteger.Zero;
        try
        {
            AsnDecoder.ReadSequence(
                signature, AsnEncodingRules.DER, out var offset, out var length, out var consumed);
            var numbers = signature.Slice(offset, length);
            var first = AsnDecoder.ReadIntegerBytes(numbers, AsnEncodingRules.DER, out var used);
            var second = AsnDecoder.ReadIntegerBytes(numbers[used..], AsnEncodingRules.DER, out var rest);
            // 33 bytes: 256 bits with the byte of the sign.
            if (consumed != signature.Length || used + rest != length || first.Length > 33 || second.Length > 33)
            {
                return false;
            }

            (r, s) = (new BigInteger(first.ToArray()), new BigInteger(second.ToArray()));
            return true;
        }
        catch (AsnContentException)
        {
            return false;
        }
    }

    private static BigInteger Number(ReadOnlySpan<byte> unsigned) => new(1, unsigned.ToArray());
}
