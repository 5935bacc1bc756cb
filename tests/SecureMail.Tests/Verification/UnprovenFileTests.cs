using SecureMail.Cms;
using SecureMail.Tests.Cms;
using SecureMail.Trust;
using SecureMail.Verification;
using CmsSigner = SecureMail.Cms.CmsSigner;

namespace SecureMail.Tests.Verification;

/// <summary>CMS by itself in CBC: one answer to whatever was changed, as in mail.</summary>
public sealed class UnprovenFileTests
{
    private static readonly TestIdentity Signer = TestPki.Shared.Issue("CN=Van thu", ["vanthu@a.vn"]);
    private static readonly ValidationOptions Options = new()
    {
        Trust = new TrustMaterial(
            [TestPki.Shared.Root.Certificate], [TestPki.Shared.Ca.Certificate], TestPki.Shared.Crls()),
        At = TestPki.Now,
    };

    [Fact]
    public async Task Every_changed_file_in_CBC_gets_one_and_the_same_answer()
    {
        using var signed = new MemoryStream();
        await CmsSigner.SignAttachedAsync(
            new MemoryStream(new byte[2000]), signed, CmsSignedDataTests.Request(Signer), Signer.Rsa);
        var cms = await Readers.EncryptAsync(
            signed.ToArray(), ContentCipher.Aes256Cbc, new EnvelopeRecipient(Readers.P256.Certificate));
        using (ValidationReport judgement = await JudgeAsync(cms))
        {
            judgement.Verdict.ShouldBe(Verdict.Valid);
            await using Stream? content = judgement.OpenEnvelope();
            content.ShouldNotBeNull().Length.ShouldBe(signed.Length);
            judgement.EnvelopeFindings.ShouldBeEmpty();
        }

        var ciphertext = (int)(((signed.Length / 16) + 1) * 16);
        HashSet<string> answers = [];
        for (var place = cms.Length - ciphertext; place < cms.Length; place += 7)
        {
            byte[] changed = [.. cms];
            changed[place] ^= 0x20;
            using ValidationReport judgement = await JudgeAsync(changed);
            // Beside the content and its signature lie certificates, which nobody signed: changed there, the signature
            // may still be intact.
            await using Stream? content = judgement.OpenEnvelope();
            if (content is not null)
            {
                judgement.Signatures.ShouldAllBe(s => s.Intact);
            }
            else
            {
                answers.Add(
                    $"{judgement.Verdict} {judgement.Summary.En} {judgement.Error?.Code} "
                        + $"{judgement.Signatures.Count} "
                        + $"{string.Join(' ', judgement.EnvelopeFindings.Select(f => f.Code))}"
                );
            }
        }
        answers.ShouldHaveSingleItem().ShouldEndWith(" 0 envelope-unproven");
        answers.Single().ShouldStartWith("Unsigned");
    }

    private static Task<ValidationReport> JudgeAsync(byte[] cms) =>
        FileValidator.ValidateAsync("x", new MemoryStream(cms), null, [Readers.P256], Options);
}
