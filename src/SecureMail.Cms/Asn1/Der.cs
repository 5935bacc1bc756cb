using System.Numerics;

namespace SecureMail.Cms.Asn1;

/// <summary>
/// Identifier and length octets for what is written around a stream. <see cref="System.Formats.Asn1.AsnWriter"/> builds
/// the small parts; it would hold the content in memory, so the frames around the content are laid down by hand.
/// </summary>
internal static class Der
{
    public const byte OctetString = 0x04;
    public const byte Sequence = 0x30;
    public const byte Set = 0x31;
    public const byte ConstructedOctetString = 0x24;
    public const byte Context0 = 0xA0;
    public const byte Context1 = 0xA1;
    public const byte Context2 = 0xA2;

    /// <summary>[0] IMPLICIT OCTET STRING, as encryptedContent is.</summary>
    public const byte PrimitiveContext0 = 0x80;

    public static readonly byte[] EndOfContents = [0, 0];

    /// <summary>Octets of a whole element whose contents have the given length.</summary>
    public static long SizeOf(long contents) => 1 + LengthOctets(contents) + contents;

    /// <summary>Identifier and definite length (X.690 §8.1.3, the shortest form as DER wants).</summary>
    public static byte[] Header(byte tag, long contents)
    {
        var octets = LengthOctets(contents);
        var header = new byte[1 + octets];
        header[0] = tag;
        if (octets == 1)
        {
            header[1] = (byte)contents;
            return header;
        }
        header[1] = (byte)(0x80 | (octets - 1));
        for (var i = octets; i > 1; i--, contents >>= 8)
        {
            header[i] = (byte)contents;
        }

        return header;
    }

    /// <summary>Identifier and indefinite length (X.690 §8.1.3.6); <see cref="EndOfContents"/> closes it.</summary>
    public static byte[] Open(byte tag) => [tag, 0x80];

    private static int LengthOctets(long contents) =>
        contents < 0x80 ? 1 : 2 + (BitOperations.Log2((ulong)contents) / 8);
}
