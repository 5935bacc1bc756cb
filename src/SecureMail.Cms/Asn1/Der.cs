using System.Formats.Asn1;
using System.Numerics;

namespace SecureMail.Cms.Asn1;

/// <summary>
/// Identifier and length octets (X.690 §8.1) for the elements around a stream. <see cref="AsnWriter"/> encodes the
/// small parts. The elements around the content are encoded here, because the writer would hold the content in memory.
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

    /// <summary>Bytes of a whole element whose contents have the given length.</summary>
    public static long EncodedLength(long contents) => 1 + LengthSize(contents) + contents;

    /// <summary>Identifier and definite length (X.690 §8.1.3) in the shortest form, which DER requires.</summary>
    public static byte[] Header(byte tag, long contents)
    {
        var lengthSize = LengthSize(contents);
        var header = new byte[1 + lengthSize];
        header[0] = tag;
        if (lengthSize == 1)
        {
            header[1] = (byte)contents;
            return header;
        }
        header[1] = (byte)(0x80 | (lengthSize - 1));
        for (var i = lengthSize; i > 1; i--, contents >>= 8)
        {
            header[i] = (byte)contents;
        }

        return header;
    }

    /// <summary>Identifier and indefinite length (X.690 §8.1.3.6); <see cref="EndOfContents"/> ends the
    /// element.</summary>
    public static byte[] IndefiniteHeader(byte tag) => [tag, 0x80];

    /// <summary>What the callback writes, DER.</summary>
    public static byte[] Encode(Action<AsnWriter> write)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        write(writer);
        return writer.Encode();
    }

    /// <summary>Bytes of the length octets.</summary>
    private static int LengthSize(long contents) => contents < 0x80 ? 1 : 2 + (BitOperations.Log2((ulong)contents) / 8);
}
