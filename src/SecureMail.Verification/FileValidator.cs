using SecureMail.Cms;
using SecureMail.Smime;
using SecureMail.Trust;

namespace SecureMail.Verification;

/// <summary>
/// Judges one file, whatever it is: its kind is found from its octets (<see cref="FileFormats"/>), then the judge of
/// that kind is asked, and the answer put in the one form of CLI.md. Mail goes to SecureMail.Smime; CMS by itself is
/// opened and judged here; a PDF is recognised only, and never called valid. Hostile input is a verdict, not an
/// exception.
/// </summary>
public static class FileValidator
{
    private const int MaxEnvelopes = 8;

    private static readonly Reason UnknownKind = new(
        "unknown-format", "Không nhận ra loại tệp: không phải thư MIME, CMS hay PDF; hãy kiểm tra tệp.",
        "This is no MIME message, no CMS and no PDF; check the file.");
    private static readonly Reason TooDeep = new(
        "too-many-envelopes", "Tệp có quá nhiều lớp mã hóa lồng nhau; hãy yêu cầu bên gửi gửi lại.",
        "Too many envelopes lie around each other; ask the sender to send it again.");
    private static readonly Reason OtherCms = new(
        "cms-kind-unsupported",
        "Loại CMS này (nén hoặc tương tự) không được hỗ trợ; hãy yêu cầu bên gửi ký hoặc mã hóa theo S/MIME.",
        "This kind of CMS (compressed or the like) is not read; ask the sender for signed or encrypted data.");
    private static readonly Reason WeakCipher = new(
        "cipher-weak",
        "Tệp được mã hóa bằng thuật toán đã yếu (3DES): người ngoài có thể đã đọc được; hãy yêu cầu bên gửi dùng AES.",
        "The file is encrypted with a weak cipher (triple DES): others may have read it; ask the sender to use AES.");
    private static readonly Reason Unproven = new(
        "envelope-unproven",
        "Tệp được mã hóa kiểu CBC mà không có chữ ký nguyên vẹn bên trong, nên nội dung có thể đã bị sửa và không được "
            + "đưa ra; hãy yêu cầu bên gửi ký rồi mã hóa lại.",
        "The file is encrypted with CBC and no intact signature inside proves it unchanged, so its content is not given "
            + "out; ask the sender to sign and encrypt it again.");
    private static readonly Reason PdfNotJudged = new(
        "pdf-not-judged",
        "Tệp PDF có thể chứa chữ ký số nhưng phiên bản này chưa kiểm tra chữ ký trong PDF; hãy kiểm tra bằng phần mềm "
            + "khác.",
        "The PDF may hold signatures, and this version does not judge signatures in PDF; check it with other software."
    );

    /// <summary>Judges one file.</summary>
    /// <param name="name">What the file is called in the answer.</param>
    /// <param name="file">Seekable; stays the caller's, and in use until the judgement is disposed.</param>
    /// <param name="detachedContent">The content of a detached CMS signature, where the caller has it; read
    /// once.</param>
    /// <param name="keys">Keys that may open envelopes; none leaves what is encrypted locked.</param>
    /// <param name="options">What signatures are judged by.</param>
    /// <param name="cancellationToken">Stops between pieces.</param>
    /// <exception cref="IOException">The file cannot be read, or a temporary file not written.</exception>
    public static async Task<ValidationReport> ValidateAsync(
        string name, Stream file, Stream? detachedContent, IReadOnlyList<RecipientKey> keys, ValidationOptions options,
        CancellationToken cancellationToken = default)
    {
        var format = await FileFormats.DetectAsync(file, cancellationToken);
        return format switch
        {
            FileFormat.Mime => new ValidationReport(
                name, format,
                FileFindings.Of(await MessageValidator.ValidateAsync(file, keys, options, cancellationToken))),
            FileFormat.Cms => new ValidationReport(
                name, format,
                await ValidateCmsAsync(file, detachedContent, keys, options, depth: 0, cancellationToken)),
            // Neither judged nor valid: what may be signed waits for software that can tell, what is not is said to be
            // unsigned.
            FileFormat.Pdf when await PdfSignatures.MayBePresentAsync(file, cancellationToken) => new ValidationReport(
                name, format, new FileFindings(FileState.Locked, [], PdfNotJudged)),
            FileFormat.Pdf => new ValidationReport(name, format, new FileFindings(FileState.Read, [])),
            _ => new ValidationReport(name, format, FileFindings.Unreadable(UnknownKind)),
        };
    }

