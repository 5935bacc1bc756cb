using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Libcrypto;

namespace SecureMail.Tests.Cms;

/// <summary>A reader of each kind of key, with the certificate that mail to it is encrypted to.</summary>
internal static class Readers
{
    public static readonly RecipientKey Rsa = Of(TestPki.Shared.Issue("CN=RSA", slot: 1));
    public static readonly RecipientKey P256 = Ecdh("CN=P-256", ECCurve.NamedCurves.nistP256);
    public static readonly RecipientKey P384 = Ecdh("CN=P-384", ECCurve.NamedCurves.nistP384);
    public static readonly RecipientKey P521 = Ecdh("CN=P-521", ECCurve.NamedCurves.nistP521);
    public static readonly RecipientKey X25519 = NewX25519();

    private static int _serial = 0x4000;

    public static RecipientKey[] All => [Rsa, P256, P384, P521, X25519];

    public static RecipientKey Of(TestIdentity identity) => new(identity.Certificate, identity.Rsa);

    /// <summary>A certificate over a key that TestPki does not make.</summary>
    public static TestIdentity Issue(ECDsa key, string subject = "CN=EC") =>
        new(Sign(subject, new PublicKey(key)), key);

    public static RecipientKey NewX25519(byte[]? publicKey = null)
    {
        var key = X25519Key.Generate();
        var encoded = new PublicKey(
            new Oid(X25519Key.AlgorithmOid), null, new AsnEncodedData(publicKey ?? key.PublicKey.ToArray()));
        return new RecipientKey(Sign("CN=X25519", encoded), key);
    }

    public static async Task<byte[]> EncryptAsync(
        byte[] content, CipherChoice cipher, params EnvelopeRecipient[] recipients)
    {
        using var output = new MemoryStream();
        await CmsEnveloper.EncryptAsync(new MemoryStream(content), output, recipients, cipher);
        return output.ToArray();
    }

    public static async Task<byte[]> OpenAsync(byte[] cms, params RecipientKey[] keys)
    {
        using DecryptedContent opened = await CmsDecryptor.DecryptAsync(new MemoryStream(cms), keys);
        return await CmsSignedDataTests.BytesAsync(opened.OpenContent());
    }

    public static async Task<CmsError> FailureAsync(byte[] cms, params RecipientKey[] keys) =>
        (await Should.ThrowAsync<CmsException>(() => CmsDecryptor.DecryptAsync(new MemoryStream(cms), keys))).Error;

    private static RecipientKey Ecdh(string subject, ECCurve curve)
    {
        var key = ECDiffieHellman.Create(curve);
        return new RecipientKey(Sign(subject, new PublicKey(key)), key);
    }

    private static X509Certificate2 Sign(string subject, PublicKey key)
    {
        var request = new CertificateRequest(new X500DistinguishedName(subject), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(key, critical: false));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyAgreement, critical: true));
        var serial = Interlocked.Increment(ref _serial);
        TestIdentity ca = TestPki.Shared.Ca;
        return request.Create(
            ca.Certificate.SubjectName, TestPki.Generator(ca.Key), TestPki.Now.AddYears(-1), TestPki.Now.AddYears(2),
            [0x20, (byte)(serial >> 8), (byte)serial]);
    }
}
