using System.Security.Cryptography;
using System.Text;
using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Trust;
using Mailbox = SecureMail.Mail.Mime.Mailbox;

namespace SecureMail.SystemTests.Smime;

public sealed class OpenSslSmimeTests(OpenSsl openssl) : IClassFixture<OpenSsl>
{
    private readonly OpenSsl _openssl = openssl;

    private OutgoingMessage Message =>
        new()
        {
            From = new Mailbox("Văn thư Tỉnh ủy", "vanthu@tinhuy.vn"),
            To = [new Mailbox("Xã", "xa@huyen.vn")],
            Subject = "Về việc tổ chức Hội nghị",
            Date = _openssl.Now,
            MessageId = "<1@tinhuy.vn>",
            Parts =
            [
                new OutgoingPart(MimeContentType.Of("application/vnd.securemail.dispatch+json"), null, () =>
                    new MemoryStream("{\"v\":1}"u8.ToArray())),
                new OutgoingPart(MimeContentType.Of("application/pdf"), "Công văn số 36.pdf", () =>
                    new MemoryStream(new byte[300_000])),
            ],
        };

    private async Task<(MemoryStream Inner, PreparedSignature Prepared, byte[] Signature)> SignAsync(
        bool encrypted, SignatureScheme scheme)
    {
        var inner = new MemoryStream();
        var request = new SigningRequest(_openssl.Sender, [], HashAlgorithmName.SHA256, scheme, _openssl.Now)
        {
            Attributes = [SmimeCapabilities.Ours.Attribute],
        };
        var prepared = await SmimeComposer.PrepareAsync(Message, encrypted, request, inner);
        return (inner, prepared, prepared.SignWith(_openssl.SenderKey));
    }

    [Theory]
    [InlineData(SignatureScheme.RsaPkcs1)]
    [InlineData(SignatureScheme.RsaPss)]
    public async Task Openssl_verifies_what_we_sign(SignatureScheme scheme)
    {
        var (inner, prepared, signature) = await SignAsync(encrypted: false, scheme);
        await using (var file = File.Create(_openssl.PathOf("signed.eml")))
        {
            await SmimeComposer.WriteSignedAsync(Message, inner, prepared, signature, file);
        }

        await _openssl.RunAsync("cms -verify -in signed.eml -CAfile root.pem -out content");
        (await File.ReadAllBytesAsync(_openssl.PathOf("content"))).ShouldBe(inner.ToArray());
    }

    [Theory]
    [InlineData(ContentCipher.Aes256Gcm)]
    [InlineData(ContentCipher.Aes256Cbc)]
    public async Task Openssl_opens_what_we_encrypt_and_verifies_what_is_inside(ContentCipher cipher)
    {
        var (inner, prepared, signature) = await SignAsync(encrypted: true, SignatureScheme.RsaPkcs1);
        await using (var file = File.Create(_openssl.PathOf("encrypted.eml")))
        {
            await SmimeComposer.WriteEncryptedAsync(
                Message, inner, prepared, signature, [_openssl.Recipient, _openssl.Sender], cipher, file);
        }

        var outside = await File.ReadAllTextAsync(_openssl.PathOf("encrypted.eml"));
        outside.ShouldContain("Subject: [...]");
        outside.ShouldNotContain("=?UTF-8?B?VuG7"); // "Về" of the subject
        await _openssl.RunAsync(
            "cms -decrypt -in encrypted.eml -recip recipient.pem -inkey recipient.key -out opened.eml");
        await _openssl.RunAsync("cms -verify -in opened.eml -CAfile root.pem -out content");
        var content = await File.ReadAllBytesAsync(_openssl.PathOf("content"));
        content.ShouldBe(inner.ToArray());
        Encoding.ASCII.GetString(content).ShouldContain("HP-Outer: Subject: [...]");
    }

