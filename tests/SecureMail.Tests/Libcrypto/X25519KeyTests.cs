using System.Security.Cryptography;
using SecureMail.Libcrypto;

namespace SecureMail.Tests.Libcrypto;

public sealed class X25519KeyTests
{
    /// <summary>RFC 7748 §5.2 (the first two vectors) and §6.1.</summary>
    [Theory]
    [InlineData(
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")]
    [InlineData(
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")]
    public void The_vectors_of_the_standard_pass(string privateKey, string publicKey, string secret)
    {
        using var key = X25519Key.FromRaw(Convert.FromHexString(privateKey));
        var derived = new byte[X25519Key.Size];
        key.TryDerive(Convert.FromHexString(publicKey), derived).ShouldBeTrue();
        Convert.ToHexStringLower(derived).ShouldBe(secret);
    }

    /// <summary>RFC 7748 §5.2: the key that comes out is the next one, and the one before is the next
    /// point.</summary>
    [Theory]
    [InlineData(1, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")]
    [InlineData(1000, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")]
    public void The_iterated_vectors_of_the_standard_pass(int times, string expected)
    {
        byte[] k = [9, .. new byte[31]],
            u = k;
        for (var i = 0; i < times; i++)
        {
            using var key = X25519Key.FromRaw(k);
            var next = new byte[X25519Key.Size];
            key.TryDerive(u, next).ShouldBeTrue();
            (k, u) = (next, k);
        }

        Convert.ToHexStringLower(k).ShouldBe(expected);
    }

    /// <summary>RFC 7748 §5: the highest bit is passed over, and a number that is not below p counts as its
    /// remainder. Here both are the base point.</summary>
    [Theory]
    [InlineData("0900000000000000000000000000000000000000000000000000000000000080")]
    [InlineData("f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")]
    [InlineData("f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff")]
    public void A_public_key_in_another_encoding_counts_as_its_value(string publicKey)
    {
        using var key = X25519Key.Generate();
        var secret = new byte[X25519Key.Size];
        key.TryDerive(Convert.FromHexString(publicKey), secret).ShouldBeTrue();
        secret.ShouldBe(key.PublicKey.ToArray());
    }

    [Fact]
    public void A_disposed_key_derives_nothing()
    {
        var key = X25519Key.Generate();
        key.Dispose();
        Should.Throw<ObjectDisposedException>(() => key.TryDerive(key.PublicKey.Span, new byte[32]));
    }

    [Fact]
    public void Two_keys_share_one_secret()
    {
        using var one = X25519Key.Generate();
        using var other = X25519Key.Generate();
        byte[] first = new byte[32],
            second = new byte[32];
        one.TryDerive(other.PublicKey.Span, first).ShouldBeTrue();
        other.TryDerive(one.PublicKey.Span, second).ShouldBeTrue();
        first.ShouldBe(second);
    }

    /// <summary>The points of order 1, 2, 4 and 8, canonical and not.</summary>
    [Theory]
    [InlineData("0000000000000000000000000000000000000000000000000000000000000000")]
    [InlineData("0100000000000000000000000000000000000000000000000000000000000000")]
    [InlineData("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")]
    [InlineData("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157")]
    [InlineData("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")]
    [InlineData("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")]
    [InlineData("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")]
    [InlineData("00")]
    public void A_public_key_of_low_order_or_another_length_shares_nothing(string publicKey)
    {
        using var key = X25519Key.Generate();
        byte[] secret = [.. Enumerable.Repeat((byte)7, 32)];
        key.TryDerive(Convert.FromHexString(publicKey), secret).ShouldBeFalse();
        secret.ShouldNotContain(b => b != 0 && b != 7);
    }

    [Fact]
    public void Bytes_that_are_not_a_key_are_refused()
    {
        Should.Throw<ArgumentException>(() => X25519Key.FromRaw(new byte[31]));
        Should.Throw<CryptographicException>(() => X25519Key.FromPkcs8(new byte[40]));
        using var ec = ECDiffieHellman.Create(ECCurve.NamedCurves.nistP256);
        Should.Throw<CryptographicException>(() => X25519Key.FromPkcs8(ec.ExportPkcs8PrivateKey()));
    }
}
