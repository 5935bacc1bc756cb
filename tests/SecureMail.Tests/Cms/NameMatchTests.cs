using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;

namespace SecureMail.Tests.Cms;

/// <summary>Names of certificates in CMS are compared by RFC 5280 §7.1, whatever string type a writer chose.</summary>
public sealed class NameMatchTests
{
    private const string EssSigningCertificateV2 = "1.2.840.113549.1.9.16.2.47";
    private static readonly byte[] Content = "Kính gửi: Văn phòng\r\n"u8.ToArray();
    private static readonly TestPki Pki = new("Tên  có   dấu");
    private static readonly TestIdentity Signer = Pki.Issue("CN=Van thu");

    public static TheoryData<UniversalTagNumber, Func<string, string>, bool> Spellings() =>
        new()
        {
            { UniversalTagNumber.UTF8String, s => s, true },
            { UniversalTagNumber.BMPString, s => s, true },
            { UniversalTagNumber.UTF8String, s => s.ToUpperInvariant(), true },
            { UniversalTagNumber.UTF8String, s => $"  {s.Replace(" ", "   ", StringComparison.Ordinal)} ", true },
            { UniversalTagNumber.UTF8String, s => s + "x", false },
            { UniversalTagNumber.UTF8String, s => s.Replace(" ", "", StringComparison.Ordinal), false },
        };

    [Theory]
    [MemberData(nameof(Spellings))]
    public async Task A_signer_is_found_by_a_name_in_another_spelling(
        UniversalTagNumber type, Func<string, string> spell, bool same)
    {
        var issuer = Signer.Certificate.IssuerName.RawData;
        var signed = Sign(null);
        var at = signed.AsSpan().LastIndexOf(issuer);
        // The value of the signature does not cover the identifier.
        var changed = Der.ReplaceAt(signed, at, issuer.Length, Respell(issuer, type, spell));
        SignerVerification result = await VerifyAsync(changed);
        result.Problems.ShouldBe(same ? [] : [SignerProblem.CertificateMissing]);
        result.Intact.ShouldBe(same);
    }

    [Theory]
    [MemberData(nameof(Spellings))]
    public async Task A_signing_certificate_attribute_names_the_issuer_in_another_spelling(
        UniversalTagNumber type, Func<string, string> spell, bool same)
    {
        SignerVerification result = await VerifyAsync(
            Sign(writer => WriteEss(writer, Respell(Signer.Certificate.IssuerName.RawData, type, spell))));
        result.SignatureMatches.ShouldBe(true);
        result.Problems.ShouldBe(same ? [] : [SignerProblem.SigningCertificateContradicts]);
    }

    [Theory]
    [InlineData("a\u0001CN=b", "a", "b")] // two parts of a name are not one that looks like them
    [InlineData("a\u00022.5.4.3=b", "a", "b")]
    public void A_value_cannot_look_like_two(string one, string first, string second)
    {
        DistinguishedName.Read(Name([one])).Matches(DistinguishedName.Read(Name([first, second]))).ShouldBeFalse();
        DistinguishedName.Read(Name([one])).Matches(DistinguishedName.Read(Name([one]))).ShouldBeTrue();
    }

    [Fact]
    public void A_name_beyond_its_limits_is_refused()
    {
        Should.Throw<AsnContentException>(() => DistinguishedName.Read(Name([new string('x', 40_000)])));
        Should.Throw<AsnContentException>(() =>
            DistinguishedName.Read(Name([.. Enumerable.Range(0, 257).Select(i => $"{i}")])));
        DistinguishedName.Read(Name([new string('x', 20_000)])).IsEmpty.ShouldBeFalse();
    }

    private static byte[] Sign(Action<AsnWriter>? more) =>
        HandMade.SignedData(
            new(Signer.Certificate, HandMade.Sha256, "1.2.840.113549.1.1.11", writer =>
            {
                HandMade.Attribute(
                    writer, "1.2.840.113549.1.9.3", w => w.WriteObjectIdentifier("1.2.840.113549.1.7.1"));
                HandMade.Attribute(writer, "1.2.840.113549.1.9.4", w => w.WriteOctetString(SHA256.HashData(Content)));
                more?.Invoke(writer);
            },
            set => Signer.Rsa.SignData(set!, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)));

    private static void WriteEss(AsnWriter writer, byte[] issuer) =>
        HandMade.Attribute(writer, EssSigningCertificateV2, w =>
        {
            using (w.PushSequence())
            using (w.PushSequence())
            using (w.PushSequence())
            {
                w.WriteOctetString(SHA256.HashData(Signer.Certificate.RawData));
                using (w.PushSequence())
                {
                    using (w.PushSequence())
                    using (w.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 4)))
                    {
                        w.WriteEncodedValue(issuer);
                    }

                    w.WriteInteger(Signer.Certificate.SerialNumberBytes.Span);
                }
            }
        });

    private static async Task<SignerVerification> VerifyAsync(byte[] cms)
    {
        using CmsSignedData data = await CmsSignedData.ReadAsync(new MemoryStream(cms));
        return (await data.VerifyAsync(new MemoryStream(Content))).ShouldHaveSingleItem();
    }

    private static byte[] Respell(byte[] name, UniversalTagNumber type, Func<string, string> spell)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        AsnReader reader = new AsnReader(name, AsnEncodingRules.DER).ReadSequence();
        using (writer.PushSequence())
        {
            while (reader.HasData)
            {
                AsnReader attribute = reader.ReadSetOf().ReadSequence();
                var oid = attribute.ReadObjectIdentifier();
                var text = attribute.ReadCharacterString((UniversalTagNumber)attribute.PeekTag().TagValue);
                using (writer.PushSetOf())
                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier(oid);
                    writer.WriteCharacterString(type, spell(text));
                }
            }
        }

        return writer.Encode();
    }

    private static byte[] Name(string[] values)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            foreach (var value in values)
            {
                using (writer.PushSetOf())
                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier("2.5.4.3");
                    writer.WriteCharacterString(UniversalTagNumber.UTF8String, value);
                }
            }
        }

        return writer.Encode();
    }

    /// <summary>Changes one element of a DER encoding, with the lengths of those around it.</summary>
    private static class Der
    {
        public static byte[] ReplaceAt(byte[] encoded, int at, int length, byte[] element)
        {
            if (at == 0 && length == encoded.Length)
            {
                return element;
            }

            AsnDecoder.ReadEncodedValue(encoded, AsnEncodingRules.DER, out var offset, out var contents, out _);
            var inner = new MemoryStream();
            for (var position = offset; position < offset + contents;)
            {
                AsnDecoder.ReadEncodedValue(
                    encoded.AsSpan(position), AsnEncodingRules.DER, out _, out _, out var used);
                var part = encoded.AsSpan(position, used).ToArray();
                inner.Write(
                    at >= position && at + length <= position + used
                        ? ReplaceAt(part, at - position, length, element)
                        : part);
                position += used;
            }

            return [encoded[0], .. SecureMail.Cms.Asn1.Der.Header(0, inner.Length).AsSpan(1), .. inner.ToArray()];
        }
    }
}
