using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Libcrypto;
using SecureMail.Trust;

namespace SecureMail.Tests.Cms;

/// <summary>The certificates of RFC 9216: RSA under an RSA authority, Ed25519 and X25519 under an Ed25519 authority,
/// and cross-certified.</summary>
public sealed class Rfc9216Tests
{
    private const string Folder = "cms/rfc9216";

    private static readonly byte[] Content = "Kính gửi: Văn phòng Đảng ủy\r\n"u8.ToArray();

    [Theory]
    [InlineData("alice", "rsa-ca", null, "alice@smime.example")]
    [InlineData("carlos", "ed25519-ca", null, "carlos@smime.example")]
    [InlineData("dana", "ed25519-ca", null, "dana@smime.example")]
    [InlineData("dana", "rsa-ca", "ed25519-ca-cross", "dana@smime.example")]
    [InlineData("bob", "rsa-ca", null, "bob@smime.example")]
    [InlineData("alice-encryption", "rsa-ca", null, "alice@smime.example")]
    [InlineData("alice-encryption", "ed25519-ca", "rsa-ca-cross", "alice@smime.example")]
    [InlineData("bob-encryption", "ed25519-ca", "rsa-ca-cross", "bob@smime.example")]
    [InlineData("carlos-encryption", "ed25519-ca", null, "carlos@smime.example")]
    [InlineData("dana-encryption", "rsa-ca", "ed25519-ca-cross", "dana@smime.example")]
    public void Every_path_of_the_RFC_is_valid(string leaf, string anchor, string? between, string email)
    {
        var trust = new TrustMaterial([Certificate(anchor)], between is null ? [] : [Certificate(between)]);
        PathResult result = PathValidator.Validate(
            Certificate(leaf), trust, new PathOptions { At = TestPki.Now, CheckRevocation = false });
        result.Status.ShouldBe(PathStatus.Valid, result.Reason.Code);
        result.Path.Count.ShouldBe(between is null ? 2 : 3);
        CertificateAddresses.Of(Certificate(leaf)).ShouldBe([email]);
    }

    [Theory]
    [InlineData("alice", "ed25519-ca")]
    [InlineData("carlos", "rsa-ca")]
    [InlineData("alice-encryption", "ed25519-ca")]
    [InlineData("dana-encryption", "rsa-ca")]
    public void A_path_to_the_other_authority_is_invalid(string leaf, string anchor)
    {
        PathResult result = PathValidator.Validate(
            Certificate(leaf), new TrustMaterial([Certificate(anchor)]),
            new PathOptions { At = TestPki.Now, CheckRevocation = false });
        result.Status.ShouldBe(PathStatus.Invalid);
    }

    [Fact]
    public void A_changed_Ed25519_certificate_is_not_its_authoritys()
    {
        var changed = Certificate("carlos").RawData;
        changed[changed.AsSpan().IndexOf("Turing"u8)] ^= 1;
        using X509Certificate2 certificate = X509CertificateLoader.LoadCertificate(changed);
        PathResult result = PathValidator.Validate(
            certificate, new TrustMaterial([Certificate("ed25519-ca")]),
            new PathOptions { At = TestPki.Now, CheckRevocation = false });
        result.Reason.Code.ShouldBe("path-signature-wrong");
    }

    [Fact]
    public async Task Alice_and_Carlos_sign_one_document()
    {
        using RSA alice = Rsa("alice.key");
        var seed = Pkcs8("carlos.key")[^Ed25519.SeedSize..];
        var joined = CmsSigner.Join(
            await CmsSigner.SignDetachedAsync(
                new MemoryStream(Content),
                new SigningRequest(
                    Certificate("alice"), [], HashAlgorithmName.SHA256, SignatureScheme.RsaPss, TestPki.Now),
                alice),
            await CmsSigner.SignDetachedAsync(
                new MemoryStream(Content),
                new SigningRequest(
                    Certificate("carlos"), [], HashAlgorithmName.SHA512, SignatureScheme.Ed25519, TestPki.Now),
                p => Ed25519.Sign(seed, p.ToBeSigned.Span)));
        using CmsSignedData data = await CmsSignedDataTests.ReadAsync(joined);
        var options = new ValidationOptions
        {
            Trust = new TrustMaterial([Certificate("rsa-ca"), Certificate("ed25519-ca")]),
            At = TestPki.Now,
            CheckRevocation = false,
        };
        IReadOnlyList<SignatureFinding> findings = await SignatureValidator.ValidateAsync(
            data, new MemoryStream(Content), options);
        findings.Count.ShouldBe(2);
        findings.ShouldAllBe(f => f.Indication == Indication.TotalPassed);
    }

    [Fact]
    public async Task One_message_to_all_four_opens_with_the_key_of_each()
    {
        string[] names = ["alice", "bob", "carlos", "dana"];
        var cms = await Readers.EncryptAsync(
            Content, ContentCipher.Aes256Gcm,
            [.. names.Select(n => new EnvelopeRecipient(Certificate(n + "-encryption")))]);
        foreach (var name in names)
        {
            using AsymmetricAlgorithm key = name is "alice" or "bob"
                ? Rsa(name + "-decryption.key")
                : X25519Key.FromPkcs8(Pkcs8(name + "-decryption.key"));
            (await Readers.OpenAsync(cms, new RecipientKey(Certificate(name + "-encryption"), key))).ShouldBe(
                Content, name);
        }
    }

    private static RSA Rsa(string name)
    {
        var key = RSA.Create();
        key.ImportFromPem(Text(name));
        return key;
    }

    private static byte[] Pkcs8(string name)
    {
        var pem = Text(name);
        return Convert.FromBase64String(pem[PemEncoding.Find(pem).Base64Data]);
    }

    private static string Text(string name) => System.Text.Encoding.ASCII.GetString(Vectors.Read(Folder, name));

    private static X509Certificate2 Certificate(string name) => X509Certificate2.CreateFromPem(Text(name + ".pem"));
}
