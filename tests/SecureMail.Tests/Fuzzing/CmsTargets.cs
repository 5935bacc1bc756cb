using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SecureMail.Cms;
using SecureMail.Libcrypto;
using SecureMail.TestKit.Mutators;
using CmsSigner = SecureMail.Cms.CmsSigner;

namespace SecureMail.Tests.Fuzzing;

/// <summary>CMS as it comes in a message or a file.</summary>
internal static class CmsTargets
{
    private static readonly Mutator[] Octets = [DerMutator.Mutate, DerMutator.Mutate, OctetMutator.Mutate];

    /// <summary>An intact signature is over content that a signer of the corpus signed; both ways to read
    /// agree.</summary>
    public static FuzzTarget SignedData { get; } =
        new("signed-data", "SignedData (RFC 5652 §5) in DER, BER and PEM", _ => ReaderOfSignedData())
        {
            Refusals = [typeof(CmsException)],
            Mutators = Octets,
            Vectors =
            [
                "cms/attached-*", "cms/detached-*", "cms/peers/*.der", "cms/peers/*.ber", "cms/peers/*.pem",
                "cms/signers/*.der", "cms/rfc4134/4.*.bin",
            ],
            Mutants = 300,
        };

    /// <summary>Authenticated content is what was encrypted.</summary>
    public static FuzzTarget EnvelopedData { get; } =
        new(
            "enveloped-data", "EnvelopedData and AuthEnvelopedData (RFC 5652 §6, RFC 5083)",
            _ => ReaderOfEnvelopedData())
        {
            Refusals = [typeof(CmsException)],
            Mutators = Octets,
            Vectors = ["cms/enveloped-*", "cms/recipients/*.der", "cms/recipients/*.ber", "cms/rfc4134/5.*.bin"],
            Mutants = 500,
        };

    /// <summary>What is not found to be SignedData is not read as SignedData.</summary>
    public static FuzzTarget Kind { get; } =
        new(
            "cms-kind", "the kind of a CMS object by its first bytes",
            _ => input =>
            {
                var kind = CmsFormat.Detect(input.AsSpan(0, Math.Min(input.Length, CmsFormat.DetectionLength)));
                if (kind != CmsKind.SignedData && input.Length <= 2048)
                {
                    Should.Throw<CmsException>(() =>
                        Completed.Result(CmsSignedData.ReadAsync(new MemoryStream(input))));
                }

                return kind == CmsKind.None ? null : kind.ToString();
            })
        {
            Mutators = Octets,
            Vectors = ["cms/*.der", "cms/*.ber", "cms/enveloped-*.pem", "cms/attached-*.pem"],
        };

    /// <summary>What is joined has the signers of both.</summary>
    public static FuzzTarget Join { get; } =
        new("signature-join", "a detached signature of another, to join to ours", _ => ReaderOfJoined())
        {
            Refusals = [typeof(CmsException)],
            Mutators = Octets,
            Vectors = ["cms/detached-*.der"],
            Mutants = 500,
        };

    /// <summary>What is loaded is saved to the same bytes.</summary>
    public static FuzzTarget Prepared { get; } =
        new(
            "prepared-signature", "a prepared signature as it was saved",
            _ => input =>
            {
                var read = PreparedSignature.Load(input);
                read.Save().ShouldBe(input);
                return "read";
            })
        {
            Refusals = [typeof(CmsException)],
            Mutators = Octets,
        };

    /// <summary>What is read, and written by us, is read as the same.</summary>
    public static FuzzTarget Capabilities { get; } =
        new(
            "capabilities", "SMIMECapabilities (RFC 8551 §2.5.2)",
            _ => input =>
            {
                if (SmimeCapabilities.TryRead(input) is not { } read)
                {
                    return null;
                }

                SmimeCapabilities.TryRead(read.Encode())!.Algorithms.ShouldBe(read.Algorithms);
                return $"{Math.Min(read.Algorithms.Count, 20)} algorithms, gcm {read.Has(Aes256Gcm)}";
            })
        {
            Mutators = Octets,
        };

    /// <summary>A name that BouncyCastle reads too has the same attributes in the same order, and it is equal to
    /// itself, within its own subtree and within the empty one.</summary>
    public static FuzzTarget Name { get; } =
        new("distinguished-name", "a distinguished name (RFC 5280 §4.1.2.4)", _ => ReadName)
        {
            Refusals = [typeof(System.Formats.Asn1.AsnContentException)],
            Mutators = Octets,
        };

    private const string Aes256Gcm = "2.16.840.1.101.3.4.1.46";

