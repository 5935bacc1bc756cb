using System.Resources;
using SecureMail.Shared;

namespace SecureMail.Trust;

/// <summary>
/// The reason of a finding: a stable code for programs, and a sentence in Vietnamese and in English that says what to
/// do. The sentences stand in the resources of the project that owns the code.
/// </summary>
public sealed record Reason
{
    private readonly ResourceManager _words;
    private readonly string _key;
    private readonly object[] _arguments;

    /// <summary>A reason whose words are read when they are asked for.</summary>
    /// <param name="words">The resources of the project that owns the code, neutral in Vietnamese.</param>
    /// <param name="key">The code. Where one code has several sentences, the code, a full stop and the
    /// variant.</param>
    /// <param name="arguments">What the sentences name, from <c>{0}</c>.</param>
    public Reason(ResourceManager words, string key, params object[] arguments)
    {
        (_words, _key, _arguments) = (words, key, arguments);
        Code = key.Split('.')[0];
    }

    /// <summary>Stable, for programs.</summary>
    public string Code { get; }

    /// <summary>The sentence in Vietnamese.</summary>
    public string Vi => _words.Vietnamese(_key, _arguments);

    /// <summary>The sentence in English.</summary>
    public string En => _words.English(_key, _arguments);
}

/// <summary>Every reason of the validation of a signature or a path. Their sentences are in
/// <c>Words/Reasons.resx</c> and <c>Words/Reasons.en.resx</c>.</summary>
internal static class Reasons
{
    private static readonly ResourceManager Words = new("SecureMail.Trust.Words.Reasons", typeof(Reasons).Assembly);

    // good
    public static readonly Reason Valid = new(Words, "valid");
    public static readonly Reason ValidCrlsPassedOver = new(Words, "valid.crls-passed-over");
    public static readonly Reason ValidRevocationNotAsked = new(Words, "valid-revocation-not-checked");

    // the signature itself
    public static readonly Reason ContentChanged = new(Words, "content-changed");
    public static readonly Reason SignatureWrong = new(Words, "signature-wrong");
    public static readonly Reason SignatureMalformed = new(Words, "signature-malformed");
    public static readonly Reason ContentMissing = new(Words, "content-missing");
    public static readonly Reason SignerCertificateMissing = new(Words, "signer-certificate-missing");
    public static readonly Reason AlgorithmUnknown = new(Words, "algorithm-unknown");
    public static readonly Reason AlgorithmWeak = new(Words, "algorithm-weak");
    public static readonly Reason TimeInFuture = new(Words, "time-in-future");

    // the path
    public static readonly Reason NoPath = new(Words, "no-path");
    public static readonly Reason PathSignatureWrong = new(Words, "path-signature-wrong");
    public static readonly Reason CertificateMalformed = new(Words, "certificate-malformed");
    public static readonly Reason NotYetValid = new(Words, "certificate-not-yet-valid");
    public static readonly Reason Expired = new(Words, "certificate-expired");
    public static readonly Reason NotACa = new(Words, "issuer-not-ca");
    public static readonly Reason PathTooLong = new(Words, "path-too-long");
    public static readonly Reason NameNotAllowed = new(Words, "name-not-allowed");
    public static readonly Reason CriticalExtension = new(Words, "critical-extension-unknown");
    public static readonly Reason PolicyNotAllowed = new(Words, "policy-not-allowed");
    public static readonly Reason PathAlgorithmWeak = new(Words, "path-algorithm-weak");
    public static readonly Reason PathAlgorithmUnknown = new(Words, "path-algorithm-unknown");
    public static readonly Reason WrongPurpose = new(Words, "certificate-purpose");
    public static readonly Reason Revoked = new(Words, "certificate-revoked");
    public static readonly Reason RevocationUnknown = new(Words, "revocation-unknown");
    public static readonly Reason RevocationUnknownCrlsPassedOver = new(Words, "revocation-unknown.crls-passed-over");
    public static readonly Reason PathTooComplex = new(Words, "path-too-complex");

    // the file as a whole
    public static readonly Reason ForbiddenChange = new(Words, "forbidden-change");
    public static readonly Reason NoKey = new(Words, "no-key");
    public static readonly Reason Unsigned = new(Words, "unsigned");
    public static readonly Reason Partial = new(Words, "partial");
    public static readonly Reason WrongSender = new(Words, "wrong-sender");
    public static readonly Reason Untrusted = new(Words, "untrusted");
    public static readonly Reason Unreadable = new(Words, "unreadable");
}
