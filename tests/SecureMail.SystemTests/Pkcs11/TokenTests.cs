using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using SecureMail.Pkcs11;

namespace SecureMail.SystemTests.Pkcs11;

[Collection("tokens")]
public class TokenTests
{
    private static readonly byte[] Message = Encoding.UTF8.GetBytes("Công văn số 36-HD/VPTW");

    public static TheoryData<string> Hashes() => ["SHA256", "SHA384", "SHA512"];

    [Theory]
    [MemberData(nameof(Hashes))]
    public void RSA_signatures_verify_with_the_public_key_elsewhere(string hash)
    {
        using var token = TokenFixture.Open();
        using var key = token.OpenRsa(TokenFixture.Key("seal"));
        using var elsewhere = RSA.Create(key.ExportParameters(false));
        key.KeySize.ShouldBe(2048);
        foreach (var padding in new[] { RSASignaturePadding.Pkcs1, RSASignaturePadding.Pss })
        {
            var signature = key.SignData(Message, new HashAlgorithmName(hash), padding);
            elsewhere.VerifyData(Message, signature, new HashAlgorithmName(hash), padding).ShouldBeTrue();
            key.VerifyData(Message, signature, new HashAlgorithmName(hash), padding).ShouldBeTrue();
            elsewhere.VerifyData(new byte[1], signature, new HashAlgorithmName(hash), padding).ShouldBeFalse();
        }
    }

    [Theory]
    [InlineData("p256", 64, "SHA256")]
    [InlineData("p256", 64, "SHA512")]
    [InlineData("p384", 96, "SHA384")]
    public void ECDSA_signatures_verify_with_the_public_key_elsewhere(string label, int length, string hash)
    {
        using var token = TokenFixture.Open();
        using var key = token.OpenEcdsa(TokenFixture.Key(label));
        using var elsewhere = ECDsa.Create(key.ExportParameters(false));
        for (var i = 0; i < 20; i++)
        {
            var signature = key.SignData(Message, new HashAlgorithmName(hash));
            signature.Length.ShouldBe(length);
            elsewhere.VerifyData(Message, signature, new HashAlgorithmName(hash)).ShouldBeTrue();
        }
        elsewhere
            .VerifyData(
                Message, key.SignData(Message, new HashAlgorithmName(hash), DSASignatureFormat.Rfc3279DerSequence),
                new HashAlgorithmName(hash), DSASignatureFormat.Rfc3279DerSequence)
            .ShouldBeTrue();
    }

    [Theory]
    [InlineData("agree256")]
    [InlineData("agree384")]
    [InlineData("agree521")]
    public void The_secret_agreed_on_is_the_other_sides(string label)
    {
        using var token = TokenFixture.Open();
        using var key = token.OpenEcdh(TokenFixture.Key(label));
        var curve = key.ExportParameters(false).Curve;
        // About one of three hundred secrets begins with a zero byte, which some tokens leave out.
        for (var i = 0; i < 300; i++)
        {
            using var other = ECDiffieHellman.Create(curve);
            using var ours = key.PublicKey;
            using var theirs = other.PublicKey;
            key.DeriveRawSecretAgreement(theirs).ShouldBe(other.DeriveRawSecretAgreement(ours));
        }
        Should.Throw<CryptographicException>(() => key.ExportParameters(true));
        using var elsewhere = ECDiffieHellman.Create(
            label == "agree256" ? ECCurve.NamedCurves.nistP384 : ECCurve.NamedCurves.nistP256);
        using var foreign = elsewhere.PublicKey;
        Should.Throw<CryptographicException>(() => key.DeriveRawSecretAgreement(foreign));
    }

    [Fact]
    public void A_key_that_may_only_sign_agrees_on_nothing()
    {
        using var token = TokenFixture.Open();
        using var key = (ECDiffieHellman)token.OpenKey(TokenFixture.Key("p256"), Pkcs11KeyUse.Decryption);
        using var other = ECDiffieHellman.Create(ECCurve.NamedCurves.nistP256);
        using var theirs = other.PublicKey;
        Should
            .Throw<Pkcs11Exception>(() => key.DeriveRawSecretAgreement(theirs))
            .Fault.ShouldBe(Pkcs11Fault.KeyUnusable);
    }

