using System.Formats.Asn1;
using System.Numerics;

namespace SecureMail.Cms.Asn1;

/// <summary>
/// Identifier and length octets (X.690 §8.1) for the elements around a stream. <see cref="AsnWriter"/> encodes the
/// small parts. The elements around the content are encoded here, because the writer would hold the content in memory.
/// </summary>
internal static class Der
{
    public const byte Integer = 0x02;
    public const byte OctetString = 0x04;
    public const byte Sequence = 0x30;
    public const byte Set = 0x31;
    public const byte ConstructedOctetString = 0x24;
    public const byte Context0 = 0xA0;
    public const byte Context1 = 0xA1;
    public const byte Context2 = 0xA2;

    /// <summary>[0] IMPLICIT OCTET STRING, as encryptedContent is.</summary>
    public const byte PrimitiveContext0 = 0x80;

    /// <summary>Nested elements that <see cref="Reencode(ReadOnlyMemory{byte})"/> takes; real attributes have a
    /// dozen.</summary>
    private const int MaxReencodedDepth = 64;

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

    /// <summary>
    /// Whether an element is in the DER that <see cref="Reencode"/> gives, which is then the same octets.
    /// </summary>
    /// <exception cref="AsnContentException">The element is nested deeper than
    /// <see cref="MaxReencodedDepth"/>.</exception>
    public static bool IsCanonical(ReadOnlySpan<byte> element) =>
        CanonicalLength(element, depth: 0) == element.Length;

    /// <summary>
    /// The DER encoding (X.690 §10, §11) of an element in BER: definite and shortest lengths, strings in one piece,
    /// TRUE as FF, the elements of each SET in the order of their encodings. The contents of other primitive elements
    /// stay as they are, and a string under an implicit tag stays in its pieces, because its type is not known here.
    /// </summary>
    /// <exception cref="AsnContentException">The element is not BER, something follows it, or it is nested deeper than
    /// <see cref="MaxReencodedDepth"/>.</exception>
    public static byte[] Reencode(ReadOnlyMemory<byte> element)
    {
        var reader = new AsnReader(element, AsnEncodingRules.BER);
        var encoded = Reencode(reader, depth: 0);
        reader.ThrowIfNotEmpty();
        return encoded;
    }

    /// <summary>Bytes of the first element when it is canonical; otherwise -1.</summary>
    private static int CanonicalLength(ReadOnlySpan<byte> bytes, int depth)
    {
        RequireDepth(depth);
        if (bytes.Length < 2 || (bytes[0] & 0x1F) == 0x1F || bytes[1] == 0x80 || IsConstructedString(bytes[0]))
        {
            return -1;
        }

        var tag = bytes[0];
        var lengthSize = bytes[1] < 0x80 ? 0 : bytes[1] & 0x7F;
        if (lengthSize > 4 || bytes.Length < 2 + lengthSize)
        {
            return -1;
        }

        long length = lengthSize == 0 ? bytes[1] : 0;
        foreach (var octet in bytes.Slice(2, lengthSize))
        {
            length = (length << 8) | octet;
        }

        var start = 2 + lengthSize;
        if (LengthSize(length) != 1 + lengthSize
            || length > bytes.Length - start
            || (tag == (byte)UniversalTagNumber.Boolean && (length != 1 || bytes[2] is not (0 or 0xFF))))
        {
            return -1;
        }

        var end = start + (int)length;
        var previous = start;
        for (var at = start; (tag & 0x20) != 0 && at < end;)
        {
            var child = CanonicalLength(bytes[at..end], depth + 1);
            if (child < 0
                || (tag == Set && bytes[previous..at].SequenceCompareTo(bytes.Slice(at, child)) > 0))
            {
                return -1;
            }

            (previous, at) = (at, at + child);
        }

        return end;
    }

    private static byte[] Reencode(AsnReader reader, int depth)
    {
        RequireDepth(depth);
        Asn1Tag tag = reader.PeekTag();
        ReadOnlyMemory<byte> content = reader.PeekContentBytes();
        ReadOnlyMemory<byte> element = reader.ReadEncodedValue();
        if (!tag.IsConstructed)
        {
            return tag == Asn1Tag.Boolean && content.Span is [not 0]
                ? [element.Span[0], 1, 0xFF]
                : WithHeader(tag, content.Span);
        }

        if (IsConstructedString(element.Span[0]))
        {
            return Join(tag, element, depth);
        }

        var inner = new AsnReader(content, AsnEncodingRules.BER);
        List<byte[]> parts = [];
        while (inner.HasData)
        {
            parts.Add(Reencode(inner, depth + 1));
        }

        if (tag.HasSameClassAndValue(Asn1Tag.SetOf))
        {
            parts.Sort((a, b) => a.AsSpan().SequenceCompareTo(b));
        }

        return WithHeader(tag, Concatenate(parts));
    }

    /// <summary>A string in pieces as a string in one piece (X.690 §10.2).</summary>
    private static byte[] Join(Asn1Tag tag, ReadOnlyMemory<byte> element, int depth)
    {
        if (tag.TagValue == (int)UniversalTagNumber.BitString)
        {
            var bits = AsnDecoder.ReadBitString(element.Span, AsnEncodingRules.BER, out var unused, out _);
            return Encode(writer => writer.WriteBitString(bits, unused));
        }

        List<byte[]> pieces = [];
        AddPieces(new AsnReader(element, AsnEncodingRules.BER), pieces, depth);
        return WithHeader(new Asn1Tag(tag.TagClass, tag.TagValue), Concatenate(pieces));
    }

    private static void AddPieces(AsnReader reader, List<byte[]> pieces, int depth)
    {
        RequireDepth(depth);
        Asn1Tag tag = reader.PeekTag();
        ReadOnlyMemory<byte> content = reader.PeekContentBytes();
        reader.ReadEncodedValue();
        if (!tag.IsConstructed)
        {
            pieces.Add(content.ToArray());
            return;
        }

        var inner = new AsnReader(content, AsnEncodingRules.BER);
        while (inner.HasData)
        {
            AddPieces(inner, pieces, depth + 1);
        }
    }

    /// <summary>Whether the identifier octet is that of a string in pieces: universal and constructed, but not
    /// SEQUENCE, SET, EXTERNAL or EMBEDDED PDV.</summary>
    private static bool IsConstructedString(byte identifier) =>
        (identifier & 0xE0) == 0x20 && (identifier & 0x1F) is not (16 or 17 or 8 or 11);

    private static byte[] WithHeader(Asn1Tag tag, ReadOnlySpan<byte> content)
    {
        var identifier = new byte[tag.CalculateEncodedSize()];
        tag.Encode(identifier);
        return [.. identifier, .. Header(0, content.Length).AsSpan(1), .. content];
    }

    private static byte[] Concatenate(List<byte[]> parts)
    {
        var whole = new byte[parts.Sum(p => p.Length)];
        Span<byte> rest = whole;
        foreach (var part in parts)
        {
            part.CopyTo(rest);
            rest = rest[part.Length..];
        }

        return whole;
    }

    private static void RequireDepth(int depth)
    {
        if (depth > MaxReencodedDepth)
        {
            throw new AsnContentException("too many nested elements");
        }
    }

    /// <summary>Bytes of the length octets.</summary>
    private static int LengthSize(long contents) => contents < 0x80 ? 1 : 2 + (BitOperations.Log2((ulong)contents) / 8);
}
