namespace SecureMail.Cms;

/// <summary>What is wrong with a CMS object, by what the caller does next.</summary>
public enum CmsError
{
    /// <summary>The octets are not CMS at all.</summary>
    NotCms,

    /// <summary>It is CMS, but not of the kind that this call reads (for example encrypted where signed was
    /// asked).</summary>
    WrongKind,

    /// <summary>It begins as CMS and breaks its own rules.</summary>
    Malformed,

    /// <summary>It ends before its end: part of the file is missing.</summary>
    Truncated,

    /// <summary>It passes one of <see cref="CmsLimits"/>.</summary>
    LimitExceeded,

    /// <summary>It uses an algorithm that this program does not have.</summary>
    UnsupportedAlgorithm,

    /// <summary>It is encrypted, and to none of the keys at hand.</summary>
    NotForUs,

    /// <summary>
    /// It could not be decrypted, or was changed on its way. One reason only, on purpose: telling a wrong key from a
    /// wrong padding would answer an attacker's question (RFC 3218).
    /// </summary>
    DecryptionFailed,

    /// <summary>A certificate given cannot do what was asked (no RSA key for a recipient, another scheme than the
    /// key's).</summary>
    CertificateNotUsable,

    /// <summary>A signature value does not verify with the certificate it was made for: the wrong key signed.</summary>
    SignatureValueWrong,
}

/// <summary>A CMS object cannot be read or made. The message names no content and is safe to show.</summary>
public sealed class CmsException : Exception
{
    internal CmsException(CmsError error, string message, Exception? inner = null)
        : base(message, inner) => Error = error;

    /// <summary>What kind of failure it is.</summary>
    public CmsError Error { get; }

    internal static CmsException Malformed(string what, Exception? inner = null) =>
        new(CmsError.Malformed, $"damaged CMS: {what}", inner);
}
