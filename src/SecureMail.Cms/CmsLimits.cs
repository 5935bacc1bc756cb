namespace SecureMail.Cms;

/// <summary>How much of anything is read from a CMS object that a stranger made. What passes a limit is
/// <see cref="CmsError.LimitExceeded"/>.</summary>
public sealed record CmsLimits
{
    /// <summary>The limits used when none are given.</summary>
    public static CmsLimits Default { get; } = new();

    /// <summary>Octets of content, signed or decrypted.</summary>
    public long MaxContent { get; init; } = 4L << 30;

    /// <summary>Octets of any one part beside the content: all certificates, all recipients, all signers.</summary>
    public int MaxPart { get; init; } = 16 << 20;

    /// <summary>Certificates, and CRLs, inside one object.</summary>
    public int MaxCertificates { get; init; } = 256;

    /// <summary>Signers of one object.</summary>
    public int MaxSigners { get; init; } = 64;

    /// <summary>Recipients of one object. A province may write to each of 3,300 communes.</summary>
    public int MaxRecipients { get; init; } = 10_000;

    /// <summary>Constructed elements within each other.</summary>
    public int MaxDepth { get; init; } = 32;
}
