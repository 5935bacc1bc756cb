using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Trust;

namespace SecureMail.SystemTests.Cms;

/// <summary>
/// A folder in which another program's CMS meets ours: a PKI of its own, content, identities as files, and the peer's
/// commands run there at the time at which the PKI is valid. The folder goes with the test.
/// </summary>
public sealed class PeerFolder : IDisposable
{
    public const string Password = "mat-khau";

    public static readonly TestPki Pki = new("Peers");
    public static readonly byte[] Content = [.. Enumerable.Range(0, 150_000).Select(i => (byte)((i * 31) ^ (i >> 7)))];

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("securemail-peer-");

    public PeerFolder()
    {
        Write("content", Content);
        Write("changed", [.. Content[..^1], (byte)(Content[^1] ^ 1)]);
        File.WriteAllText(PathOf("root.pem"), Pki.Root.Certificate.ExportCertificatePem());
        File.WriteAllText(PathOf("ca.pem"), Pki.Ca.Certificate.ExportCertificatePem());
    }

    /// <summary>Environment variables of every command.</summary>
    public Dictionary<string, string> Environment { get; } = [];

    /// <summary>What every command reads from its standard input.</summary>
    public string Input { get; set; } = "";

    public string PathOf(string name) => Path.Combine(_folder.FullName, name);

    public void Write(string name, ReadOnlySpan<byte> data) => File.WriteAllBytes(PathOf(name), data);

    public byte[] Read(string name) => File.ReadAllBytes(PathOf(name));

    /// <summary>name.pem, name.key (PKCS#8, PEM), name.crt and name.pk8 (DER), name.p12.</summary>
    public TestIdentity Add(string name, TestIdentity identity)
    {
        File.WriteAllText(PathOf(name + ".pem"), identity.Certificate.ExportCertificatePem());
        File.WriteAllText(PathOf(name + ".key"), identity.Key.ExportPkcs8PrivateKeyPem());
        Write(name + ".crt", identity.Certificate.RawData);
        Write(name + ".pk8", identity.Key.ExportPkcs8PrivateKey());
        using X509Certificate2 whole = identity.Key is RSA rsa
            ? identity.Certificate.CopyWithPrivateKey(rsa)
            : identity.Certificate.CopyWithPrivateKey((ECDsa)identity.Key);
        // Every peer reads this one. gpgsm 2.2 knows no other of PBES2, and of the older one with triple DES it derives
        // a
        // wrong key for one salt in some sixty: it drops leading zeros (RFC 7292, appendix B.2, step 6C).
        var pbe = new PbeParameters(PbeEncryptionAlgorithm.Aes128Cbc, HashAlgorithmName.SHA1, 2048);
        Write(name + ".p12", whole.ExportPkcs12(pbe, Password));
        return identity;
    }

    public TestEd25519 Add(string name, TestEd25519 identity)
    {
        File.WriteAllText(PathOf(name + ".pem"), identity.Certificate.ExportCertificatePem());
        File.WriteAllText(PathOf(name + ".key"), identity.Pem);
        Write(name + ".crt", identity.Certificate.RawData);
        Write(name + ".pk8", PemDer(identity.Pem));
        return identity;
    }

    /// <summary>Runs a command in the folder at <see cref="TestPki.Now"/>; fails the test when it fails.</summary>
    /// <returns>What it wrote to both outputs.</returns>
    public string Run(string program, params string[] arguments)
    {
        (var code, var said) = TryRun(program, arguments);
        code.ShouldBe(0, $"{program} {string.Join(' ', arguments)}: {said}");
        return said;
    }

    /// <summary>Runs a command that must refuse what it is given.</summary>
    public void RunRefused(string program, params string[] arguments)
    {
        (var code, var said) = TryRun(program, arguments);
        code.ShouldNotBe(0, said);
    }

