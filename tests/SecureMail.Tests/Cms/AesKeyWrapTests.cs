using SecureMail.Cms;

namespace SecureMail.Tests.Cms;

public sealed class AesKeyWrapTests
{
    private const string Kek = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F";
    private const string Data = "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F";

    /// <summary>RFC 3394 §4.1 to §4.6.</summary>
    [Theory]
    [InlineData(16, 16, "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5")]
    [InlineData(24, 16, "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D")]
    [InlineData(32, 16, "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7")]
    [InlineData(24, 24, "031D33264E15D33268F24EC260743EDCE1C6C7DDEE725A936BA814915C6762D2")]
    [InlineData(32, 24, "A8F9BC1612C68B3FF6E6F4FBE30E71E4769C8B80A32CB8958CD5D17D6B254DA1")]
    [InlineData(32, 32, "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21")]
    public void The_vectors_of_the_standard_wrap_and_unwrap(int kekSize, int dataSize, string wrapped)
    {
        var kek = Convert.FromHexString(Kek)[..kekSize];
        var data = Convert.FromHexString(Data)[..dataSize];
        Convert.ToHexString(AesKeyWrap.Wrap(kek, data)).ShouldBe(wrapped);
        AesKeyWrap.Unwrap(kek, Convert.FromHexString(wrapped)).ShouldBe(data);
    }

    [Fact]
    public void A_changed_bit_or_an_invalid_length_does_not_unwrap()
    {
        var kek = Convert.FromHexString(Kek);
        var wrapped = AesKeyWrap.Wrap(kek, new byte[32]);
        for (var i = 0; i < wrapped.Length * 8; i++)
        {
            byte[] changed = [.. wrapped];
            changed[i / 8] ^= (byte)(1 << (i % 8));
            AesKeyWrap.Unwrap(kek, changed).ShouldBeNull();
        }
        foreach (var length in new[] { 0, 8, 16, 23, 25, 136 })
        {
            AesKeyWrap.Unwrap(kek, new byte[length]).ShouldBeNull();
        }

        Should.Throw<ArgumentException>(() => AesKeyWrap.Wrap(kek, new byte[8]));
    }
}
