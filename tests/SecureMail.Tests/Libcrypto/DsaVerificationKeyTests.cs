using System.Text.Json;
using SecureMail.Libcrypto;

namespace SecureMail.Tests.Libcrypto;

/// <summary>tests/vectors/libcrypto/dsa: keys and signatures by OpenSSL, and what is neither.</summary>
public sealed class DsaVerificationKeyTests
{
    private static readonly JsonElement Cases = JsonDocument
        .Parse(Vectors.Read("libcrypto/dsa", "cases.json"))
        .RootElement;

    public static TheoryData<int, string> All => Vectors.Labelled(Cases, "why");

    [Theory]
    [MemberData(nameof(All))]
    public void A_signature_has_its_expected_outcome(int index, string why)
    {
        var expected = Cases[index];
        byte[] Bytes(string name) => Convert.FromHexString(expected.GetProperty(name).GetString()!);
        using var key = VerificationKey.TryDsa(Bytes("p"), Bytes("q"), Bytes("g"), Bytes("y"));
        (key is not null).ShouldBe(expected.GetProperty("key").GetBoolean(), why);
        (key?.VerifyDsa(Bytes("hash"), Bytes("signature")) ?? false)
            .ShouldBe(expected.GetProperty("valid").GetBoolean(), why);
    }

    [Fact]
    public void A_key_of_another_kind_verifies_nothing()
    {
        var seed = Ed25519.GenerateSeed();
        using var key = VerificationKey.TryEd25519(Ed25519.PublicKeyOf(seed))!;
        var first = Cases[0];
        key.VerifyDsa(
            Convert.FromHexString(first.GetProperty("hash").GetString()!),
            Convert.FromHexString(first.GetProperty("signature").GetString()!)).ShouldBeFalse();
        using var dsa = VerificationKey.TryDsa(
            Convert.FromHexString(first.GetProperty("p").GetString()!),
            Convert.FromHexString(first.GetProperty("q").GetString()!),
            Convert.FromHexString(first.GetProperty("g").GetString()!),
            Convert.FromHexString(first.GetProperty("y").GetString()!))!;
        dsa.VerifyEd25519("m"u8, Ed25519.Sign(seed, "m"u8)).ShouldBeFalse();
        dsa.VerifyEcdsa(new byte[32], Convert.FromHexString(first.GetProperty("signature").GetString()!))
            .ShouldBeFalse();
    }
}
