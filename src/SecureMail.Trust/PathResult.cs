using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Trust;

/// <summary>The inputs of path validation (RFC 5280 §6.1.1).</summary>
public sealed record PathOptions
{
    /// <summary>The validation time.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>
    /// Whether revocation data must show for every certificate below the anchor that it is not revoked.
    /// </summary>
    public bool CheckRevocation { get; init; } = true;

    /// <summary>user-initial-policy-set, as object identifiers; empty means any policy.</summary>
    public IReadOnlySet<string> Policies { get; init; } = new HashSet<string>();

    /// <summary>initial-explicit-policy.</summary>
    public bool RequireExplicitPolicy { get; init; }

    /// <summary>initial-policy-mapping-inhibit.</summary>
    public bool InhibitPolicyMapping { get; init; }

    /// <summary>initial-any-policy-inhibit.</summary>
    public bool InhibitAnyPolicy { get; init; }

    /// <summary>The most certificates in a path, leaf and anchor included.</summary>
    public int MaxDepth { get; init; } = 10;
}

/// <summary>The status of a path.</summary>
public enum PathStatus
{
    /// <summary>The path is valid.</summary>
    Valid,

    /// <summary>The path is invalid, and later validation cannot change that.</summary>
    Invalid,

    /// <summary>Only revocation data is missing.</summary>
    Indeterminate,
}

/// <summary>The result for a certificate: a valid path, or the best invalid one and the reason.</summary>
/// <param name="Status">The status of the path.</param>
/// <param name="SubIndication">The sub-indication of ETSI EN 319 102-1 for a failure; null for a valid path.</param>
/// <param name="Reason">The reason, in one sentence.</param>
/// <param name="Path">The certificates, leaf first and the anchor last; without anchor when none was reached.</param>
/// <param name="Policies">The policies that the path is valid for (user-constrained-policy-set), as object
/// identifiers.</param>
public sealed record PathResult(
    PathStatus Status, SubIndication? SubIndication, Reason Reason, IReadOnlyList<X509Certificate2> Path,
    IReadOnlyList<string> Policies);
