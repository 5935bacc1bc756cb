using SecureMail.Cms;

namespace SecureMail.SystemTests.Cms;

/// <summary>Our signatures against GnuTLS's certtool; it does not encrypt. Without --p7-time it writes no signed
/// attributes. PSS it takes for SHA-256 whatever the parameters say (3.7).</summary>
public sealed class GnuTlsTests : IDisposable
{
    private readonly PeerFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(TestKey.Rsa2048, SignatureScheme.RsaPkcs1, "SHA256")]
    [InlineData(TestKey.Rsa2048, SignatureScheme.RsaPkcs1, "SHA512")]
    [InlineData(TestKey.Rsa2048, SignatureScheme.RsaPss, "SHA256")]
    [InlineData(TestKey.P256, SignatureScheme.Ecdsa, "SHA256")]
    [InlineData(TestKey.P384, SignatureScheme.Ecdsa, "SHA384")]
    public async Task GnuTLS_verifies_what_we_sign(TestKey key, SignatureScheme scheme, string digest)
    {
        TestIdentity signer = PeerFolder.Pki.Issue("CN=Van thu", ["vanthu@a.vn"], key);
        await _folder.SignAsync("detached", signer, scheme, digest);
        Verify("detached", "--load-data", "content");
        _folder.RunRefused(
            "certtool", "--p7-verify", "--inder", "--load-ca-certificate", "root.pem", "--infile", "detached",
            "--load-data", "changed");
        // Of a constructed octet string it takes the encoding for the content, so ECDSA's BER is not for it.
        if (scheme == SignatureScheme.Ecdsa)
        {
            return;
        }

        await _folder.SignAsync("attached", signer, scheme, digest, attached: true);
        Verify("attached");
    }

    [Fact]
    public async Task GnuTLS_verifies_Ed25519_and_each_of_several_signers()
    {
        var edwards = TestEd25519.Issue(PeerFolder.Pki, "CN=Chanh van phong", "cvp@a.vn");
        await _folder.SignAsync("ed", edwards);
        Verify("ed", "--load-data", "content").ShouldContain("EdDSA-Ed25519");
        await _folder.SignAsync("attached", edwards, attached: true);
        Verify("attached");
        await _folder.SignAsync(
            "rsa", PeerFolder.Pki.Issue("CN=Van thu", ["vanthu@a.vn"]), SignatureScheme.RsaPkcs1, "SHA256");
        _folder.Write("both", CmsSigner.Join(_folder.Read("ed"), _folder.Read("rsa")));
        var said = Verify("both", "--load-data", "content");
        said.Split("Signature status: ok").Length.ShouldBe(3, said);
    }

    [Theory]
    [InlineData(TestKey.Rsa2048)]
    [InlineData(TestKey.P256)]
    [InlineData(TestKey.P384)]
    [InlineData(null)]
    public async Task We_verify_what_GnuTLS_signs(TestKey? key)
    {
        if (key is { } known)
        {
            _folder.Add("own", PeerFolder.Pki.Issue("CN=GnuTLS", ["gnutls@a.vn"], known, slot: 2));
        }
        else
        {
            _folder.Add("own", TestEd25519.Issue(PeerFolder.Pki, "CN=GnuTLS", "gnutls@a.vn"));
        }

        foreach (var verb in new[] { "--p7-sign", "--p7-detached-sign" })
        {
            foreach (var form in new string[][] { [], ["--p7-time"], ["--p7-time", "--outder"] })
            {
                _folder.Run(
                    "certtool",
                    [
                        verb,
                        .. form,
                        "--load-certificate",
                        "own.pem",
                        "--load-privkey",
                        "own.key",
                        "--infile",
                        "content",
                        "--outfile",
                        "signed",
                    ]);
                await _folder.AcceptAsync("signed", attached: verb == "--p7-sign");
            }
        }
    }

    private string Verify(string name, params string[] more)
    {
        var said = _folder.Run(
            "certtool", ["--p7-verify", "--inder", "--load-ca-certificate", "root.pem", "--infile", name, .. more]);
        said.ShouldContain("Signature status: ok");
        return said;
    }
}
