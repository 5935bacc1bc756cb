using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Trust;

namespace SecureMail.Smime;

/// <summary>
/// The reasons for messages that cannot be read and for findings about envelopes. All sentences about them are here.
/// </summary>
internal static class MessageReasons
{
    public static Reason Of(MimeException e) =>
        e.Reason switch
        {
            MimeReason.Truncated => new(
                "mail-truncated", "Thư bị cắt cụt; hãy yêu cầu gửi lại.",
                "The mail is cut off; ask for it to be sent again."),
            MimeReason.HeaderTooLarge
            or MimeReason.LineTooLong
            or MimeReason.TooDeep
            or MimeReason.TooManyParts
            or MimeReason.TooManyHeaders
            or MimeReason.TooManyParameters
            or MimeReason.TooManyAddresses => new(
                "mail-beyond-limits",
                "Thư vượt giới hạn an toàn (quá lớn, quá sâu hoặc quá nhiều phần); hãy yêu cầu bên gửi soạn lại đơn "
                    + "giản hơn.",
                $"The mail passes a limit: {e.Message}"),
            MimeReason.BadEncoding or MimeReason.UnknownEncoding => new(
                "mail-encoding", "Không giải mã được một phần của thư; hãy yêu cầu gửi lại.",
                $"Part of the mail does not decode: {e.Message}"),
            _ => new(
                "mail-malformed", "Tệp không phải thư đúng chuẩn; hãy kiểm tra tệp hoặc yêu cầu gửi lại.",
                $"This is not acceptable mail: {e.Message}"),
        };

    public static Reason Of(CmsException e) =>
        e.Error switch
        {
            CmsError.NotForUs => new(
                "no-key", "Thư được mã hóa và không có khóa giải mã ở đây; hãy mở bằng khóa của cơ quan nhận.",
                "The mail is encrypted and no key here decrypts it; open it with the key of the receiving agency."),
            CmsError.DecryptionFailed => new(
                "decryption-failed",
                "Không giải mã được thư: thư đã bị thay đổi trên đường đi hoặc được mã hóa cho khóa khác; hãy yêu cầu "
                    + "gửi lại.",
                "The mail cannot be decrypted: it was changed in transit or encrypted for another key; ask for it "
                    + "to be sent again."),
            CmsError.UnsupportedAlgorithm => new(
                "encryption-unsupported",
                "Thư được mã hóa bằng thuật toán không được hỗ trợ; hãy yêu cầu bên gửi dùng AES.",
                $"The mail is encrypted in a way that is not supported: {e.Message}"),
            CmsError.LimitExceeded => new(
                "mail-beyond-limits", "Thư vượt giới hạn an toàn; hãy yêu cầu bên gửi soạn lại đơn giản hơn.",
                $"The mail passes a limit: {e.Message}"),
            CmsError.Truncated => new(
                "mail-truncated", "Thư bị cắt cụt; hãy yêu cầu gửi lại.",
                "The mail is cut off; ask for it to be sent again."),
            _ => new(
                "cms-malformed", "Phần được ký hoặc mã hóa của thư bị hỏng; hãy yêu cầu gửi lại.",
                $"The signed or encrypted part of the mail is damaged: {e.Message}"),
        };

    private static readonly Reason WeakCipher = new(
        "cipher-weak",
        "Thư được mã hóa bằng thuật toán đã yếu (3DES): người ngoài có thể đã đọc được; hãy yêu cầu bên gửi dùng AES.",
        "The mail is encrypted with a weak cipher (triple DES): others may have read it; ask the sender to use AES.");
    private static readonly Reason Unproven = new(
        "envelope-unproven",
        "Thư được mã hóa kiểu CBC mà không có chữ ký nguyên vẹn bên trong, nên nội dung có thể đã bị sửa và không được "
            + "đưa ra; hãy yêu cầu bên gửi ký rồi mã hóa lại.",
        "The mail is encrypted with CBC and no intact signature inside proves it unchanged, so its content is not "
            + "given out; ask the sender to sign and encrypt it again.");

    /// <summary>The findings about the encryption of a message.</summary>
    /// <param name="proven">Whether each envelope has an authentication tag or an intact signature inside.</param>
    public static IReadOnlyList<Reason> OfEnvelopes(IReadOnlyList<DecryptedContent> envelopes, bool proven)
    {
        List<Reason> findings = [];
        if (envelopes.Any(e => e.HasWeakCipher))
        {
            findings.Add(WeakCipher);
        }

        if (!proven)
        {
            findings.Add(Unproven);
        }

        return findings;
    }

    /// <summary>
    /// The finding for a signature part that cannot be read: a format failure (ETSI EN 319 102-1), because the message
    /// is not one without signature.
    /// </summary>
    public static SignatureFinding BrokenSignature() =>
        new()
        {
            Indication = Indication.TotalFailed,
            SubIndication = SubIndication.FormatFailure,
            Reason = new Reason(
                "signature-unreadable",
                "Phần chữ ký của thư bị hỏng, không đọc được; không dùng thư này, hãy yêu cầu gửi lại.",
                "The signature part of the mail is damaged and cannot be read; do not use the mail and ask for it "
                    + "to be sent again."),
            Intact = false,
            Signer = new Signer(null, [], null, null),
            DigestAlgorithm = "",
            Path = [],
        };
}
