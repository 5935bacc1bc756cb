using System.Resources;
using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Trust;

namespace SecureMail.Smime;

/// <summary>
/// The reasons for messages that cannot be read and for findings about envelopes. Their sentences are in
/// <c>Words/Reasons.resx</c> and <c>Words/Reasons.en.resx</c>.
/// </summary>
internal static class MessageReasons
{
    private static readonly ResourceManager Words = new(
        "SecureMail.Smime.Words.Reasons", typeof(MessageReasons).Assembly);

    private static readonly Reason WeakCipher = new(Words, "cipher-weak");
    private static readonly Reason Unproven = new(Words, "envelope-unproven");

    /// <summary>An envelope among other parts is not opened, because its cleartext could be embedded in them
    /// (EFAIL).</summary>
    public static readonly Reason EnvelopeAmongParts = new(Words, "envelope-among-parts");

    /// <summary>A field of the outer header says something else than the signed one. Neither value is named, because
    /// findings are kept in clear.</summary>
    public static Reason Contradicts(string field) => new(Words, "outer-header-contradicts", field);

    public static Reason Of(MimeException e) =>
        e.Reason switch
        {
            MimeReason.Truncated => new(Words, "mail-truncated"),
            MimeReason.HeaderTooLarge
            or MimeReason.LineTooLong
            or MimeReason.TooDeep
            or MimeReason.TooManyParts
            or MimeReason.TooManyHeaders
            or MimeReason.TooManyParameters
            or MimeReason.TooManyAddresses => new(Words, "mail-beyond-limits", e.Message),
            MimeReason.BadEncoding or MimeReason.UnknownEncoding => new(Words, "mail-encoding", e.Message),
            _ => new(Words, "mail-malformed", e.Message),
        };

    public static Reason Of(CmsException e) =>
        e.Error switch
        {
            CmsError.NotForUs => new(Words, "no-key"),
            CmsError.DecryptionFailed => new(Words, "decryption-failed"),
            CmsError.UnsupportedAlgorithm => new(Words, "encryption-unsupported", e.Message),
            CmsError.LimitExceeded => new(Words, "mail-beyond-limits.cms", e.Message),
            CmsError.Truncated => new(Words, "mail-truncated"),
            _ => new(Words, "cms-malformed", e.Message),
        };

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
            Reason = new Reason(Words, "signature-unreadable"),
            Intact = false,
            Signer = new Signer(null, [], null, null),
            DigestAlgorithm = "",
            Path = [],
        };
}