    /// <summary>What openssl signs, in its forms: commands one behind the other, each reading what the one before
    /// wrote.</summary>
    [Theory]
    [InlineData("cms -sign -text -md sha256")]
    [InlineData("cms -sign -text -md sha512 -signer sender.pem -keyopt rsa_padding_mode:pss")]
    [InlineData("cms -sign -text -crlfeol")]
    [InlineData("cms -sign -text -nodetach")]
    [InlineData("cms -sign -text -nodetach -stream")]
    [InlineData("cms -sign -text -keyid")]
    [InlineData("cms -sign -text -cades")]
    [InlineData("smime -sign -text")]
    [InlineData("smime -sign -text -nodetach")]
    public async Task We_validate_what_openssl_signs(string command)
    {
        await WriteContentAsync();
        await _openssl.RunAsync(
            $"{command}{(command.Contains("-signer", StringComparison.Ordinal) ? "" : " -signer sender.pem")} -in "
                + "content.txt -inkey sender.key -from vanthu@tinhuy.vn -to xa@huyen.vn -subject x -out message.eml");
        await ValidateAsync(Verdict.Valid, encrypted: false);
    }

    [Theory]
    [InlineData("cms -encrypt -aes-256-gcm", "recipient.pem")]
    [InlineData("cms -encrypt -aes-128-gcm -keyid", "recipient.pem")]
    [InlineData("cms -encrypt -aes256", "recipient.pem")]
    [InlineData("cms -encrypt -aes128 -stream", "recipient.pem")]
    [InlineData(
        "cms -encrypt -aes256 -recip recipient.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256", "")]
    [InlineData("smime -encrypt -aes256", "sender.pem recipient.pem")]
    public async Task We_open_what_openssl_signs_and_encrypts(string command, string recipients)
    {
        await WriteContentAsync();
        await _openssl.RunAsync("cms -sign -text -in content.txt -signer sender.pem -inkey sender.key -out signed.eml");
        await _openssl.RunAsync(
            $"{command} -in signed.eml -from vanthu@tinhuy.vn -subject x -out message.eml {recipients}");
        await ValidateAsync(Verdict.Valid, encrypted: true);
    }

    [Fact]
    public async Task What_openssl_signed_and_someone_changed_is_invalid()
    {
        await WriteContentAsync();
        await _openssl.RunAsync(
            "cms -sign -text -in content.txt -signer sender.pem -inkey sender.key -from vanthu@tinhuy.vn -out "
                + "message.eml");
        var path = _openssl.PathOf("message.eml");
        await File.WriteAllTextAsync(
            path, (await File.ReadAllTextAsync(path)).Replace("noi dung", "noi dunh", StringComparison.Ordinal));
        await ValidateAsync(Verdict.Invalid, encrypted: false);
    }

    private Task WriteContentAsync() =>
        File.WriteAllTextAsync(_openssl.PathOf("content.txt"), "Cong van: noi dung\n\nDong thu ba  \n.\nFrom here\n");

    private async Task ValidateAsync(Verdict verdict, bool encrypted)
    {
        var options = new ValidationOptions
        {
            Trust = new TrustMaterial([_openssl.Root], [], [_openssl.Crl]),
            At = TimeProvider.System.GetUtcNow().AddSeconds(5),
        };
        await using var file = File.OpenRead(_openssl.PathOf("message.eml"));
        using var validation = await MessageValidator.ValidateAsync(
            file, [new RecipientKey(_openssl.Recipient, _openssl.RecipientKey)], options);
        validation.Verdict.ShouldBe(
            verdict,
            validation.Problem?.En
                ?? string.Join(
                    "; ", validation.Findings.Select(f => $"{f.Reason.En} {f.CoversWhole} {f.SignerIsSender}")));
        validation.Encrypted.ShouldBe(encrypted);
        if (verdict == Verdict.Valid)
        {
            validation.Parts.ShouldHaveSingleItem().ReadText(1000).ShouldStartWith("Cong van: noi dung");
        }
    }
}
