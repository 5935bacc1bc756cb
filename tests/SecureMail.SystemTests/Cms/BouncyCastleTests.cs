using SecureMail.Cms;

namespace SecureMail.SystemTests.Cms;

/// <summary>Our CMS against BouncyCastle for Java (Debian's libbcmail-java), a peer of another lineage: Peer.java does
/// its part.</summary>
public sealed class BouncyCastleTests : IDisposable
{
    private readonly PeerFolder _folder = new();
    private readonly TestIdentity _rsa;
    private readonly TestIdentity _p256;
    private readonly TestIdentity _p384;
    private readonly TestEd25519 _ed;

    public BouncyCastleTests()
    {
        File.Copy(Path.Combine(AppContext.BaseDirectory, "Cms", "Peer.java"), _folder.PathOf("Peer.java"));
        _rsa = _folder.Add("rsa", PeerFolder.Pki.Issue("CN=RSA", ["rsa@a.vn"]));
        _p256 = _folder.Add("p256", PeerFolder.Pki.Issue("CN=P-256", ["p256@a.vn"], TestKey.P256));
        _p384 = _folder.Add("p384", PeerFolder.Pki.Issue("CN=P-384", ["p384@a.vn"], TestKey.P384));
        _ed = _folder.Add("ed", TestEd25519.Issue(PeerFolder.Pki, "CN=Ed25519", "ed@a.vn"));
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task BouncyCastle_verifies_what_we_sign()
    {
        var names = new List<string>();
        foreach (var attached in new[] { false, true })
        {
            foreach (
                (TestIdentity signer, SignatureScheme scheme, var digest) in new[]
                {
                    (_rsa, SignatureScheme.RsaPkcs1, "SHA256"),
                    (_rsa, SignatureScheme.RsaPkcs1, "SHA512"),
                    (_rsa, SignatureScheme.RsaPss, "SHA256"),
                    (_rsa, SignatureScheme.RsaPss, "SHA384"),
                    (_p256, SignatureScheme.Ecdsa, "SHA256"),
                    (_p384, SignatureScheme.Ecdsa, "SHA384"),
                })
            {
                var name = $"{scheme}-{digest}-{(attached ? "attached" : "detached")}";
                await _folder.SignAsync(name, signer, scheme, digest, attached);
                names.Add(name);
            }
            var edwards = attached ? "Ed25519-attached" : "Ed25519-detached";
            await _folder.SignAsync(edwards, _ed, attached);
            names.Add(edwards);
        }
        _folder.Write(
            "several-detached",
            CmsSigner.Join(
                CmsSigner.Join(_folder.Read("RsaPss-SHA256-detached"), _folder.Read("Ecdsa-SHA384-detached")),
                _folder.Read("Ed25519-detached")));
        Do([.. names.Select(n => $"verify {n} {(n.EndsWith("attached", StringComparison.Ordinal) ? "-" : "content")}")])
            .ShouldAllBe(a => a == "good 1");
        Do("verify several-detached content").ShouldBe(["good 3"]);
        Do("verify several-detached changed", "verify Ed25519-detached changed")
            .ShouldAllBe(a => a != "good 1" && a != "good 3");
    }

    [Fact]
    public async Task We_verify_what_BouncyCastle_signs()
    {
        string[] signers =
        [
            "SHA256withRSA rsa",
            "SHA512withRSA rsa",
            "SHA256withRSAandMGF1 rsa",
            "SHA384withRSAandMGF1 rsa",
            "SHA256withECDSA p256",
            "SHA384withECDSA p384",
            "Ed25519 ed",
        ];
        var several = $"{signers[0]} {signers[4]} {signers[6]}";
        Do([
                .. signers
                    .Append(several)
                    .SelectMany(
                        (s, i) =>
                            new[] { $"sign attached{i} attached content {s}", $"sign detached{i} detached content {s}" }
                    ),
            ])
            .ShouldAllBe(a => a == "done");
        for (var i = 0; i <= signers.Length; i++)
        {
            await _folder.AcceptAsync($"attached{i}", attached: true, i < signers.Length ? 1 : 3);
            await _folder.AcceptAsync($"detached{i}", attached: false, i < signers.Length ? 1 : 3);
        }
    }

    [Fact]
    public async Task Each_opens_what_the_other_encrypts()
    {
        (string Cipher, string Name)[] ciphers =
        [
            ("AES128_CBC", "AES-128-CBC"),
            ("AES256_CBC", "AES-256-CBC"),
            ("AES128_GCM", "AES-128-GCM"),
            ("AES256_GCM", "AES-256-GCM"),
        ];
        string[] paddings = ["pkcs1", "SHA-1", "SHA-256"];
        Do([.. ciphers.SelectMany(c => paddings.Select(p => $"encrypt {c.Cipher}.{p} {c.Cipher} {p} content rsa"))])
            .ShouldAllBe(a => a == "done");
        foreach ((var cipher, var name) in ciphers)
        {
            foreach (var padding in paddings)
            {
                await _folder.OpenAsync($"{cipher}.{padding}", _rsa, name);
            }
        }
        await _folder.EncryptAsync(
            "cbc", ContentCipher.Aes256Cbc, PeerFolder.Pki.Issue("CN=Xa C", slot: 3).Certificate, _rsa.Certificate);
        await _folder.EncryptAsync(
            "gcm", ContentCipher.Aes256Gcm, PeerFolder.Pki.Issue("CN=Xa C", slot: 3).Certificate, _rsa.Certificate);
        Do("decrypt cbc cbc.out rsa", "decrypt gcm gcm.out rsa").ShouldAllBe(a => a == "done");
        _folder.Read("cbc.out").ShouldBe(PeerFolder.Content);
        _folder.Read("gcm.out").ShouldBe(PeerFolder.Content);
    }

    private string[] Do(params string[] jobs)
    {
        File.WriteAllLines(_folder.PathOf("jobs"), jobs);
        var path = string.Join(
            ':', new[] { "bcprov", "bcutil", "bcpkix", "bcmail" }.Select(j => $"/usr/share/java/{j}.jar"));
        var answers = _folder
            .Run("java", "-XX:TieredStopAtLevel=1", "-cp", path, "Peer.java")
            .Split('\n', StringSplitOptions.RemoveEmptyEntries);
        answers.Length.ShouldBe(jobs.Length, string.Join('\n', answers));
        return answers;
    }
}