    [Theory]
    [InlineData("seal")]
    [InlineData("p256")]
    public async Task OpenSSL_accepts_the_signatures(string label)
    {
        using var token = TokenFixture.Open();
        using var key = token.OpenKey(TokenFixture.Key(label));
        var folder = Directory.CreateTempSubdirectory("smsign").FullName;
        try
        {
            string In(string name) => Path.Combine(folder, name);
            await File.WriteAllBytesAsync(In("message"), Message);
            await File.WriteAllTextAsync(In("key.pem"), key.ExportSubjectPublicKeyInfoPem());
            await File.WriteAllBytesAsync(
                In("signature"),
                key is RSA rsa
                    ? rsa.SignData(Message, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
                    : ((ECDsa)key).SignData(Message, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence));
            (
                await SoftHsm.RunAsync(
                    "openssl", "dgst", "-sha256", "-verify", In("key.pem"), "-signature", In("signature"),
                    In("message")))
                .Trim()
                .ShouldBe("Verified OK");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void What_was_encrypted_for_the_key_is_decrypted_on_the_token()
    {
        using var token = TokenFixture.Open();
        using var key = token.OpenRsa(TokenFixture.Key("seal"));
        var secret = RandomNumberGenerator.GetBytes(32);
        foreach (var padding in new[] { RSAEncryptionPadding.Pkcs1, RSAEncryptionPadding.OaepSHA1 })
        {
            key.Decrypt(key.Encrypt(secret, padding), padding).ShouldBe(secret);
        }
    }

    [Fact]
    public void What_was_encrypted_for_another_key_is_one_cryptographic_error_and_the_key_goes_on_working()
    {
        using var token = TokenFixture.Open();
        using var key = token.OpenRsa(TokenFixture.Key("seal"));
        using var other = RSA.Create(2048);
        var secret = new byte[32];
        foreach (
            var data in new[] { other.Encrypt(secret, RSAEncryptionPadding.OaepSHA1), new byte[256], new byte[10] })
        {
            Should.Throw<CryptographicException>(() => key.Decrypt(data, RSAEncryptionPadding.OaepSHA1));
        }

        key.Decrypt(key.Encrypt(secret, RSAEncryptionPadding.Pkcs1), RSAEncryptionPadding.Pkcs1).ShouldBe(secret);
    }

    [Fact]
    public void A_mechanism_that_the_token_lacks_is_named()
    {
        using var token = TokenFixture.Open();
        using var key = token.OpenRsa(TokenFixture.Key("seal"));
        var data = key.Encrypt(new byte[32], RSAEncryptionPadding.OaepSHA256);
        Should
            .Throw<Pkcs11Exception>(() => key.Decrypt(data, RSAEncryptionPadding.OaepSHA256))
            .Fault.ShouldBe(Pkcs11Fault.MechanismUnsupported);
        Should.Throw<CryptographicException>(() =>
            key.SignHash(new byte[20], HashAlgorithmName.SHA1, RSASignaturePadding.Pkcs1));
    }

    [Fact]
    public void The_private_key_does_not_leave()
    {
        using var token = TokenFixture.Open();
        using var rsa = token.OpenRsa(TokenFixture.Key("seal"));
        using var ec = token.OpenEcdsa(TokenFixture.Key("p256"));
        Should.Throw<CryptographicException>(() => rsa.ExportParameters(true));
        Should.Throw<CryptographicException>(() => rsa.ExportPkcs8PrivateKey());
        Should.Throw<CryptographicException>(() => ec.ExportParameters(true));
    }

    [Fact]
    public async Task Many_threads_sign_with_one_token_and_log_in_once()
    {
        var asked = 0;
        using var token = TokenFixture.Open(() =>
        {
            Interlocked.Increment(ref asked);
            return TokenFixture.GoodPin();
        });
        using var rsa = token.OpenRsa(TokenFixture.Key("seal"));
        using var ec = token.OpenEcdsa(TokenFixture.Key("p256"));
        using var rsaElsewhere = RSA.Create(rsa.ExportParameters(false));
        using var ecElsewhere = ECDsa.Create(ec.ExportParameters(false));
        var bad = new ConcurrentBag<int>();
        await Task.WhenAll(
            Enumerable
                .Range(0, 8)
                .Select(thread =>
                    Task.Factory.StartNew(
                        () =>
                        {
                            for (var i = 0; i < 50; i++)
                            {
                                byte[] message = [(byte)thread, (byte)i];
                                var good =
                                    thread % 2 == 0
                                        ? rsaElsewhere.VerifyData(
                                            message,
                                            rsa.SignData(message, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1),
                                            HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
                                        : ecElsewhere.VerifyData(
                                            message, ec.SignData(message, HashAlgorithmName.SHA256),
                                            HashAlgorithmName.SHA256);
                                if (!good)
                                {
                                    bad.Add(i);
                                }
                            }
                        },
                        CancellationToken.None,
                        TaskCreationOptions.LongRunning,
                        TaskScheduler.Default)));
        bad.ShouldBeEmpty();
        asked.ShouldBe(1);
    }

    [Fact]
    public void Certificates_are_found_without_a_login_and_the_keys_own_lies_beside_it()
    {
        using (var token = TokenFixture.Open(() => throw new InvalidOperationException("no PIN is needed")))
        {
            token.FindCertificates(Pkcs11Uri.Parse("pkcs11:")).ShouldHaveSingleItem().Subject.ShouldContain("Con dấu");
            token.FindCertificates(TokenFixture.Key("other")).ShouldBeEmpty();
        }
        using (var token = TokenFixture.Open())
        {
            using var certificate = token.CertificateOf(TokenFixture.Key("seal"));
            using var key = token.OpenRsa(TokenFixture.Key("seal"));
            using var publicKey =
                System.Security.Cryptography.X509Certificates.RSACertificateExtensions.GetRSAPublicKey(certificate!)!;
            publicKey.ExportRSAPublicKey().ShouldBe(key.ExportRSAPublicKey());
            token.CertificateOf(TokenFixture.Key("p256")).ShouldBeNull();
            using var again = token.OpenKeyOf(certificate!).ShouldBeAssignableTo<RSA>()!;
            again.ExportRSAPublicKey().ShouldBe(key.ExportRSAPublicKey());
            using var empty = TokenFixture.Open(token: "empty");
            empty.OpenKeyOf(certificate!).ShouldBeNull();
        }
    }

    [Fact]
    public void The_tokens_present_are_listed()
    {
        using var module = Pkcs11Module.Open(SoftHsm.Module);
        var tokens = module.ListTokens();
        // The run's other tokens are listed, too.
        new[] { TokenFixture.Label, "empty" }.ShouldBeSubsetOf(tokens.Where(t => t.Initialized).Select(t => t.Label));
        tokens
            .First(t => t.Label == TokenFixture.Label)
            .ShouldSatisfyAllConditions(t => t.Serial.ShouldNotBeEmpty(), t => t.PinLocked.ShouldBeFalse());
    }

    [Theory]
    [InlineData("pkcs11:token=nobody", Pkcs11Fault.TokenAbsent)]
    [InlineData("pkcs11:token=empty;serial=0", Pkcs11Fault.TokenAbsent)]
    [InlineData("pkcs11:", Pkcs11Fault.Ambiguous)]
    public void A_token_that_is_not_there_or_not_one_is_said_so(string uri, Pkcs11Fault fault) =>
        Should
            .Throw<Pkcs11Exception>(() =>
                Pkcs11Token.Open(Pkcs11Uri.Parse($"{uri}?module-path={SoftHsm.Module}"), TokenFixture.GoodPin))
            .Fault.ShouldBe(fault);

    [Theory]
    [InlineData("/nowhere/libtoken.so")]
    [InlineData("libsofthsm2.so")]
    [InlineData("/usr/lib/x86_64-linux-gnu/libc.so.6")]
    [InlineData("/etc/hostname")]
    public void A_module_that_is_not_one_is_said_so(string path) =>
        Should.Throw<Pkcs11Exception>(() => Pkcs11Module.Open(path)).Fault.ShouldBe(Pkcs11Fault.ModuleMissing);

    [Fact]
    public void A_key_that_is_not_there_not_one_or_of_another_kind_is_said_so()
    {
        using var token = TokenFixture.Open();
        Should
            .Throw<Pkcs11Exception>(() => token.OpenRsa(TokenFixture.Key("nothing")))
            .Fault.ShouldBe(Pkcs11Fault.KeyAbsent);
        Should
            .Throw<Pkcs11Exception>(() => token.OpenRsa(TokenFixture.Key("p256")))
            .Fault.ShouldBe(Pkcs11Fault.KeyAbsent);
        Should
            .Throw<Pkcs11Exception>(() => token.OpenRsa(TokenFixture.Key("twin")))
            .Fault.ShouldBe(Pkcs11Fault.Ambiguous);
        using var byId = token.OpenRsa(Pkcs11Uri.Parse("pkcs11:object=twin;id=%05"));
        byId.KeySize.ShouldBe(2048);
        using var empty = TokenFixture.Open(token: "empty");
        Should
            .Throw<Pkcs11Exception>(() => empty.OpenKey(TokenFixture.Key("seal")))
            .Fault.ShouldBe(Pkcs11Fault.KeyAbsent);
    }
}
