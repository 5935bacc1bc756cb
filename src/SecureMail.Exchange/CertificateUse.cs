namespace SecureMail.Exchange;

/// <summary>What the directory lists a certificate for. A certificate has one use, and none stands in for
/// another.</summary>
public static class CertificateUse
{
    /// <summary>The seal of an agency on a document, by văn thư's own act.</summary>
    public const string Seal = "seal";

    /// <summary>A person's signature on a document.</summary>
    public const string Person = "person";

    /// <summary>The gateway signs dispatches of the agency.</summary>
    public const string Dispatch = "dispatch";

    /// <summary>The gateway signs receipts of the agency.</summary>
    public const string Receipt = "receipt";

    /// <summary>Ordinary mail of the agency's people.</summary>
    public const string Mail = "mail";

    /// <summary>Mail to the agency is encrypted to it.</summary>
    public const string Encrypt = "encrypt";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Seal, Person, Dispatch, Receipt, Mail, Encrypt];
}
