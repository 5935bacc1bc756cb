using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Trust;
using static SecureMail.Tests.Smime.SmimeBench;

namespace SecureMail.Tests.Smime;

/// <summary>CBC proves nothing: what is answered to a changed message must be one answer, whatever came out of the
/// decryption.</summary>
public sealed class UnprovenEnvelopeTests
{
    [Fact]
    public async Task Every_changed_CBC_message_gets_one_and_the_same_answer_and_gives_nothing_out()
    {
        var cms = await CmsOfAsync(await EncryptedAsync(ContentCipher.Aes256Cbc));
        // The head is some 450 octets; everything behind it is ciphertext.
        var head = 600;
        HashSet<string> answers = [];
        for (var place = head; place < cms.Length; place += Math.Max(1, (cms.Length - head) / 150))
        {
            await AnswerAsync(place, 0x10);
        }

        for (var place = cms.Length - 40; place < cms.Length; place++)
        {
            await AnswerAsync(place, 0x01);
            await AnswerAsync(place, 0x80);
        }

        // The wrong key, which is what PKCS#1 padding that does not come out leads to (RFC 3218).
        using (
            var validation = await ValidateAsync(
                Mail(cms), keys: [new RecipientKey(Recipient.Certificate, Stranger.Rsa)]))
        {
            answers.Add(Answer(validation));
        }
        // What was never signed.
        var unsigned = new MemoryStream();
        await CmsEnveloper.EncryptAsync(
            new MemoryStream("Content-Type: text/plain\r\n\r\nsecret\r\n"u8.ToArray()), unsigned,
            [Recipient.Certificate], ContentCipher.Aes256Cbc);
        using (var validation = await ValidateAsync(Mail(unsigned.ToArray())))
        {
            answers.Add(Answer(validation));
        }

        answers.ShouldHaveSingleItem().ShouldBe("Unsigned Read  0 findings, envelope-unproven, nothing shown");

        async Task AnswerAsync(int place, byte change)
        {
            byte[] changed = [.. cms];
            changed[place] ^= change;
            using var validation = await ValidateAsync(Mail(changed));
            // The last octets are line ends behind the signed part and padding: with another signature value or text
            // there it stays what was signed.
            if (validation.Verdict == Verdict.Valid)
            {
                validation.SignedBytesDigest.ShouldBe(await DigestAsync());
            }
            else
            {
                answers.Add(Answer(validation));
            }
        }

        async Task<byte[]?> DigestAsync()
        {
            using var validation = await ValidateAsync(Mail(cms));
            validation.Verdict.ShouldBe(Verdict.Valid);
            return validation.SignedBytesDigest;
        }
    }

    [Fact]
    public async Task A_signed_message_in_triple_DES_is_shown_and_the_cipher_called_weak()
    {
        using var key = System.Security.Cryptography.RSA.Create();
        key.ImportFromPem(await File.ReadAllTextAsync(Path.Combine(Vectors.Folder("smime"), "recipient-key.pem")));
        using var recipient = System.Security.Cryptography.X509Certificates.X509CertificateLoader.LoadCertificate(
            Vectors.Read("smime", "recipient.pem"));
        using var validation = await ValidateAsync(
            Vectors.Read("smime", "triple-des.eml"),
            Options with
            {
                Trust = TrustMaterial.Load([Path.Combine(Vectors.Folder("smime"), "root.pem")]),
                At = new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero),
                CheckRevocation = false,
            },
            [new RecipientKey(recipient, key)]);
        validation.Verdict.ShouldBe(Verdict.Valid);
        validation.EnvelopeFindings.ShouldHaveSingleItem().Code.ShouldBe("cipher-weak");
        validation.Parts.ShouldNotBeEmpty();
    }

    private static string Answer(MessageValidation validation) =>
        $"{validation.Verdict} {validation.State} {validation.Problem?.Code} {validation.Findings.Count} findings, "
        + $"{string.Join(' ', validation.EnvelopeFindings.Select(f => f.Code))}, "
        + (
            validation.Payload is null && validation.Parts.Count == 0 && !validation.EnvelopeIsProven
                ? "nothing shown"
                : "shown");

    private static byte[] Mail(byte[] cms) =>
        [
            .. "MIME-Version: 1.0\r\nFrom: vanthu@tinhuy.vn\r\nContent-Type: application/pkcs7-mime; "u8
                + "smime-type=enveloped-data\r\nContent-Transfer-Encoding: base64\r\n\r\n"u8,
            .. System.Text.Encoding.ASCII.GetBytes(
                Convert.ToBase64String(cms, Base64FormattingOptions.InsertLineBreaks)),
            .. "\r\n"u8,
        ];

    private static async Task<byte[]> CmsOfAsync(byte[] octets)
    {
        await using var decoded = MailMessage.Parse(octets).Root.OpenDecoded();
        var cms = new MemoryStream();
        await decoded.CopyToAsync(cms);
        return cms.ToArray();
    }
}
