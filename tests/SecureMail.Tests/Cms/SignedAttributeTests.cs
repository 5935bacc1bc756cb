using System.Formats.Asn1;
using System.Security.Cryptography;
using SecureMail.Cms;
using SecureMail.Trust;

namespace SecureMail.Tests.Cms;

/// <summary>The problems reported for a signature whose value verifies and whose attributes or algorithms are
/// invalid.</summary>
public sealed class SignedAttributeTests
{
    private const string ContentType = "1.2.840.113549.1.9.3";
    private const string MessageDigest = "1.2.840.113549.1.9.4";
    private const string SigningTime = "1.2.840.113549.1.9.5";
    private const string SigningCertificate = "1.2.840.113549.1.9.16.2.12";
    private const string SigningCertificateV2 = "1.2.840.113549.1.9.16.2.47";
    private const string AlgorithmProtection = "1.2.840.113549.1.9.52";
    private const string Sha384 = "2.16.840.1.101.3.4.2.2";
    private const string RsaEncryption = "1.2.840.113549.1.1.1";
    private const string Sha256WithRsa = "1.2.840.113549.1.1.11";

    private static readonly byte[] Content = "Kính gửi: Văn phòng Đảng ủy\r\n"u8.ToArray();
    private static readonly TestIdentity Signer = TestPki.Shared.Issue("CN=Van thu");

    public static TheoryData<string, SignerProblem?> Cases =>
        new()
        {
            { "as it should be", null },
            { "content type twice", SignerProblem.AttributeDuplicated },
            { "content type is no identifier", SignerProblem.AttributeMalformed },
            { "content type is a megabyte", SignerProblem.AttributeMalformed },
            { "digest without value", SignerProblem.AttributeMalformed },
            { "digest with two equal values", SignerProblem.AttributeMalformed },
            { "digest is no octet string", SignerProblem.AttributeMalformed },
            { "time is text", SignerProblem.AttributeMalformed },
            { "time twice", SignerProblem.AttributeDuplicated },
            { "time without value", SignerProblem.AttributeMalformed },
            { "time in both forms", SignerProblem.AttributeMalformed },
            { "unknown", null },
            { "unknown twice", null },
            { "unknown with two values", null },
            { "unknown without value", SignerProblem.AttributeMalformed },
            { "certificate by SHA-1", null },
            { "certificate by SHA-1 of another", SignerProblem.SigningCertificateContradicts },
            { "certificate by SHA-384", null },
            { "certificate by an unknown hash", SignerProblem.AttributeMalformed },
            { "certificate with its issuer", null },
            { "certificate with another serial", SignerProblem.SigningCertificateContradicts },
            { "new attribute right and old one wrong", SignerProblem.SigningCertificateContradicts },
            { "no certificates in the attribute", SignerProblem.AttributeMalformed },
            { "protection", null },
            { "protection with NULL", null },
            { "protection of another digest", SignerProblem.AlgorithmProtectionContradicts },
            { "protection of another signature", SignerProblem.AlgorithmProtectionContradicts },
            { "protection without signature", SignerProblem.AlgorithmProtectionContradicts },
            { "protection malformed", SignerProblem.AttributeMalformed },
        };

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Each_attribute_is_checked(string defect, SignerProblem? expected)
    {
        using CmsSignedData data = await CmsSignedDataTests.ReadAsync(Make(writer => WriteAttributes(writer, defect)));
        SignerVerification result = (await data.VerifyAsync(new MemoryStream(Content))).ShouldHaveSingleItem();
        result.SignatureMatches.ShouldBe(true);
        // An unreadable digest is also a missing one.
        SignerProblem[] also = defect is "digest without value" or "digest is no octet string"
            ? [SignerProblem.MessageDigestMissing]
            : [];
        result.Problems.ShouldBe(
            expected is { } problem ? [problem, .. also] : [], ignoreOrder: true, customMessage: defect);
        result.Intact.ShouldBe(expected is null);
        if (expected is not null)
        {
            (await JudgeAsync(data)).Indication.ShouldBe(Indication.TotalFailed);
        }
    }

