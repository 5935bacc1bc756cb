using System.Formats.Asn1;
using System.Security.Cryptography;
using SecureMail.Cms;
using SecureMail.Cms.Asn1;

namespace SecureMail.Tests.Cms;

/// <summary>RFC 5652 §5.4: what is signed is the DER encoding of the signed attributes, however they are
/// sent.</summary>
public sealed class SignedAttributeEncodingTests
{
    private static readonly byte[] Content = "Kính gửi: Văn phòng Đảng ủy\r\n"u8.ToArray();
    private static readonly TestIdentity Signer = TestPki.Shared.Issue("CN=Van thu");

    [Theory]
    [InlineData("as they are", true)]
    [InlineData("in reverse order", true)]
    [InlineData("with an indefinite length", true)]
    [InlineData("with longer lengths", true)]
    [InlineData("with the digest in pieces", true)]
    [InlineData("with another TRUE", true)]
    [InlineData("without one of them", false)]
    [InlineData("with one of them twice", false)]
    public async Task The_DER_encoding_is_verified_whatever_was_sent(string how, bool intact)
    {
        var cms = Make(set => set, set => Sent(set, how));
        (await VerifyAsync(cms)).Intact.ShouldBe(intact);
    }

    [Theory]
    [InlineData("in reverse order", "in reverse order", true)]
    [InlineData("with longer lengths", "with longer lengths", true)]
    [InlineData("in reverse order", "as they are", false)]
    [InlineData("in reverse order", "rotated", false)]
    public async Task A_signature_over_the_encoding_that_was_sent_is_verified_too(
        string signed, string sent, bool intact)
    {
        var cms = Make(set => Sent(set, signed), set => Sent(set, sent));
        (await VerifyAsync(cms)).Intact.ShouldBe(intact);
    }

    [Fact]
    public void Any_BER_form_of_a_tree_is_encoded_again_as_its_DER()
    {
        for (var seed = 0; seed < 2000; seed++)
        {
            var der = Tree(new Random(seed), null, 0);
            var ber = Tree(new Random(seed), new Random(~seed), 0);
            Der.IsCanonical(der).ShouldBeTrue($"seed {seed}");
            Der.Reencode(ber).ShouldBe(der, $"seed {seed}");
            Der.IsCanonical(ber).ShouldBe(ber.AsSpan().SequenceEqual(der), $"seed {seed}");
        }
    }

    private static byte[] Make(Func<byte[], byte[]> sign, Func<byte[], byte[]> send) =>
        HandMade.SignedData(
            new(Signer.Certificate, HandMade.Sha256, "1.2.840.113549.1.1.1", WriteAttributes,
            set => Signer.Rsa.SignData(sign(set!), HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1))
            {
                Send = send,
            });

    private static async Task<SignerVerification> VerifyAsync(byte[] cms)
    {
        using CmsSignedData data = await CmsSignedDataTests.ReadAsync(cms);
        return (await data.VerifyAsync(new MemoryStream(Content))).ShouldHaveSingleItem();
    }

    private static void WriteAttributes(AsnWriter writer)
    {
        HandMade.Attribute(writer, "1.2.840.113549.1.9.3", w => w.WriteObjectIdentifier("1.2.840.113549.1.7.1"));
        HandMade.Attribute(writer, "1.2.840.113549.1.9.4", w => w.WriteOctetString(SHA256.HashData(Content)));
        HandMade.Attribute(writer, "1.2.3.4", w => w.WriteBoolean(true));
    }

    private static byte[] Sent(byte[] set, string how)
    {
        var reader = new AsnReader(set, AsnEncodingRules.BER).ReadSetOf(skipSortOrderValidation: true);
        List<byte[]> attributes = [];
        while (reader.HasData)
        {
            attributes.Add(reader.ReadEncodedValue().ToArray());
        }

        byte[] Joined(IEnumerable<byte[]> parts) => [.. parts.SelectMany(p => p)];
        byte[] Tlv(byte[] contents) => [.. Der.Header(0x31, contents.Length), .. contents];
        return how switch
        {
            "in reverse order" => Tlv(Joined(Enumerable.Reverse(attributes))),
            "rotated" => Tlv(Joined([.. attributes.Skip(1), attributes[0]])),
            "with an indefinite length" => [0x31, 0x80, .. Joined(attributes), 0, 0],
            "with longer lengths" => [0x31, 0x83, 0, 0, (byte)Joined(attributes).Length, .. Joined(attributes)],
            "with the digest in pieces" => Tlv(Joined(attributes.Select(InPieces))),
            "with another TRUE" => Tlv(Joined(attributes.Select(OtherTrue))),
            "without one of them" => Tlv(Joined(attributes.Skip(1))),
            "with one of them twice" => Tlv(Joined([attributes[0], .. attributes])),
            _ => set,
        };
    }

