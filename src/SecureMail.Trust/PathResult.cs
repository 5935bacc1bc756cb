using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Trust;

/// <summary>What a path has to satisfy (the inputs of RFC 5280 §6.1.1).</summary>
public sealed record PathOptions
{
    /// <summary>The time the path is judged at.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Whether every certificate below the anchor must be shown not to be revoked.</summary>
    public bool CheckRevocation { get; init; } = true;

    /// <summary>user-initial-policy-set: object identifiers; empty means any policy.</summary>
    public IReadOnlySet<string> Policies { get; init; } = new HashSet<string>();

    /// <summary>initial-explicit-policy.</summary>
    public bool RequireExplicitPolicy { get; init; }

    /// <summary>initial-policy-mapping-inhibit.</summary>
    public bool InhibitPolicyMapping { get; init; }

    /// <summary>initial-any-policy-inhibit.</summary>
    public bool InhibitAnyPolicy { get; init; }

    /// <summary>Certificates in a path, the leaf and the anchor's counted.</summary>
    public int MaxDepth { get; init; } = 10;
}

/// <summary>How a path came out.</summary>
public enum PathStatus
{
    /// <summary>The path holds.</summary>
    Valid,

    /// <summary>It does not, and waiting will not cure it.</summary>
    Invalid,

    /// <summary>Revocation data is the sole defect.</summary>
    Indeterminate,
}

/// <summary>The answer about a certificate: the path that holds, or the best that does not, and why.</summary>
/// <param name="Status">How it came out.</param>
/// <param name="SubIndication">The term of ETSI EN 319 102-1 for a failure; null for a valid path.</param>
/// <param name="Reason">One sentence.</param>
/// <param name="Path">The certificates, leaf first, the anchor last if one was reached.</param>
/// <param name="Policies">The policies the path is good for (user-constrained-policy-set), by object
/// identifier.</param>
public sealed record PathResult(
    PathStatus Status, SubIndication? SubIndication, Reason Reason, IReadOnlyList<X509Certificate2> Path,
    IReadOnlyList<string> Policies);
