using System.Security.Cryptography;
using System.Text;
using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Trust;
using Mailbox = SecureMail.Mail.Mime.Mailbox;

namespace SecureMail.Benchmarks;

/// <summary>Our side, on streams, as the product calls it: the same verbs as <see cref="OpenSslCms"/>.</summary>
internal sealed class OurCms(Materials materials)
{
    private readonly RecipientKey[] _keys = [new(materials.Recipient.Certificate, materials.Recipient.Key)];

    public SigningRequest Request(Identity? signer = null) =>
        new(
            (signer ?? materials.Signer).Certificate, [materials.Ca], HashAlgorithmName.SHA256,
            SignatureScheme.RsaPkcs1, materials.Now);

    public Task SignAsync(Stream content, Stream output, Identity? signer = null) =>
        CmsSigner.SignAttachedAsync(content, output, Request(signer), (signer ?? materials.Signer).Key);

    /// <summary>Reads and verifies by the certificate inside; the content is at hand afterwards, in a copy or where it
    /// lay.</summary>
    public static async Task VerifyAsync(Stream signed, Stream? content = null, bool inPlace = false)
    {
        using var data = inPlace ? await CmsSignedData.ReadInPlaceAsync(signed) : await CmsSignedData.ReadAsync(signed);
        await VerifyAsync(data);
        if (content is not null)
        {
            await data.OpenContent().CopyToAsync(content);
        }
    }

    public Task EncryptAsync(Stream content, Stream output, ContentCipher cipher = ContentCipher.Aes256Gcm) =>
        CmsEnveloper.EncryptAsync(content, output, [materials.Recipient.Certificate], cipher);

    public async Task DecryptAsync(Stream encrypted)
    {
        using var opened = await CmsDecryptor.DecryptAsync(encrypted, _keys);
    }

    /// <summary>SignedData with the content inside, and that in AuthEnvelopedData.</summary>
    public async Task SignEncryptAsync(
        Stream content, Stream output, bool many = false, ContentCipher cipher = ContentCipher.Aes256Gcm)
    {
        using var signed = new SecretSpool();
        await SignAsync(content, signed.OpenWrite());
        await CmsEnveloper.EncryptAsync(
            signed.OpenRead(), output, many ? materials.Many : [materials.Recipient.Certificate], cipher);
    }

    public async Task DecryptVerifyAsync(Stream sealedSigned, Stream? content = null)
    {
        using var opened = await CmsDecryptor.DecryptAsync(sealedSigned, _keys);
        await using var inner = opened.OpenContent();
        await VerifyAsync(inner, content, inPlace: true);
    }

    /// <summary>A document to one recipient as the product sends it: composed, signed, encrypted, as mail.</summary>
    public async Task SignEncryptTextAsync(
        Func<Stream> document, Stream output, ContentCipher cipher = ContentCipher.Aes256Gcm)
    {
        using var inner = new SecretSpool();
        var message = Message(document);
        var prepared = await SmimeComposer.PrepareAsync(message, willBeEncrypted: true, Request(), inner.OpenWrite());
        var signature = prepared.SignWith(materials.Signer.Key);
        await SmimeComposer.WriteEncryptedAsync(
            message, inner.OpenRead(), prepared, signature, [materials.Recipient.Certificate], cipher, output);
    }

    /// <summary>The entity that gets signed for a document: what the peers are given to sign.</summary>
    public async Task<byte[]> EntityAsync(byte[] document)
    {
        var inner = new MemoryStream();
        await SmimeComposer.PrepareAsync(
            Message(() => new MemoryStream(document)), willBeEncrypted: true, Request(), inner);
        return inner.ToArray();
    }

    /// <summary>Judged as the product judges what it receives: structure, layers, signature, path with revocation,
    /// headers.</summary>
    public async Task DecryptVerifyTextAsync(Stream message, Stream? document = null)
    {
        using var judgement = await MessageValidator.ValidateAsync(message, _keys, materials.Options);
        if (judgement.Verdict != Verdict.Valid)
        {
            throw new InvalidOperationException($"Our judgement is {judgement.Verdict}.");
        }

        if (document is not null)
        {
            await judgement.Parts[0].OpenDecoded().CopyToAsync(document);
        }
    }

    /// <summary>EnvelopedData as a message.</summary>
    public static byte[] MailOf(byte[] cms) =>
        Encoding.ASCII.GetBytes(
            $"From: vanthu@tinhuy.vn\r\nMIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\r\nContent-Transfer-Encoding: base64\r\n\r\n{Convert.ToBase64String(cms, Base64FormattingOptions.InsertLineBreaks)}\r\n"
        );

    /// <summary>What has no tag and no signature inside is refused, whatever comes out of it.</summary>
    public async Task RefuseAsync(Stream message)
    {
        using var judgement = await MessageValidator.ValidateAsync(message, _keys, materials.Options);
        if (judgement is not { Verdict: Verdict.Unsigned, EnvelopeFindings: [{ Code: "envelope-unproven" }] })
        {
            throw new InvalidOperationException($"Our judgement is {judgement.Verdict}.");
        }
    }

    private OutgoingMessage Message(Func<Stream> document) =>
        new()
        {
            From = new Mailbox("Văn thư Tỉnh ủy", "vanthu@tinhuy.vn"),
            To = [new Mailbox("Xã", "xa@huyen.vn")],
            Subject = "Công văn",
            Date = materials.Now,
            MessageId = "<1@tinhuy.vn>",
            Parts = [new OutgoingPart(MimeContentType.Of("application/pdf"), "cong-van.pdf", document)],
        };

    private static async Task VerifyAsync(CmsSignedData data)
    {
        var answers = await data.VerifyAsync(null);
        if (answers is not [{ Intact: true }])
        {
            throw new InvalidOperationException("Our verification failed.");
        }
    }
}