    public static TheoryData<string, string, SignerProblem?> Algorithms =>
        new()
        {
            // the digest's parameters, the signature's, what is wrong
            { "", "", null },
            { "0500", "0500", null },
            { "0500", "", null },
            { "3000", "0500", SignerProblem.DigestUnsupported },
            { "05000500", "0500", SignerProblem.DigestUnsupported },
            { "", "3000", SignerProblem.SignatureAlgorithmUnsupported },
            { "", "05000500", SignerProblem.SignatureAlgorithmUnsupported },
        };

    [Theory]
    [MemberData(nameof(Algorithms))]
    public async Task Parameters_of_algorithms_are_absent_or_NULL(
        string digest, string signature, SignerProblem? expected)
    {
        var cms = Make(
            writer => WriteAttributes(writer, ""), writer => Raw(writer, HandMade.Sha256, digest),
            writer => Raw(writer, Sha256WithRsa, signature));
        using CmsSignedData data = await CmsSignedDataTests.ReadAsync(cms);
        SignerVerification result = (await data.VerifyAsync(new MemoryStream(Content))).ShouldHaveSingleItem();
        result.Intact.ShouldBe(expected is null);
        result.Problems.ShouldBe(expected is { } problem ? [problem] : []);
        if (expected is not null)
        {
            (await JudgeAsync(data)).Indication.ShouldNotBe(Indication.TotalPassed);
        }
    }

    public static TheoryData<string, SignerProblem?> Pss =>
        new()
        {
            { "right", null },
            { "no parameters", SignerProblem.SignatureAlgorithmUnsupported },
            { "another hash", SignerProblem.AlgorithmsContradict },
            { "trailer 2", SignerProblem.SignatureAlgorithmUnsupported },
            { "negative salt", SignerProblem.SignatureAlgorithmUnsupported },
            { "another mask function", SignerProblem.SignatureAlgorithmUnsupported },
            { "something behind", SignerProblem.SignatureAlgorithmUnsupported },
        };

    [Theory]
    [MemberData(nameof(Pss))]
    public async Task PSS_parameters_are_checked_each(string defect, SignerProblem? expected)
    {
        var cms = HandMade.SignedData(
            new(Signer.Certificate, HandMade.Sha256, "", w => WriteAttributes(w, ""),
            set => Signer.Rsa.SignData(set!, HashAlgorithmName.SHA256, RSASignaturePadding.Pss))
            {
                WriteAlgorithm = w => WritePss(w, defect),
            });
        using CmsSignedData data = await CmsSignedDataTests.ReadAsync(cms);
        SignerVerification result = (await data.VerifyAsync(new MemoryStream(Content))).ShouldHaveSingleItem();
        result.Intact.ShouldBe(expected is null);
        if (expected is { } problem)
        {
            result.Problems.ShouldContain(problem);
        }
    }

    [Fact]
    public async Task Another_length_of_salt_than_was_signed_with_does_not_verify()
    {
        var cms = HandMade.SignedData(
            new(Signer.Certificate, HandMade.Sha256, "", w => WriteAttributes(w, ""),
            set => Signer.Rsa.SignData(set!, HashAlgorithmName.SHA256, RSASignaturePadding.Pss))
            {
                WriteAlgorithm = w => WritePss(w, "salt 20"),
            });
        using CmsSignedData data = await CmsSignedDataTests.ReadAsync(cms);
        (await data.VerifyAsync(new MemoryStream(Content))).ShouldHaveSingleItem().SignatureMatches.ShouldBe(false);
    }