    private static async Task<FileFindings> ValidateCmsAsync(
        Stream cms, Stream? detachedContent, IReadOnlyList<RecipientKey> keys, ValidationOptions options, int depth,
        CancellationToken cancellationToken)
    {
        var head = new byte[CmsFormat.DetectionLength];
        cms.Position = 0;
        var kind = CmsFormat.Detect(
            head.AsSpan(0, await cms.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, cancellationToken))
        );
        cms.Position = 0;
        var encrypted = kind is CmsKind.EnvelopedData or CmsKind.AuthEnvelopedData;
        try
        {
            if (kind == CmsKind.SignedData)
            {
                using var data = await CmsSignedData.ReadAsync(cms, limits: null, cancellationToken);
                return new FileFindings(
                    FileState.Read,
                    await SignatureValidator.ValidateAsync(data, detachedContent, options, cancellationToken));
            }

            return !encrypted ? FileFindings.Unreadable(OtherCms)
                : depth == MaxEnvelopes ? FileFindings.Unreadable(TooDeep)
                : await JudgeOpenedAsync(
                    await CmsDecryptor.DecryptAsync(cms, keys, limits: null, cancellationToken), keys, options, depth,
                    cancellationToken);
        }
        catch (CmsException e)
        {
            return new FileFindings(
                e.Error == CmsError.NotForUs ? FileState.Locked : FileState.Unreadable, [], ReasonOf(e))
            {
                Encrypted = encrypted,
            };
        }
    }

    private static async Task<FileFindings> JudgeOpenedAsync(
        DecryptedContent opened, IReadOnlyList<RecipientKey> keys, ValidationOptions options, int depth,
        CancellationToken cancellationToken)
    {
        var content = opened.OpenContent();
        try
        {
            var inner = await FileFormats.DetectAsync(content, cancellationToken) switch
            {
                FileFormat.Mime => WithoutAbsentSender(
                    await MessageValidator.ValidateAsync(content, keys, options, cancellationToken)),
                FileFormat.Cms => await ValidateCmsAsync(content, null, keys, options, depth + 1, cancellationToken),
                _ => new FileFindings(FileState.Read, []),
            };
            // Without a tag, only a signature inside and over the whole tells that nothing was changed (CBC can be
            // changed at will).
            var proven = opened.Authenticated || inner.Signatures.Any(s => s is { Intact: true, CoversWhole: true });
            if (!proven)
            {
                // Then nothing that is said may depend on what came out, not even that it could not be read.
                inner = new FileFindings(FileState.Read, []) { Owned = inner.Owned };
            }

            return inner with
            {
                Encrypted = true,
                EnvelopeFindings =
                [
                    .. opened.HasWeakCipher ? [WeakCipher] : Array.Empty<Reason>(),
                    .. proven ? [] : new[] { Unproven },
                    .. inner.EnvelopeFindings,
                ],
                OpenEnvelope = proven ? opened.OpenContent : () => null,
                Owned = [.. inner.Owned, content, opened],
            };
        }
        catch
        {
            await content.DisposeAsync();
            opened.Dispose();
            throw;
        }
    }

    /// <summary>A MIME entity without From, within CMS, is a document and no mail: nobody is claimed to be its
    /// sender.</summary>
    private static FileFindings WithoutAbsentSender(MessageValidation message)
    {
        var found = FileFindings.Of(message);
        return message.Message?.Root.Header("From") is null && message.Headers?.From.Count is null or 0
            ? found with
            {
                Signatures = [.. found.Signatures.Select(s => s with { SignerIsSender = null })],
            }
            : found;
    }

    private static Reason ReasonOf(CmsException e) =>
        e.Error switch
        {
            CmsError.NotForUs => new(
                "no-key", "Tệp được mã hóa và không có khóa giải mã ở đây; hãy mở bằng khóa của cơ quan nhận.",
                "The file is encrypted and no key here opens it; open it with the key of the agency it was made for."),
            CmsError.DecryptionFailed => new(
                "decryption-failed",
                "Không giải mã được tệp: tệp đã bị thay đổi hoặc được mã hóa cho khóa khác; hãy yêu cầu gửi lại.",
                "The file could not be decrypted: it was changed, or made for another key; ask for it to be sent again."
            ),
            CmsError.UnsupportedAlgorithm => new(
                "algorithm-unsupported", "Tệp dùng thuật toán không được hỗ trợ; hãy yêu cầu bên gửi dùng AES.",
                $"The file uses an algorithm that is not supported: {e.Message}"),
            CmsError.LimitExceeded => new(
                "cms-beyond-limits", "Tệp vượt giới hạn an toàn; hãy yêu cầu bên gửi chia nhỏ.",
                $"The file passes a limit: {e.Message}"),
            CmsError.Truncated => new(
                "cms-truncated", "Tệp bị cắt cụt; hãy yêu cầu gửi lại.",
                "The file is cut off; ask for it to be sent again."),
            _ => new("cms-malformed", "Tệp CMS bị hỏng; hãy yêu cầu gửi lại.", $"The file is damaged: {e.Message}"),
        };
}
