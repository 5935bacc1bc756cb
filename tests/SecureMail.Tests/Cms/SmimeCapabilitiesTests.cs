using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.Pkcs;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;

namespace SecureMail.Tests.Cms;

public sealed class SmimeCapabilitiesTests
{
    private const string Aes256Gcm = "2.16.840.1.101.3.4.1.46";
    private const string Aes128Gcm = "2.16.840.1.101.3.4.1.6";
    private const string Aes256Cbc = "2.16.840.1.101.3.4.1.42";
    private const string Aes128Cbc = "2.16.840.1.101.3.4.1.2";
    private const string Hkdf = "1.2.840.113549.1.9.16.3.31";

    private static readonly byte[] Content = [1, 2, 3];

    [Fact]
    public void Our_capabilities_are_read_as_they_are_written()
    {
        var value = SmimeCapabilities.Ours.Encode();
        SmimeCapabilities.TryRead(value)!.Algorithms.ShouldBe(SmimeCapabilities.Ours.Algorithms);
        // RFC 9709 §5: the encoded capability, parameters absent.
        value.AsSpan().IndexOf(Convert.FromHexString("300d060b2a864886f70d010910031f")).ShouldBeGreaterThan(0);
    }

    [Fact]
    public void Parameters_are_ignored_and_a_malformed_attribute_too()
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier("1.2.840.113549.3.2");
            writer.WriteInteger(128);
        }
        var rc2 = writer.Encode();
        SmimeCapabilities.TryRead(rc2)!.Has("1.2.840.113549.3.2").ShouldBeTrue();
        SmimeCapabilities.TryRead(rc2.AsMemory(0, rc2.Length - 1)).ShouldBeNull();
        SmimeCapabilities.TryRead(new byte[] { 0x31, 0x00 }).ShouldBeNull();
        SmimeCapabilities.TryRead(SmimeCapabilities.Of([.. Enumerable.Repeat(Aes256Gcm, 65)]).Encode()).ShouldBeNull();
        SmimeCapabilities
            .TryRead(SmimeCapabilities.Of([.. Enumerable.Repeat(Aes256Gcm, 64)]).Encode())
            .ShouldNotBeNull();
    }

    [Fact]
    public void A_million_capabilities_are_ignored() =>
        SmimeCapabilities
            .TryRead(SmimeCapabilities.Of([.. Enumerable.Repeat(Aes256Gcm, 1_000_000)]).Encode())
            .ShouldBeNull();

    [Fact]
    public async Task Announced_capabilities_are_signed_and_read()
    {
        CmsSignerInfo signer = await SignAsync(SmimeCapabilities.Ours.Attribute);
        signer.Capabilities.ShouldNotBeNull().Algorithms.ShouldBe(SmimeCapabilities.Ours.Algorithms);
        (await SignAsync()).Capabilities.ShouldBeNull();
    }

    /// <summary>RFC 8551 §2.5.2: one attribute, one value. Other forms are ignored and are not a problem of the
    /// signature.</summary>
    [Fact]
    public async Task Duplicate_or_malformed_capabilities_are_ignored_and_the_signature_is_valid()
    {
        CmsAttribute ours = SmimeCapabilities.Ours.Attribute;
        CmsAttribute other = SmimeCapabilities.Of([Aes128Cbc]).Attribute;
        foreach (
            CmsAttribute[] attributes in new CmsAttribute[][]
            {
                [ours, ours],
                [ours, other],
                [ours with { Values = [ours.Values[0], other.Values[0]] }],
                [ours with { Values = [new byte[] { 0x30, 0x02, 0x05, 0x00 }] }],
                [ours with { Values = [new byte[] { 0x04, 0x00 }] }],
                [SmimeCapabilities.Of([.. Enumerable.Repeat(Aes256Gcm, 65)]).Attribute],
                [SmimeCapabilities.Of([.. Enumerable.Repeat(Aes256Gcm, 100_000)]).Attribute],
            })
        {
            (await SignAsync(attributes)).Capabilities.ShouldBeNull();
        }
    }

    [Fact]
    public async Task Unsigned_capabilities_are_ignored()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        using X509Certificate2 withKey = signer.Certificate.CopyWithPrivateKey(signer.Rsa);
        var oracle = new SignedCms(new ContentInfo(Content));
        oracle.ComputeSignature(
            new System.Security.Cryptography.Pkcs.CmsSigner(withKey) { IncludeOption = X509IncludeOption.EndCertOnly });
        oracle
            .SignerInfos[0]
            .AddUnsignedAttribute(
                new AsnEncodedData(new Oid(SmimeCapabilities.Ours.Attribute.Oid), SmimeCapabilities.Ours.Encode()));
        using CmsSignedData data = await CmsSignedDataTests.ReadAsync(oracle.Encode());
        data.Signers.ShouldHaveSingleItem().UnsignedAttributes.ShouldHaveSingleItem();
        data.Signers[0].Capabilities.ShouldBeNull();
    }

    [Fact]
    public void Names_are_those_of_the_standards_and_unknown_names_are_ignored() =>
        SmimeCapabilities
            .Named("id-alg-cek-hkdf-sha256", "id-aes512-GCM", "id-aes256-GCM", "id-aes128-CBC")
            .Algorithms.ShouldBe([Hkdf, Aes256Gcm, Aes128Cbc]);

    /// <summary>From the strongest to the weakest: each is weaker than all before it, and not weaker than itself or
    /// those after it.</summary>
    [Fact]
    public void A_choice_without_authentication_length_or_binding_is_weaker()
    {
        CipherChoice[] falling =
        [
            ContentCipher.Aes256Gcm,
            ContentCipher.Aes128Gcm,
            ContentCipher.Aes256Cbc,
            ContentCipher.Aes128Cbc,
        ];
        for (var better = 0; better < falling.Length; better++)
        {
            for (var worse = 0; worse < falling.Length; worse++)
            {
                falling[worse]
                    .IsWeakerThan(falling[better])
                    .ShouldBe(worse > better, $"{falling[worse].Name} against {falling[better].Name}");
            }

            CipherChoice bound = falling[better] with { BindsAlgorithm = true };
            falling[better].IsWeakerThan(bound).ShouldBeTrue();
            bound.IsWeakerThan(falling[better]).ShouldBeFalse();
            bound.Name.ShouldBe(falling[better].Name + ", id-alg-cek-hkdf-sha256");
        }
    }

    private static async Task<CmsSignerInfo> SignAsync(params CmsAttribute[] attributes)
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=Van thu");
        var cms = await SecureMail.Cms.CmsSigner.SignDetachedAsync(
            new MemoryStream(Content),
            CmsSignedDataTests.Request(signer) with
            {
                Attributes = attributes,
            },
            signer.Key);
        using CmsSignedData data = await CmsSignedDataTests.ReadAsync(cms);
        (await data.VerifyAsync(new MemoryStream(Content))).ShouldHaveSingleItem().Intact.ShouldBeTrue();
        return data.Signers[0];
    }

    public static TheoryData<string[], ContentCipher, bool, bool> Choices =>
        new()
        {
            { [$"{Aes256Gcm} {Hkdf}", $"{Aes256Gcm} {Hkdf}"], ContentCipher.Aes256Gcm, true, false },
            { [$"{Aes256Gcm} {Hkdf}", Aes256Gcm], ContentCipher.Aes256Gcm, false, false },
            { [$"{Aes256Gcm} {Aes128Gcm}", $"{Aes128Gcm} {Aes128Cbc}"], ContentCipher.Aes128Gcm, false, true },
            { [Aes256Gcm, Aes256Cbc], ContentCipher.Aes256Cbc, false, true },
            { [Aes256Gcm, Aes128Cbc], ContentCipher.Aes128Cbc, false, true },
            { [Aes256Gcm, "1.2.840.113549.3.7"], ContentCipher.Aes256Cbc, false, true },
            { [Aes256Gcm, ""], ContentCipher.Aes256Cbc, false, true },
            { [], ContentCipher.Aes256Cbc, false, true },
        };

    [Theory]
    [MemberData(nameof(Choices))]
    public void The_cipher_is_the_strongest_that_every_recipient_announced_and_a_weaker_one_has_a_reason(
        string[] readers, ContentCipher cipher, bool binds, bool downgrade)
    {
        var choice = CipherChoice.For([
            .. readers.Select(r => r.Length == 0 ? null : SmimeCapabilities.Of(r.Split(' '))),
        ]);
        choice.Cipher.ShouldBe(cipher);
        choice.BindsAlgorithm.ShouldBe(binds);
        (choice.Downgrade is not null).ShouldBe(downgrade);
    }
}
