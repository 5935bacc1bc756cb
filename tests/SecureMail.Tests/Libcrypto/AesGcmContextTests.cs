using System.Security.Cryptography;
using SecureMail.Libcrypto;

namespace SecureMail.Tests.Libcrypto;

public sealed class AesGcmContextTests
{
    // The GCM specification of McGrew and Viega, appendix B, test case 16 (AES-256 with additional data).
    private static readonly byte[] Key = Convert.FromHexString(
        "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    private static readonly byte[] Nonce = Convert.FromHexString("cafebabefacedbaddecaf888");
    private static readonly byte[] Plain = Convert.FromHexString(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
            + "b16aedf5aa0de657ba637b39");
    private static readonly byte[] Aad = Convert.FromHexString("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    private static readonly byte[] Cipher = Convert.FromHexString(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
            + "c5f61e6393ba7a0abcc9f662");
    private static readonly byte[] Tag = Convert.FromHexString("76fc6ece0f4e1768cddf8853bb2d551b");

    [Fact]
    public void Test_case_16_of_the_specification_passes_in_one_piece_and_byte_by_byte()
    {
        foreach (var step in new[] { 1, 7, 16, 60 })
        {
            using var context = AesGcmContext.ForEncryption(Key, Nonce);
            context.AddAad(Aad.AsSpan(0, 3));
            context.AddAad(Aad.AsSpan(3));
            var output = new byte[Plain.Length];
            for (var i = 0; i < Plain.Length; i += step)
            {
                context.Update(Plain.AsSpan(i, Math.Min(step, Plain.Length - i)), output.AsSpan(i));
            }

            var tag = new byte[16];
            context.WriteTag(tag);
            output.ShouldBe(Cipher);
            tag.ShouldBe(Tag);
        }
    }

    [Theory]
    [InlineData(16, 12)]
    [InlineData(24, 15)]
    [InlineData(32, 16)]
    public void Decryption_agrees_with_the_platform_for_every_key_and_tag_size(int keySize, int tagSize)
    {
        var key = RandomNumberGenerator.GetBytes(keySize);
        var nonce = RandomNumberGenerator.GetBytes(12);
        var plain = RandomNumberGenerator.GetBytes(100_003);
        var cipher = new byte[plain.Length];
        var tag = new byte[tagSize];
        using var oracle = new AesGcm(key, tagSize);
        oracle.Encrypt(nonce, plain, cipher, tag, Aad);

        using var context = AesGcmContext.ForDecryption(key, nonce);
        context.AddAad(Aad);
        context.Update(cipher.AsSpan(0, 65_537), cipher);
        context.Update(cipher.AsSpan(65_537), cipher.AsSpan(65_537));
        context.VerifyTag(tag).ShouldBeTrue();
        cipher.ShouldBe(plain);
    }

    [Fact]
    public void A_change_of_tag_data_or_content_is_detected()
    {
        Opens(Cipher, Aad, Tag).ShouldBeTrue();
        Opens(Flip(Cipher), Aad, Tag).ShouldBeFalse();
        Opens(Cipher, Flip(Aad), Tag).ShouldBeFalse();
        Opens(Cipher, Aad, Flip(Tag)).ShouldBeFalse();
        Opens(Cipher, Aad, Tag[..11]).ShouldBeFalse();
        Opens(Cipher, Aad, []).ShouldBeFalse();
        Opens(Cipher[..^1], Aad, Tag).ShouldBeFalse();

        static byte[] Flip(byte[] data) => [.. data[..^1], (byte)(data[^1] ^ 0x80)];
        static bool Opens(byte[] cipher, byte[] aad, byte[] tag)
        {
            using var context = AesGcmContext.ForDecryption(Key, Nonce);
            context.AddAad(aad);
            context.Update(cipher, new byte[cipher.Length]);
            return context.VerifyTag(tag);
        }
    }

    [Fact]
    public void Empty_content_has_a_tag_too()
    {
        using var context = AesGcmContext.ForEncryption(Key, Nonce);
        var tag = new byte[16];
        context.WriteTag(tag);
        var expected = new byte[16];
        using var oracle = new AesGcm(Key, 16);
        oracle.Encrypt(Nonce, Array.Empty<byte>(), Array.Empty<byte>(), expected);
        tag.ShouldBe(expected);
    }

    [Fact]
    public void Calls_out_of_order_are_refused()
    {
        using var context = AesGcmContext.ForEncryption(Key, Nonce);
        context.Update(Plain, new byte[Plain.Length]);
        Should.Throw<InvalidOperationException>(() => context.AddAad(Aad));
        Should.Throw<InvalidOperationException>(() => context.VerifyTag(Tag));
        context.WriteTag(new byte[16]);
        Should.Throw<InvalidOperationException>(() => context.Update(Plain, new byte[Plain.Length]));
        Should.Throw<InvalidOperationException>(() => context.WriteTag(new byte[16]));
        Should.Throw<ArgumentException>(() => AesGcmContext.ForEncryption(new byte[17], Nonce));
        Should.Throw<ArgumentException>(() => AesGcmContext.ForEncryption(Key, []));
    }
}
