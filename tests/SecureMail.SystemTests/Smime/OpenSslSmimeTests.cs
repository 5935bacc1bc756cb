using System.Security.Cryptography;
using System.Text;
using SecureMail.Cms;
using SecureMail.Mail;
using SecureMail.Smime;

namespace SecureMail.SystemTests.Smime;

public sealed class OpenSslSmimeTests : IDisposable
{
    private readonly OpenSsl _openssl = new();

    public void Dispose() => _openssl.Dispose();

    private OutgoingMessage Message => new()
    {
        From = new Mailbox("Văn thư Tỉnh ủy", "vanthu@tinhuy.vn"),
        To = [new Mailbox("Xã", "xa@huyen.vn")],
        Subject = "Về việc tổ chức Hội nghị",
        Date = _openssl.Now,
        MessageId = "<1@tinhuy.vn>",
        Parts =
        [
            new OutgoingPart(MimeContentType.Of("application/vnd.securemail.dispatch+json"), null, () => new MemoryStream("{\"v\":1}"u8.ToArray())),
            new OutgoingPart(MimeContentType.Of("application/pdf"), "Công văn số 36.pdf", () => new MemoryStream(new byte[300_000])),
        ],
    };

    private async Task<(MemoryStream Inner, PreparedSignature Prepared, byte[] Signature)> SignAsync(bool encrypted, SignatureScheme scheme)
    {
        var inner = new MemoryStream();
        var request = new SigningRequest(_openssl.Sender, [], HashAlgorithmName.SHA256, scheme, _openssl.Now);
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
            await SmimeComposer.WriteSignedAsync(Message, inner, prepared, signature, file);
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
            await SmimeComposer.WriteEncryptedAsync(Message, inner, prepared, signature, [_openssl.Recipient, _openssl.Sender], cipher, file);
        var outside = await File.ReadAllTextAsync(_openssl.PathOf("encrypted.eml"));
        outside.ShouldContain("Subject: [...]");
        outside.ShouldNotContain("=?UTF-8?B?VuG7"); // "Về" of the subject
        await _openssl.RunAsync("cms -decrypt -in encrypted.eml -recip recipient.pem -inkey recipient.key -out opened.eml");
        await _openssl.RunAsync("cms -verify -in opened.eml -CAfile root.pem -out content");
        var content = await File.ReadAllBytesAsync(_openssl.PathOf("content"));
        content.ShouldBe(inner.ToArray());
        Encoding.ASCII.GetString(content).ShouldContain("HP-Outer: Subject: [...]");
    }
}
