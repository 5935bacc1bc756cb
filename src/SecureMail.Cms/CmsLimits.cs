namespace SecureMail.Cms;

/// <summary>Limits on CMS objects from outside. Exceeding a limit is the error
/// <see cref="CmsError.LimitExceeded"/>.</summary>
public sealed record CmsLimits
{
    /// <summary>The limits that are used when none are given.</summary>
    public static CmsLimits Default { get; } = new();

    /// <summary>Bytes of content, signed or decrypted.</summary>
    public long MaxContent { get; init; } = 4L << 30;

    /// <summary>Bytes of each part other than the content: all certificates, all recipients, all signers.</summary>
    public int MaxPart { get; init; } = 16 << 20;

    /// <summary>Certificates of one object; the same limit applies to its CRLs.</summary>
    public int MaxCertificates { get; init; } = 256;

    /// <summary>Signers of one object.</summary>
    public int MaxSigners { get; init; } = 64;

    /// <summary>Recipients of one object. A province may write to each of 3,300 communes.</summary>
    public int MaxRecipients { get; init; } = 10_000;

    /// <summary>Nested constructed elements.</summary>
    public int MaxDepth { get; init; } = 32;
}
