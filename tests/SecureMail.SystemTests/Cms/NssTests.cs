using SecureMail.Cms;

namespace SecureMail.SystemTests.Cms;

/// <summary>Our CMS against NSS's cmsutil, the library of Thunderbird, with a certificate database of its own. It knows
/// neither AES-GCM nor Ed25519, and signs alone.</summary>
public sealed class NssTests : IDisposable
{
    private const string Database = "sql:nss";

    private readonly PeerFolder _folder = new();

    public NssTests()
    {
        Directory.CreateDirectory(_folder.PathOf("nss"));
        _folder.Run("certutil", "-N", "-d", Database, "--empty-password");
        _folder.Run("certutil", "-A", "-d", Database, "-n", "root", "-t", "CT,CT,CT", "-i", "root.pem");
        _folder.Run("certutil", "-A", "-d", Database, "-n", "ca", "-t", ",,", "-i", "ca.pem");
    }

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(TestKey.Rsa2048, SignatureScheme.RsaPkcs1, "SHA256")]
    [InlineData(TestKey.Rsa2048, SignatureScheme.RsaPkcs1, "SHA384")]
    [InlineData(TestKey.Rsa2048, SignatureScheme.RsaPss, "SHA256")]
    [InlineData(TestKey.P256, SignatureScheme.Ecdsa, "SHA256")]
    [InlineData(TestKey.P384, SignatureScheme.Ecdsa, "SHA384")]
    public async Task NSS_verifies_what_we_sign(TestKey key, SignatureScheme scheme, string digest)
    {
        TestIdentity signer = PeerFolder.Pki.Issue("CN=Van thu", ["vanthu@a.vn"], key);
        await _folder.SignAsync("detached", signer, scheme, digest);
        _folder.Run("cmsutil", "-D", "-d", Database, "-i", "detached", "-c", "content", "-o", "out");
        _folder.Read("out").ShouldBe(PeerFolder.Content);
        _folder.RunRefused("cmsutil", "-D", "-d", Database, "-i", "detached", "-c", "changed", "-o", "out");
        await _folder.SignAsync("attached", signer, scheme, digest, attached: true);
        _folder.Run("cmsutil", "-D", "-d", Database, "-i", "attached", "-o", "out");
        _folder.Read("out").ShouldBe(PeerFolder.Content);
    }

    [Theory]
    [InlineData(TestKey.Rsa2048, "SHA256")]
    [InlineData(TestKey.Rsa2048, "SHA512")]
    [InlineData(TestKey.P256, "SHA256")]
    [InlineData(TestKey.P384, "SHA384")]
    public async Task We_verify_what_NSS_signs(TestKey key, string digest)
    {
        Import("own", PeerFolder.Pki.Issue("CN=Nss", ["nss@a.vn"], key, slot: 2));
        foreach (var form in new string[][] { [], ["-T"], ["-G", "-P"], ["-T", "-G"] })
        {
            _folder.Run(
                "cmsutil", ["-S", "-d", Database, "-N", "own", "-H", digest, .. form, "-i", "content", "-o", "signed"]);
            await _folder.AcceptAsync("signed", attached: !form.Contains("-T"));
        }
    }

    [Fact]
    public async Task Each_opens_what_the_other_encrypts()
    {
        TestIdentity own = Import("own", PeerFolder.Pki.Issue("CN=Nss", ["nss@a.vn"], slot: 2));
        _folder.Run("cmsutil", "-E", "-d", Database, "-r", "nss@a.vn", "-i", "content", "-o", "theirs");
        await _folder.OpenAsync("theirs", own, "AES-128-CBC");
        await _folder.EncryptAsync(
            "ours", ContentCipher.Aes256Cbc, PeerFolder.Pki.Issue("CN=Xa C", slot: 3).Certificate, own.Certificate);
        _folder.Run("cmsutil", "-D", "-d", Database, "-i", "ours", "-o", "out");
        _folder.Read("out").ShouldBe(PeerFolder.Content);
    }

    private TestIdentity Import(string name, TestIdentity identity)
    {
        _folder.Add(name, identity);
        // The certificate first: it gives the key its name, which a PKCS#12 of .NET on Linux does not hold.
        _folder.Run("certutil", "-A", "-d", Database, "-n", name, "-t", ",,", "-i", name + ".pem");
        var said = _folder.Run("pk12util", "-i", name + ".p12", "-d", Database, "-W", PeerFolder.Password, "-K", "");
        said.ShouldContain("SUCCESSFUL");
        return identity;
    }
}
