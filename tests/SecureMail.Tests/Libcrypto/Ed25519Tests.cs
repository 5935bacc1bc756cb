using System.Text.Json;
using SecureMail.Libcrypto;

namespace SecureMail.Tests.Libcrypto;

public sealed class Ed25519Tests
{
    private static readonly JsonElement Cases = JsonDocument
        .Parse(Vectors.Read("libcrypto/ed25519", "cases.json"))
        .RootElement;

    // RFC 8032 §7.1, tests 1, 2, 3 and SHA(abc): seed, public key, message, signature.
    public static TheoryData<string, string, string, string> Rfc8032 =>
        new()
        {
            {
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
                    + "d25bf5f0595bbe24655141438e7a100b"
            },
            {
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
                    + "387b2eaeb4302aeeb00d291612bb0c00"
            },
            {
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
                    + "4a7c15e9716ed28dc027beceea1ec40a"
            },
            {
                "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
                "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
                    + "454d4423643ce80e2a9ac94fa54ca49f",
                "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030"
                    + "3dca179c138ac17ad9bef1177331a704"
            },
        };

    public static TheoryData<int, string> Edges => Vectors.Labelled(Cases, "why");

    [Theory]
    [MemberData(nameof(Rfc8032))]
    public void The_vectors_of_RFC_8032_pass(string seed, string publicKey, string message, string signature)
    {
        Convert.ToHexStringLower(Ed25519.PublicKeyOf(Convert.FromHexString(seed))).ShouldBe(publicKey);
        Convert
            .ToHexStringLower(Ed25519.Sign(Convert.FromHexString(seed), Convert.FromHexString(message)))
            .ShouldBe(signature);
        Verify(Convert.FromHexString(publicKey), Convert.FromHexString(message), Convert.FromHexString(signature))
            .ShouldBeTrue();
    }

    [Fact]
    public void A_signature_is_valid_for_its_message_and_key_only()
    {
        var seed = Ed25519.GenerateSeed();
        var key = Ed25519.PublicKeyOf(seed);
        var message = "checkpoint"u8.ToArray();
        var signature = Ed25519.Sign(seed, message);

        Verify(key, message, signature).ShouldBeTrue();
        Verify(Ed25519.PublicKeyOf(Ed25519.GenerateSeed()), message, signature).ShouldBeFalse();
        for (var i = 0; i < signature.Length; i++)
        {
            byte[] changed = [.. signature];
            changed[i] ^= 1;
            Verify(key, message, changed).ShouldBeFalse();
        }
        message[0] ^= 1;
        Verify(key, message, signature).ShouldBeFalse();
    }

    /// <summary>tests/vectors/libcrypto/ed25519: keys and R of low order or outside the group, S that is not below the
    /// order, other encodings.</summary>
    [Theory]
    [MemberData(nameof(Edges))]
    public void A_signature_at_the_edge_has_its_expected_outcome(int index, string why)
    {
        var expected = Cases[index];
        byte[] Bytes(string name) => Convert.FromHexString(expected.GetProperty(name).GetString()!);
        Verify(Bytes("publicKey"), Bytes("message"), Bytes("signature"))
            .ShouldBe(expected.GetProperty("valid").GetBoolean(), why);
    }

    [Fact]
    public void Keys_and_signatures_of_wrong_length_are_invalid_and_a_wrong_seed_is_an_error()
    {
        var seed = Ed25519.GenerateSeed();
        var signature = Ed25519.Sign(seed, "m"u8);
        Verify([], "m"u8, signature).ShouldBeFalse();
        Verify(new byte[33], "m"u8, signature).ShouldBeFalse();
        Verify(Ed25519.PublicKeyOf(seed), "m"u8, signature.AsSpan(0, 63)).ShouldBeFalse();
        Should.Throw<ArgumentException>(() => Ed25519.PublicKeyOf(new byte[31]));
        Should.Throw<ArgumentException>(() => Ed25519.Sign(new byte[33], "m"u8));
    }

    private static bool Verify(ReadOnlySpan<byte> publicKey, ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature)
    {
        using var key = VerificationKey.TryEd25519(publicKey);
        return key is not null && key.VerifyEd25519(message, signature);
    }
}
