using System.Security.Cryptography;
using System.Text;
using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Trust;
using Mailbox = SecureMail.Mail.Mime.Mailbox;

namespace SecureMail.Tests.Smime;

/// <summary>A sender and a recipient, messages between them, and their validation.</summary>
internal static class SmimeBench
{
    public const string Address = "vanthu@tinhuy.vn";
    public const string Subject = "Về việc tổ chức Hội nghị";
    public static readonly TestPki Pki = TestPki.Shared;
    public static readonly TestIdentity Sender = Pki.Issue("CN=Văn thư Tỉnh ủy,C=VN", [Address]);
    public static readonly TestIdentity EcSender = Pki.Issue("CN=Văn thư (EC),C=VN", [Address], TestKey.P256, slot: 1);
    public static readonly TestIdentity Recipient = Pki.Issue("CN=Xã,C=VN", ["xa@huyen.vn"], slot: 1);
    public static readonly TestIdentity Stranger = Pki.Issue("CN=Người khác,C=VN", ["nguoikhac@huyen.vn"], slot: 2);
    public static readonly byte[] Document = [.. Enumerable.Range(0, 5000).Select(i => (byte)(i * 31))];

    public static readonly ValidationOptions Options = new()
    {
        Trust = new TrustMaterial([Pki.Root.Certificate], [Pki.Ca.Certificate], Pki.Crls()),
        At = TestPki.Now,
    };

    public static readonly OutgoingMessage Message = new()
    {
        From = new Mailbox("Văn thư Tỉnh ủy", Address),
        To = [new Mailbox("Xã", "xa@huyen.vn")],
        Subject = Subject,
        Date = TestPki.Now,
        MessageId = "<1@tinhuy.vn>",
        Parts =
        [
            new OutgoingPart(MimeContentType.Of("application/vnd.securemail.dispatch+json"), null, () =>
                new MemoryStream("{\"v\":1}"u8.ToArray())),
            new OutgoingPart(MimeContentType.Of("application/pdf"), "Công văn số 36.pdf", () =>
                new MemoryStream(Document)),
        ],
    };

    public static IReadOnlyList<RecipientKey> Keys => [new RecipientKey(Recipient.Certificate, Recipient.Rsa)];

    public static byte[] Octets(string text) => Encoding.Latin1.GetBytes(text);

    public static string Text(byte[] octets) => Encoding.Latin1.GetString(octets);

    public static async Task<(MemoryStream Inner, PreparedSignature Prepared, byte[] Signature)> SignAsync(
        bool encrypted, TestIdentity? signer = null, SignatureScheme scheme = SignatureScheme.RsaPkcs1,
        string digest = "SHA256", OutgoingMessage? message = null)
    {
        signer ??= Sender;
        var inner = new MemoryStream();
        var request = new SigningRequest(
            signer.Certificate, [Pki.Ca.Certificate], new HashAlgorithmName(digest), scheme,
            TestPki.Now.AddMinutes(-1));
        var prepared = await SmimeComposer.PrepareAsync(message ?? Message, encrypted, request, inner);
        // The key may be in another process, days later.
        prepared = PreparedSignature.Load(prepared.Save());
        return (inner, prepared, prepared.SignWith(signer.Key));
    }

    public static async Task<byte[]> SignedAsync(
        TestIdentity? signer = null, SignatureScheme scheme = SignatureScheme.RsaPkcs1, string digest = "SHA256",
        OutgoingMessage? message = null)
    {
        var (inner, prepared, signature) = await SignAsync(false, signer, scheme, digest, message);
        var output = new MemoryStream();
        await SmimeComposer.WriteSignedAsync(message ?? Message, inner, prepared, signature, output);
        return output.ToArray();
    }

    public static async Task<byte[]> EncryptedAsync(
        ContentCipher cipher = ContentCipher.Aes256Gcm, TestIdentity? signer = null,
        SignatureScheme scheme = SignatureScheme.RsaPkcs1, string digest = "SHA256", OutgoingMessage? message = null)
    {
        var (inner, prepared, signature) = await SignAsync(true, signer, scheme, digest, message);
        var output = new MemoryStream();
        await SmimeComposer.WriteEncryptedAsync(
            message ?? Message, inner, prepared, signature, [Recipient.Certificate], cipher, output);
        return output.ToArray();
    }

    public static async Task<MessageValidation> ValidateAsync(
        byte[] octets, ValidationOptions? options = null, IReadOnlyList<RecipientKey>? keys = null) =>
        await MessageValidator.ValidateAsync(
            new MemoryStream(octets, writable: false), keys ?? Keys, options ?? Options);

    public static async Task<Verdict> VerdictAsync(
        byte[] octets, ValidationOptions? options = null, IReadOnlyList<RecipientKey>? keys = null)
    {
        using var validation = await ValidateAsync(octets, options, keys);
        return validation.Verdict;
    }

    public static byte[] Read(MimePart part)
    {
        using var stream = part.OpenDecoded();
        var memory = new MemoryStream();
        stream.CopyTo(memory);
        return memory.ToArray();
    }

    /// <summary>Everything that a reader is shown, as one text to compare.</summary>
    public static string Shown(MessageValidation validation) =>
        string.Join(
            '\n',
            [
                validation.Headers!.Subject,
                string.Join(',', validation.Headers.From),
                string.Join(',', validation.Headers.To.Select(m => $"{m.DisplayName} {m}")),
                validation.Headers.Date?.ToString("O") ?? "",
                validation.Headers.MessageId ?? "",
                .. validation.Parts.Select(p =>
                    $"{p.ContentType.MediaType} {p.FileName} {Convert.ToHexString(SHA256.HashData(Read(p)))}"),
            ]);
}
