using System.Resources;
using SecureMail.Cms;
using SecureMail.Trust;

namespace SecureMail.Verification;

/// <summary>The reasons for files that cannot be read to their end, and the findings about their encryption. Their
/// sentences are in <c>Words/Reasons.resx</c> and <c>Words/Reasons.en.resx</c>.</summary>
internal static class FileReasons
{
    private static readonly ResourceManager Words = new(
        "SecureMail.Verification.Words.Reasons", typeof(FileReasons).Assembly);

    public static readonly Reason CannotOpen = new(Words, "cannot-open");
    public static readonly Reason UnknownKind = new(Words, "unknown-format");
    public static readonly Reason TooDeep = new(Words, "too-many-envelopes");
    public static readonly Reason OtherCms = new(Words, "cms-kind-unsupported");
    public static readonly Reason WeakCipher = new(Words, "cipher-weak");
    public static readonly Reason Unproven = new(Words, "envelope-unproven");
    public static readonly Reason PdfNotValidated = new(Words, "pdf-not-judged");

    public static Reason Of(CmsException e) =>
        e.Error switch
        {
            CmsError.NotForUs => new(Words, "no-key"),
            CmsError.DecryptionFailed => new(Words, "decryption-failed"),
            CmsError.UnsupportedAlgorithm => new(Words, "algorithm-unsupported", e.Message),
            CmsError.LimitExceeded => new(Words, "cms-beyond-limits", e.Message),
            CmsError.Truncated => new(Words, "cms-truncated"),
            _ => new(Words, "cms-malformed", e.Message),
        };
}
