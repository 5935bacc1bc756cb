namespace SecureMail.Gateway.Vocabulary;

/// <summary>What a quarantined message waits for: the column <c>awaits</c> of <c>gateway.incoming</c>. Only its arrival
/// validates the message again. What no arrival can cure waits for nothing.</summary>
public static class AwaitedArrival
{
    /// <summary>A directory that binds the signer to the agency that is named. Set by the acceptance policy.</summary>
    public const string Directory = "newer-directory";

    /// <summary>A CRL that says whether a certificate is revoked. Set by the acceptance policy.</summary>
    public const string Revocation = "newer-crl";

    /// <summary>A proof that joins the checkpoint of the sender's ledger. Set by the acceptance policy.</summary>
    public const string Evidence = "ledger-proof";

    /// <summary>A key that opens the message. Set by the acceptance policy.</summary>
    public const string Key = "opening-key";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Directory, Revocation, Evidence, Key];
}
