using SecureMail.Cms;
using SecureMail.Smime;
using SecureMail.Trust;

namespace SecureMail.Verification;

/// <summary>
/// Validates one file of any kind. The kind is found from its bytes (<see cref="FileFormats"/>), the validator of that
/// kind is called, and its result becomes the one report of CLI.md. Mail is validated by SecureMail.Smime. CMS by
/// itself is opened and validated here. A PDF is recognised only, and never called valid. Hostile input gives a
/// verdict, not an exception.
/// </summary>
public static class FileValidator
{
    private const int MaxEnvelopes = 8;

    /// <summary>Validates one file.</summary>
    /// <param name="name">What the file is called in the report.</param>
    /// <param name="file">Seekable. The caller owns it; it is in use until the report is disposed.</param>
    /// <param name="detachedContent">The content of a detached CMS signature, where the caller has it. It is read
    /// once.</param>
    /// <param name="keys">Keys that may open envelopes. Without a fitting key an encrypted file stays locked.</param>
    /// <param name="options">What signatures are validated by.</param>
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
            // A PDF that may hold a signature is indeterminate, because this version cannot validate it. A PDF that
            // certainly holds none is unsigned.
            FileFormat.Pdf when await PdfSignatures.MayBePresentAsync(file, cancellationToken) => new ValidationReport(
                name, format, new FileFindings(FileState.Locked, [], FileReasons.PdfNotValidated)),
            FileFormat.Pdf => new ValidationReport(name, format, new FileFindings(FileState.Read, [])),
            _ => new ValidationReport(name, format, FileFindings.Unreadable(FileReasons.UnknownKind)),
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
                var signatures = await SignatureValidator.ValidateAsync(
                    data, detachedContent, options, cancellationToken);
                return new FileFindings(
                    FileState.Read,
                    [.. signatures.Select(s => s with { CoversWhole = s.CoversWhole && !data.HasExtraOctets })]);
            }

            return !encrypted ? FileFindings.Unreadable(FileReasons.OtherCms)
                : depth == MaxEnvelopes ? FileFindings.Unreadable(FileReasons.TooDeep)
                : await ValidateOpenedAsync(
                    await CmsDecryptor.DecryptAsync(cms, keys, limits: null, cancellationToken), keys, options, depth,
                    cancellationToken);
        }
        catch (CmsException e)
        {
            return new FileFindings(
                e.Error == CmsError.NotForUs ? FileState.Locked : FileState.Unreadable, [], FileReasons.Of(e))
            {
                Encrypted = encrypted,
            };
        }
    }

    private static async Task<FileFindings> ValidateOpenedAsync(
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
            if (opened.HasExtraOctets)
            {
                inner = inner with
                {
                    Signatures = [.. inner.Signatures.Select(s => s with { CoversWhole = false })],
                };
            }

            // CBC has no authentication tag and can be changed at will. Only an intact signature inside and over the
            // whole proves that nothing was changed.
            var proven = opened.Authenticated || inner.Signatures.Any(s => s is { Intact: true, CoversWhole: true });
            if (!proven)
            {
                // The report may not depend on unproven content, not even by saying that it could not be read.
                inner = new FileFindings(FileState.Read, []) { Owned = inner.Owned };
            }

            return inner with
            {
                Encrypted = true,
                EnvelopeFindings =
                [
                    .. opened.HasWeakCipher ? [FileReasons.WeakCipher] : Array.Empty<Reason>(),
                    .. proven ? [] : new[] { FileReasons.Unproven },
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

    /// <summary>A MIME entity without From within CMS is a document and no mail. The report claims no sender for
    /// it.</summary>
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
}
