namespace SecureMail.Trust;

/// <summary>
/// What may be done to find the path of one certificate. A message chooses the certificates that it encloses: each may
/// need a signature verification, and certificates that cross-certify each other make a number of paths that grows with
/// the factorial of their number, although each signature is verified once. A path that needs more is not valid, with
/// the reason path-too-complex.
/// </summary>
/// <param name="ofMessage">What all signers of one message may do together; null for a certificate by
/// itself.</param>
internal sealed class PathWork(MessageWork? ofMessage = null)
{
    /// <summary>Signatures of certificates and CRLs.</summary>
    private const int MaxVerifications = 256;

    /// <summary>Certificates put at the end of a path that is being built.</summary>
    private const int MaxSteps = 2048;

    /// <summary>Complete paths, each checked against names, policies and revocation.</summary>
    private const int MaxPaths = 64;

    private int _verifications;
    private int _steps;
    private int _paths;

    public bool TryCountVerification() =>
        _verifications++ < MaxVerifications && ofMessage?.TryCountVerification() != false;

    public bool TryCountStep() => _steps++ < MaxSteps;

    public bool TryCountPath() => _paths++ < MaxPaths;
}

/// <summary>What all signers of one message may do together, because a message may have 64 of them.</summary>
internal sealed class MessageWork
{
    private const int MaxVerifications = 1024;

    private int _verifications;

    public bool TryCountVerification() => _verifications++ < MaxVerifications;
}