    private static byte[] Make(
        Action<AsnWriter> attributes, Action<AsnWriter>? digest = null, Action<AsnWriter>? algorithm = null) =>
        HandMade.SignedData(
            new(Signer.Certificate, HandMade.Sha256, RsaEncryption, attributes,
            set => Signer.Rsa.SignData(set!, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1))
            {
                WriteDigest = digest,
                WriteAlgorithm = algorithm,
            });

    private static async Task<SignatureFinding> JudgeAsync(CmsSignedData data) =>
        (
            await SignatureValidator.ValidateAsync(
                data,
                new MemoryStream(Content),
                new ValidationOptions
                {
                    Trust = new TrustMaterial(
                        [TestPki.Shared.Root.Certificate], [TestPki.Shared.Ca.Certificate], TestPki.Shared.Crls()),
                    At = TestPki.Now,
                })
        ).ShouldHaveSingleItem();

    private static void WriteAttributes(AsnWriter writer, string defect)
    {
        Action<AsnWriter> data = w => w.WriteObjectIdentifier("1.2.840.113549.1.7.1");
        Action<AsnWriter> digest = w => w.WriteOctetString(SHA256.HashData(Content));
        Action<AsnWriter> time = w => w.WriteUtcTime(TestPki.Now);
        Action<AsnWriter> text = w => w.WriteCharacterString(UniversalTagNumber.UTF8String, "hôm nay");
        void Add(string oid, params Action<AsnWriter>[] values) => HandMade.Attribute(writer, oid, values);

        Add(
            ContentType,
            defect switch
            {
                "content type is no identifier" => text,
                "content type is a megabyte" => w =>
                    w.WriteEncodedValue([
                        0x06,
                        0x83,
                        0x10,
                        0x00,
                        0x00,
                        .. Enumerable.Repeat((byte)0x81, 0xFFFFF),
                        0x01,
                    ]),
                _ => data,
            });
        if (defect == "content type twice")
        {
            Add(ContentType, data);
        }

        switch (defect)
        {
            // The right digest comes first, so that the malformed one is the only other defect.
            case "digest without value" or "digest is no octet string":
                break;
            case "digest with two equal values":
                Add(MessageDigest, digest, digest);
                break;
            default:
                Add(MessageDigest, digest);
                break;
        }
        AddMore(writer, defect, time, text, digest);
    }

    private static void AddMore(
        AsnWriter writer, string defect, Action<AsnWriter> time, Action<AsnWriter> text, Action<AsnWriter> digest)
    {
        void Add(string oid, params Action<AsnWriter>[] values) => HandMade.Attribute(writer, oid, values);
        var certificate = Signer.Certificate.RawData;
        switch (defect)
        {
            case "digest without value":
                Add(MessageDigest);
                break;
            case "digest is no octet string":
                Add(MessageDigest, text);
                break;
            case "time is text":
                Add(SigningTime, text);
                break;
            case "time twice":
                Add(SigningTime, time);
                Add(SigningTime, time);
                break;
            case "time without value":
                Add(SigningTime);
                break;
            case "time in both forms":
                Add(SigningTime, time, w => w.WriteGeneralizedTime(TestPki.Now, omitFractionalSeconds: true));
                break;
            case "unknown":
                Add("1.3.6.1.4.1.99999.1", text);
                break;
            case "unknown twice":
                Add("1.3.6.1.4.1.99999.1", text);
                Add("1.3.6.1.4.1.99999.1", digest);
                break;
            case "unknown with two values":
                Add("1.3.6.1.4.1.99999.1", text, digest);
                break;
            case "unknown without value":
                Add("1.3.6.1.4.1.99999.1");
                break;
            case "certificate by SHA-1":
                Add(SigningCertificate, w => WriteCertificate(w, SHA1.HashData(certificate)));
                break;
            case "certificate by SHA-1 of another":
                Add(SigningCertificate, w => WriteCertificate(w, new byte[20]));
                break;
            case "certificate by SHA-384":
                Add(SigningCertificateV2, w => WriteCertificate(w, SHA384.HashData(certificate), Sha384));
                break;
            case "certificate by an unknown hash":
                Add(SigningCertificateV2, w => WriteCertificate(w, new byte[32], "1.2.3.4"));
                break;
            case "certificate with its issuer":
                Add(SigningCertificateV2, w =>
                    WriteCertificate(
                        w, SHA256.HashData(certificate), null, Signer.Certificate.SerialNumberBytes.ToArray()));
                break;
            case "certificate with another serial":
                Add(SigningCertificateV2, w => WriteCertificate(w, SHA256.HashData(certificate), null, [1, 2, 3]));
                break;
            case "new attribute right and old one wrong":
                Add(SigningCertificateV2, w => WriteCertificate(w, SHA256.HashData(certificate)));
                Add(SigningCertificate, w => WriteCertificate(w, new byte[20]));
                break;
            case "no certificates in the attribute":
                Add(SigningCertificateV2, w => w.WriteEncodedValue([0x30, 0x02, 0x30, 0x00]));
                break;
            case "protection"
            or "protection with NULL"
            or "protection of another digest"
            or "protection of another signature"
            or "protection without signature"
            or "protection malformed":
                Add(AlgorithmProtection, w => WriteProtection(w, defect));
                break;
        }
    }