    /// <summary>Every signer of a peer's object must be judged good by us, and bad over changed content.</summary>
    public async Task AcceptAsync(string name, bool attached, int signers = 1)
    {
        await using FileStream file = File.OpenRead(PathOf(name));
        using CmsSignedData data = await CmsSignedData.ReadAsync(file);
        data.HasContent.ShouldBe(attached, name);
        var options = new ValidationOptions
        {
            Trust = new TrustMaterial([Pki.Root.Certificate], [Pki.Ca.Certificate], Pki.Crls()),
            At = TestPki.Now,
            ClockTolerance = TimeSpan.FromDays(36500),
        };
        IReadOnlyList<SignatureFinding> findings = await SignatureValidator.ValidateAsync(
            data, attached ? null : new MemoryStream(Content), options);
        findings.Count.ShouldBe(signers, name);
        findings.ShouldAllBe(
            f => f.Indication == Indication.TotalPassed,
            $"{name}: {string.Join(' ', findings.Select(f => f.Reason.Code))}");
        if (attached)
        {
            (await BytesAsync(data.OpenContent())).ShouldBe(Content);
        }

        findings = await SignatureValidator.ValidateAsync(data, new MemoryStream(Read("changed")), options);
        findings.ShouldAllBe(f => f.Indication == Indication.TotalFailed, name);
    }

    /// <summary>What a peer encrypted must open to the content with this key.</summary>
    public async Task OpenAsync(string name, TestIdentity recipient, string algorithm)
    {
        await using FileStream file = File.OpenRead(PathOf(name));
        using DecryptedContent opened = await CmsDecryptor.DecryptAsync(
            file, [new RecipientKey(recipient.Certificate, recipient.Rsa)]);
        opened.Algorithm.ShouldBe(algorithm);
        (await BytesAsync(opened.OpenContent())).ShouldBe(Content);
    }

    /// <summary>Our signature by a key, detached or attached, in a file.</summary>
    public async Task SignAsync(
        string name, TestIdentity signer, SignatureScheme scheme, string digest, bool attached = false)
    {
        SigningRequest request = Request(signer.Certificate, scheme, digest);
        await using FileStream output = File.Create(PathOf(name));
        if (attached)
        {
            await CmsSigner.SignAttachedAsync(new MemoryStream(Content), output, request, signer.Key);
        }
        else
        {
            await output.WriteAsync(await CmsSigner.SignDetachedAsync(new MemoryStream(Content), request, signer.Key));
        }
    }

    /// <summary>Our signature by Ed25519.</summary>
    public async Task SignAsync(string name, TestEd25519 signer, bool attached = false)
    {
        SigningRequest request = Request(signer.Certificate, SignatureScheme.Ed25519, "SHA512");
        await using FileStream output = File.Create(PathOf(name));
        if (attached)
        {
            await CmsSigner.SignAttachedAsync(new MemoryStream(Content), output, request, signer.Sign);
        }
        else
        {
            await output.WriteAsync(await CmsSigner.SignDetachedAsync(new MemoryStream(Content), request, signer.Sign));
        }
    }

    public async Task EncryptAsync(string name, ContentCipher cipher, params X509Certificate2[] recipients)
    {
        await using FileStream output = File.Create(PathOf(name));
        await CmsEnveloper.EncryptAsync(new MemoryStream(Content), output, recipients, cipher);
    }

    public void Dispose() => _folder.Delete(recursive: true);

    /// <summary>As a message is signed, with what we can read: an attribute that each peer parses.</summary>
    private static SigningRequest Request(X509Certificate2 certificate, SignatureScheme scheme, string digest) =>
        new(certificate, [Pki.Ca.Certificate], new HashAlgorithmName(digest), scheme, TestPki.Now)
        {
            Attributes = [SmimeCapabilities.Ours.Attribute],
        };

    private (int Code, string Said) TryRun(string program, string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = _folder.FullName,
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        start.Environment["TZ"] = "UTC";
        // Not by the wrapper: what was killed with it leaves a semaphore behind, and a later process of the same number
        // then cannot start.
        foreach (
            (var key, var value) in FakeTime.Environment($"@{TestPki.Now:yyyy-MM-dd HH:mm:ss}").Concat(Environment))
        {
            start.Environment[key] = value;
        }

        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        try
        {
            process.StandardInput.Write(Input);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended without asking.
        }
        if (!process.WaitForExit(Patience))
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{program} does not end");
        }
        return (process.ExitCode, output.Result + error.Result);
    }

    private static byte[] PemDer(string pem)
    {
        PemFields fields = PemEncoding.Find(pem);
        return Convert.FromBase64String(pem[fields.Base64Data]);
    }

    private static async Task<byte[]> BytesAsync(Stream stream)
    {
        using var copy = new MemoryStream();
        await stream.CopyToAsync(copy);
        return copy.ToArray();
    }
}
