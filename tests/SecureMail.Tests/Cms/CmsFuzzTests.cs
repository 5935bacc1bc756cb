using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;

namespace SecureMail.Tests.Cms;

/// <summary>Mutated CMS: only typed errors come out, nothing changed passes for authentic, and time and memory stay
/// bounded.</summary>
public sealed class CmsFuzzTests
{
    private static readonly byte[][] Corpus =
    [
        .. Directory
            .GetFiles(Vectors.Folder("cms"), "*", SearchOption.AllDirectories)
            .Where(f => Path.GetExtension(f) is ".der" or ".ber" or ".pem")
            .Order()
            .Select(File.ReadAllBytes),
    ];

    [Fact]
    public void Mutated_signed_data_is_read_or_refused_and_never_verifies_as_other_content()
    {
        var content = Vectors.Read("cms", "content.txt");
        Bounded(Corpus, 1, 6000, input =>
        {
            try
            {
                using CmsSignedData data = CmsSignedData.ReadAsync(new MemoryStream(input)).GetAwaiter().GetResult();
                IReadOnlyList<SignerVerification> results = data.VerifyAsync(
                        data.HasContent ? null : new MemoryStream(content))
                    .GetAwaiter()
                    .GetResult();
                if (data.HasContent && results.Any(r => r.Intact))
                {
                    CmsSignedDataTests.BytesAsync(data.OpenContent()).GetAwaiter().GetResult().ShouldBe(content);
                }
            }
            catch (CmsException) { }
        });
    }

    [Fact]
    public void Mutated_encrypted_data_decrypts_unchanged_or_not_at_all()
    {
        var content = Vectors.Read("cms", "content.txt");
        using var rsa = RSA.Create();
        rsa.ImportFromPem(System.Text.Encoding.ASCII.GetString(Vectors.Read("cms", "recipient.key")));
        RecipientKey[] keys = [new(X509CertificateLoader.LoadCertificate(Vectors.Read("cms", "recipient.pem")), rsa)];
        Bounded(Corpus, 2, 3000, input =>
        {
            try
            {
                using DecryptedContent opened = CmsDecryptor
                    .DecryptAsync(new MemoryStream(input), keys)
                    .GetAwaiter()
                    .GetResult();
                if (opened.Authenticated)
                {
                    CmsSignedDataTests.BytesAsync(opened.OpenContent()).GetAwaiter().GetResult().ShouldBe(content);
                }
            }
            catch (CmsException) { }
        });
    }

    [Fact]
    public void Detection_never_fails_and_agrees_with_the_readers() => Bounded(Corpus, 3, 20_000, input =>
        {
            CmsKind kind = CmsFormat.Detect(input.AsSpan(0, Math.Min(input.Length, CmsFormat.DetectionLength)));
            if (kind == CmsKind.SignedData || input.Length > 2048)
            {
                return;
            }

            Should.Throw<CmsException>(() => CmsSignedData.ReadAsync(new MemoryStream(input)).GetAwaiter().GetResult());
        });

    [Fact]
    public void Mutated_signatures_join_only_into_what_can_be_read()
    {
        byte[][] detached = [.. Corpus.Where(c => c is [0x30, ..])];
        var ours = Corpus.First(c => Joins(c, c));
        Bounded(detached, 5, 3000, input =>
        {
            try
            {
                var joined = SecureMail.Cms.CmsSigner.Join(ours, input);
                using CmsSignedData data = CmsSignedData.ReadAsync(new MemoryStream(joined)).GetAwaiter().GetResult();
                data.Signers.ShouldNotBeEmpty();
            }
            catch (CmsException) { }
        });

        static bool Joins(byte[] one, byte[] other)
        {
            try
            {
                SecureMail.Cms.CmsSigner.Join(one, other);
                return true;
            }
            catch (CmsException)
            {
                return false;
            }
        }
    }

    [Fact]
    public void A_mutated_certificate_is_read_or_refused_and_never_verifies_other_content()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=A", key: TestKey.P256);
        var cache = new CertificateCache(16);
        byte[][] certificates =
        [
            signer.Certificate.RawData,
            TestPki.Shared.Issue("CN=B").Certificate.RawData,
            TestEd25519.Issue(TestPki.Shared, "CN=C").Certificate.RawData,
        ];
        Bounded(certificates, 6, 6000, input =>
        {
            if (cache.Read(input) is not { } read)
            {
                return;
            }

            read.Key?.VerifyEcdsa(new byte[32], [0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01]).ShouldBeFalse();
            read.Key?.VerifyRsaPkcs1(new byte[32], HashAlgorithmName.SHA256, new byte[256]).ShouldBeFalse();
            read.Key?.VerifyEd25519([1], new byte[64]).ShouldBeFalse();
            read.SubjectKeyIdentifier();
        });
    }

    [Fact]
    public void A_mutated_prepared_signature_loads_or_is_refused()
    {
        TestIdentity signer = TestPki.Shared.Issue("CN=A", key: TestKey.P256);
        var saved = PreparedSignature
            .Prepare(CmsSignedDataTests.Request(signer, SignatureScheme.Ecdsa), new byte[32])
            .Save();
        Bounded([saved], 4, 3000, input =>
        {
            try
            {
                PreparedSignature.Load(input);
            }
            catch (CmsException) { }
        });
    }

    /// <summary>Bytes that one input may make us allocate: some pieces of 64 KiB, far below what a hostile length could
    /// claim.</summary>
    private const long MaxAllocated = 4 << 20;

    private static void Bounded(IEnumerable<byte[]> corpus, int seed, int iterations, Action<byte[]> target) =>
        Fuzz.Run(corpus, seed, iterations, input =>
        {
            // Everything here runs on this thread, because a MemoryStream never waits, so the counter of the thread
            // does not include what other tests allocate.
            var before = GC.GetAllocatedBytesForCurrentThread();
            target(input);
            (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBeLessThan(MaxAllocated);
        });
}