    private static void WriteCertificate(AsnWriter writer, byte[] hash, string? algorithm = null, byte[]? serial = null)
    {
        using (writer.PushSequence())
        using (writer.PushSequence())
        using (writer.PushSequence())
        {
            if (algorithm is not null)
            {
                HandMade.Algorithm(writer, algorithm);
            }

            writer.WriteOctetString(hash);
            if (serial is null)
            {
                return;
            }

            using (writer.PushSequence())
            {
                using (writer.PushSequence())
                using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 4)))
                {
                    writer.WriteEncodedValue(Signer.Certificate.IssuerName.RawData);
                }

                writer.WriteInteger(serial);
            }
        }
    }

    private static void WriteProtection(AsnWriter writer, string defect)
    {
        if (defect == "protection malformed")
        {
            writer.WriteOctetString([1]);
            return;
        }
        using (writer.PushSequence())
        {
            HandMade.Algorithm(
                writer, defect == "protection of another digest" ? Sha384 : HandMade.Sha256,
                defect == "protection with NULL" ? [5, 0] : null);
            if (defect == "protection without signature")
            {
                return;
            }

            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 1)))
            {
                writer.WriteObjectIdentifier(
                    defect == "protection of another signature" ? Sha256WithRsa : RsaEncryption);
                if (defect == "protection with NULL")
                {
                    writer.WriteNull();
                }
            }
        }
    }

    private static void WritePss(AsnWriter writer, string defect)
    {
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier("1.2.840.113549.1.1.10");
            if (defect == "no parameters")
            {
                return;
            }

            var hash = defect == "another hash" ? Sha384 : HandMade.Sha256;
            using (writer.PushSequence())
            {
                using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
                {
                    HandMade.Algorithm(writer, hash, [5, 0]);
                }

                using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 1)))
                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier(
                        defect == "another mask function" ? "1.2.3.4" : "1.2.840.113549.1.1.8");
                    HandMade.Algorithm(writer, hash, [5, 0]);
                }
                using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 2)))
                {
                    writer.WriteInteger(
                        defect switch
                        {
                            "negative salt" => -1,
                            "salt 20" => 20,
                            _ => 32,
                        });
                }

                if (defect == "trailer 2")
                {
                    using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 3)))
                    {
                        writer.WriteInteger(2);
                    }
                }
            }
            if (defect == "something behind")
            {
                writer.WriteNull();
            }
        }
    }

    private static void Raw(AsnWriter writer, string oid, string parameters)
    {
        var given = Convert.FromHexString(parameters);
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(oid);
            for (var at = 0; at < given.Length; at += 2)
            {
                writer.WriteEncodedValue(given.AsSpan(at, 2));
            }
        }
    }
}
