using SecureMail.Cms;

namespace SecureMail.SystemTests.Cms;

/// <summary>
/// Our CMS against gpgsm (GnuPG 2.2), in a GNUPGHOME of its own. It verifies ECDSA, but cannot take an EC key from
/// PKCS#12 (it crashes), and knows neither AES-GCM nor Ed25519; so it signs and opens by RSA.
/// </summary>
public sealed class GpgsmTests : IDisposable
{
    private readonly PeerFolder _folder = new();
    private readonly TestIdentity _own;

    public GpgsmTests()
    {
        var home = _folder.PathOf("gnupg");
        Directory.CreateDirectory(home, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        _folder.Environment["GNUPGHOME"] = home;
        File.WriteAllText(
            Path.Combine(home, "gpgsm.conf"),
            "disable-crl-checks\ndisable-policy-checks\npinentry-mode loopback\nbatch\nyes\n");
        File.WriteAllText(Path.Combine(home, "gpg-agent.conf"), "allow-loopback-pinentry\n");
        File.WriteAllText(
            Path.Combine(home, "trustlist.txt"), PeerFolder.Pki.Root.Certificate.Thumbprint + " S relax\n");
        _folder.Input = PeerFolder.Password + "\n";
        _own = _folder.Add("own", PeerFolder.Pki.Issue("CN=Gpgsm", ["gpgsm@a.vn"], slot: 2));
        Gpgsm("--import", "root.pem", "ca.pem");
        Gpgsm("--import", "own.p12");
    }

    public void Dispose()
    {
        // The agent is this home's alone; it would outlive the test.
        _folder.Run("gpgconf", "--kill", "all");
        _folder.Dispose();
    }

    [Theory]
    [InlineData(TestKey.Rsa2048, SignatureScheme.RsaPkcs1, "SHA256")]
    [InlineData(TestKey.Rsa2048, SignatureScheme.RsaPkcs1, "SHA512")]
    [InlineData(TestKey.P256, SignatureScheme.Ecdsa, "SHA256")]
    [InlineData(TestKey.P384, SignatureScheme.Ecdsa, "SHA384")]
    public async Task Gpgsm_verifies_what_we_sign(TestKey key, SignatureScheme scheme, string digest)
    {
        TestIdentity signer = PeerFolder.Pki.Issue("CN=Van thu", ["vanthu@a.vn"], key);
        await _folder.SignAsync("detached", signer, scheme, digest);
        Gpgsm("--verify", "detached", "content").ShouldContain("Good signature");
        _folder.RunRefused("gpgsm", "--verify", "detached", "changed");
        await _folder.SignAsync("attached", signer, scheme, digest, attached: true);
        Gpgsm("--output", "out", "--verify", "attached").ShouldContain("Good signature");
        _folder.Read("out").ShouldBe(PeerFolder.Content);
    }

    [Fact]
    public async Task Gpgsm_verifies_each_of_several_signers()
    {
        await _folder.SignAsync(
            "one", PeerFolder.Pki.Issue("CN=Van thu", ["vanthu@a.vn"]), SignatureScheme.RsaPkcs1, "SHA256");
        await _folder.SignAsync(
            "two", PeerFolder.Pki.Issue("CN=Bi thu", ["bithu@a.vn"], TestKey.P256), SignatureScheme.Ecdsa, "SHA256");
        _folder.Write("both", CmsSigner.Join(_folder.Read("one"), _folder.Read("two")));
        var said = Gpgsm("--verify", "both", "content");
        said.Split("Good signature").Length.ShouldBe(3, said);
    }

    [Fact]
    public async Task We_verify_what_gpgsm_signs()
    {
        Gpgsm("--local-user", "gpgsm@a.vn", "--output", "attached", "--sign", "content");
        await _folder.AcceptAsync("attached", attached: true);
        foreach (var digest in new[] { "SHA256", "SHA384", "SHA512" })
        {
            Gpgsm(
                "--digest-algo", digest, "--local-user", "gpgsm@a.vn", "--output", "detached", "--detach-sign",
                "content");
            await _folder.AcceptAsync("detached", attached: false);
        }
        Gpgsm("--armor", "--local-user", "gpgsm@a.vn", "--output", "detached.asc", "--detach-sign", "content");
        await _folder.AcceptAsync("detached.asc", attached: false);
    }

    [Fact]
    public async Task Each_opens_what_the_other_encrypts()
    {
        foreach ((var cipher, var name) in new[] { ("AES128", "AES-128-CBC"), ("AES256", "AES-256-CBC") })
        {
            Gpgsm("--cipher-algo", cipher, "--recipient", "gpgsm@a.vn", "--output", "theirs", "--encrypt", "content");
            await _folder.OpenAsync("theirs", _own, name);
            Gpgsm(
                "--armor", "--cipher-algo", cipher, "--recipient", "gpgsm@a.vn", "--output", "theirs.asc", "--encrypt",
                "content");
            await _folder.OpenAsync("theirs.asc", _own, name);
        }
        await _folder.EncryptAsync(
            "ours", ContentCipher.Aes256Cbc, PeerFolder.Pki.Issue("CN=Xa C", slot: 3).Certificate, _own.Certificate);
        Gpgsm("--output", "out", "--decrypt", "ours");
        _folder.Read("out").ShouldBe(PeerFolder.Content);
    }

    private string Gpgsm(params string[] arguments) => _folder.Run("gpgsm", ["--passphrase-fd", "0", .. arguments]);
}