    private static byte[] OtherTrue(byte[] attribute) =>
        attribute[^3] == 0x01 && attribute[^2] == 0x01 ? [.. attribute[..^1], 0x01] : attribute;

    /// <summary>The attribute with its OCTET STRING of 32 octets in two pieces.</summary>
    private static byte[] InPieces(byte[] attribute)
    {
        var at = attribute.AsSpan().IndexOf((ReadOnlySpan<byte>)[0x04, 0x20]);
        if (at < 0)
        {
            return attribute;
        }

        byte[] pieces = [0x24, 0x80, 0x04, 16, .. attribute[^32..^16], 0x04, 16, .. attribute[^16..], 0, 0];
        byte[] values = [0x31, (byte)pieces.Length, .. pieces];
        byte[] contents = [.. attribute[2..(at - 2)], .. values];
        return [0x30, (byte)contents.Length, .. contents];
    }

    /// <summary>A tree of elements: in DER, or in any BER that <paramref name="form"/> picks.</summary>
    private static byte[] Tree(Random shape, Random? form, int depth)
    {
        var kind = shape.Next(depth > 3 ? 5 : 8);
        switch (kind)
        {
            case 0:
                return [0x01, .. Length(1, form), (byte)(form is null ? 0xFF : form.Next(1, 256))];
            case 1:
                return [0x02, .. Length(2, form), 0x10, (byte)shape.Next(256)];
            case 2 or 3:
                var text = new byte[shape.Next(300)];
                shape.NextBytes(text);
                return Str(kind == 2 ? (byte)0x04 : (byte)0x0C, text, form, 0);
            case 4:
                return [0x83, .. Length(1, form), (byte)shape.Next(256)];
            default:
                byte[] tags = [0x30, 0x31, 0xA1];
                List<byte[]> der = [];
                List<byte[]> parts = [];
                for (var count = shape.Next(5); count > 0; count--)
                {
                    var seed = shape.Next();
                    der.Add(Tree(new Random(seed), null, depth + 1));
                    parts.Add(form is null ? der[^1] : Tree(new Random(seed), form, depth + 1));
                }

                var tag = tags[kind - 5];
                if (tag == 0x31)
                {
                    List<int> order = [.. Enumerable.Range(0, parts.Count)];
                    order.Sort((a, b) => der[a].AsSpan().SequenceCompareTo(der[b]));
                    if (form is not null)
                    {
                        order = [.. order.OrderBy(_ => form.Next())];
                    }

                    parts = [.. order.Select(i => parts[i])];
                }

                return Constructed(tag, [.. parts.SelectMany(p => p)], form);
        }
    }

    private static byte[] Str(byte tag, byte[] text, Random? form, int depth)
    {
        if (form is null || depth > 2 || form.Next(2) == 0)
        {
            return [tag, .. Length(text.Length, form), .. text];
        }

        var at = form.Next(text.Length + 1);
        byte[] pieces = [.. Str(tag, text[..at], form, depth + 1), .. Str(tag, text[at..], form, depth + 1)];
        return Constructed((byte)(tag | 0x20), pieces, form);
    }

    private static byte[] Constructed(byte tag, byte[] contents, Random? form) =>
        form?.Next(3) == 0
            ? [tag, 0x80, .. contents, 0, 0]
            : [tag, .. Length(contents.Length, form), .. contents];

    private static byte[] Length(int length, Random? form) =>
        form?.Next(3) == 0
            ? [0x84, 0, (byte)(length >> 16), (byte)(length >> 8), (byte)length]
            : Der.Header(0, length)[1..];
}