    private static FuzzRead ReaderOfSignedData()
    {
        byte[][] signed =
        [
            Vectors.Read("cms", "content.txt"), Vectors.Read("cms/signers", "content.txt"),
            Vectors.Read("cms/rfc4134", "content.bin"),
        ];
        return input =>
        {
            using var data = Completed.Result(CmsSignedData.ReadAsync(new MemoryStream(input)));
            var intact = 0;
            foreach (var content in data.HasContent ? signed[..1] : signed)
            {
                var results = Completed.Result(
                    data.VerifyAsync(data.HasContent ? null : new MemoryStream(content)));
                intact = Math.Max(intact, results.Count(r => r.Intact));
            }

            if (data.HasContent && intact > 0)
            {
                var content = Completed.Bytes(data.OpenContent());
                signed.ShouldContain(s => s.SequenceEqual(content), "content that nobody signed");
            }

            if (input is [0x30, ..])
            {
                using var again = Completed.Result(CmsSignedData.ReadInPlaceAsync(new MemoryStream(input)));
                again.Signers.Count.ShouldBe(data.Signers.Count);
                again.HasExtraOctets.ShouldBe(data.HasExtraOctets);
            }

            return $"{Math.Min(data.Signers.Count, 3)} signers, {Math.Min(intact, 3)} intact, "
                + $"content {data.HasContent}, extra {data.HasExtraOctets}";
        };
    }

    private static FuzzRead ReaderOfEnvelopedData()
    {
        byte[][] encrypted =
        [
            Vectors.Read("cms", "content.txt"), Vectors.Read("cms/recipients", "content.txt"),
            Vectors.Read("cms/rfc4134", "content.bin"),
        ];
        RecipientKey[] keys =
        [
            KeyOf("cms", "recipient"), .. new[] { "rsa", "p256", "p384", "p521", "x25519" }
                .Select(n => KeyOf("cms/recipients", n)),
            Bob(),
        ];
        return input =>
        {
            using var opened = Completed.Result(CmsDecryptor.DecryptAsync(new MemoryStream(input), keys));
            if (opened.Authenticated)
            {
                var content = Completed.Bytes(opened.OpenContent());
                encrypted.ShouldContain(e => e.SequenceEqual(content), "content that nobody encrypted");
            }

            return $"{opened.Algorithm}, authenticated {opened.Authenticated}, extra {opened.HasExtraOctets}";
        };
    }

    /// <summary>The recipient of the examples of RFC 4134.</summary>
    private static RecipientKey Bob()
    {
        var key = RSA.Create();
        key.ImportPkcs8PrivateKey(Vectors.Read("cms/rfc4134", "bob.p8"), out _);
        return new RecipientKey(X509CertificateLoader.LoadCertificate(Vectors.Read("cms/rfc4134", "bob.cer")), key);
    }

    private static FuzzRead ReaderOfJoined()
    {
        var ours = Vectors.Read("cms", "detached-rsa.der");
        using var own = Completed.Result(CmsSignedData.ReadAsync(new MemoryStream(ours)));
        var signers = ValuesOf(own);
        return input =>
        {
            using var theirs = Completed.Result(CmsSignedData.ReadAsync(new MemoryStream(input)));
            var joined = CmsSigner.Join(ours, input);
            using var data = Completed.Result(CmsSignedData.ReadAsync(new MemoryStream(joined)));
            ValuesOf(data).ShouldBe(signers.Union(ValuesOf(theirs)), ignoreOrder: true);
            return $"{data.Signers.Count} signers";
        };

        static List<string> ValuesOf(CmsSignedData data) =>
            [.. data.Signers.Select(s => Convert.ToHexString(s.SignatureValue.Span)).Distinct()];
    }

    private static string ReadName(byte[] input)
    {
        var name = DistinguishedName.Read(input);
        name.Matches(DistinguishedName.Read(input)).ShouldBeTrue();
        name.IsWithin(name).ShouldBeTrue();
        name.IsWithin(DistinguishedName.Read(new byte[] { 0x30, 0x00 })).ShouldBeTrue();
        var text = name.ToString();
        text.ShouldNotContain('\r');
        text.ShouldNotContain('\n');
        return name.IsEmpty
            ? "empty"
            : $"emails {name.Emails().Any()}, plus {text.Contains('+', StringComparison.Ordinal)}";
    }

    internal static RecipientKey KeyOf(string folder, string name)
    {
        var certificate = X509CertificateLoader.LoadCertificate(Vectors.Read(folder, name + ".pem"));
        var pem = Encoding.ASCII.GetString(Vectors.Read(folder, name + ".key"));
        if (name == "x25519")
        {
            return new RecipientKey(
                certificate,
                X25519Key.FromPkcs8(
                    Convert.FromBase64String(string.Concat(pem.Split('\n').Where(l => !l.StartsWith('-'))))));
        }

        AsymmetricAlgorithm key = name is "rsa" or "recipient" ? RSA.Create() : ECDiffieHellman.Create();
        key.ImportFromPem(pem);
        return new RecipientKey(certificate, key);
    }
}
