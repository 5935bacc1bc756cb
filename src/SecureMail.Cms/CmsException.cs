namespace SecureMail.Cms;

/// <summary>The kinds of CMS errors, by what the caller does next.</summary>
public enum CmsError
{
    /// <summary>The input is not CMS.</summary>
    NotCms,

    /// <summary>The input is CMS of another kind than this call reads (for example encrypted in place of
    /// signed).</summary>
    WrongKind,

    /// <summary>The input begins as CMS and violates its format.</summary>
    Malformed,

    /// <summary>The input ends too early: a part of the file is missing.</summary>
    Truncated,

    /// <summary>The input exceeds one of <see cref="CmsLimits"/>.</summary>
    LimitExceeded,

    /// <summary>The input uses an algorithm that is not supported.</summary>
    UnsupportedAlgorithm,

    /// <summary>The message is encrypted to none of the available keys.</summary>
    NotForUs,

    /// <summary>
    /// The message could not be decrypted, or was changed on its way. The two have the same error on purpose, because a
    /// distinction between a wrong key and a wrong padding would help an attacker (RFC 3218).
    /// </summary>
    DecryptionFailed,

    /// <summary>A certificate cannot be used for the operation (its key cannot be encrypted to, or does not fit the
    /// signature scheme).</summary>
    CertificateNotUsable,

    /// <summary>A signature value does not verify with its certificate: another key signed.</summary>
    SignatureValueWrong,
}

/// <summary>A CMS object cannot be read or made. The message contains nothing of the content and may be
/// shown.</summary>
public sealed class CmsException : Exception
{
    internal CmsException(CmsError error, string message, Exception? inner = null)
        : base(message, inner) => Error = error;

    /// <summary>The kind of error.</summary>
    public CmsError Error { get; }

    internal static CmsException Malformed(string what, Exception? inner = null) =>
        new(CmsError.Malformed, $"damaged CMS: {what}", inner);
}
