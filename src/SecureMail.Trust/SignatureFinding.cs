using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Serialization;
using SecureMail.Cms;

namespace SecureMail.Trust;

/// <summary>The main answer about a signature, in the terms of ETSI EN 319 102-1 §5.1.3.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<Indication>))]
public enum Indication
{
    /// <summary>The signature is good and its signer trusted.</summary>
    [JsonStringEnumMemberName("TOTAL-PASSED")]
    TotalPassed,

    /// <summary>The signature is bad, for ever and for everyone.</summary>
    [JsonStringEnumMemberName("TOTAL-FAILED")]
    TotalFailed,

    /// <summary>Neither can be said with what is at hand.</summary>
    [JsonStringEnumMemberName("INDETERMINATE")]
    Indeterminate,
}

/// <summary>Why not passed, in the terms of ETSI EN 319 102-1 §5.1.3.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<SubIndication>))]
public enum SubIndication
{
    /// <summary>Failed: the content is not what was signed.</summary>
    [JsonStringEnumMemberName("HASH_FAILURE")]
    HashFailure,

    /// <summary>Failed: the value is not the certificate's.</summary>
    [JsonStringEnumMemberName("SIG_CRYPTO_FAILURE")]
    SigCryptoFailure,

    /// <summary>Failed: the signature breaks its own format.</summary>
    [JsonStringEnumMemberName("FORMAT_FAILURE")]
    FormatFailure,

    /// <summary>The content of a detached signature is missing.</summary>
    [JsonStringEnumMemberName("SIGNED_DATA_NOT_FOUND")]
    SignedDataNotFound,

    /// <summary>The signer's certificate is missing.</summary>
    [JsonStringEnumMemberName("NO_SIGNING_CERTIFICATE_FOUND")]
    NoSigningCertificateFound,

    /// <summary>No path to a trust anchor.</summary>
    [JsonStringEnumMemberName("NO_CERTIFICATE_CHAIN_FOUND")]
    NoCertificateChainFound,

    /// <summary>A path that breaks a rule of its certificates.</summary>
    [JsonStringEnumMemberName("CHAIN_CONSTRAINTS_FAILURE")]
    ChainConstraintsFailure,

    /// <summary>A path that is broken otherwise.</summary>
    [JsonStringEnumMemberName("CERTIFICATE_CHAIN_GENERAL_FAILURE")]
    CertificateChainGeneralFailure,

    /// <summary>An algorithm that is weak or not known.</summary>
    [JsonStringEnumMemberName("CRYPTO_CONSTRAINTS_FAILURE")]
    CryptoConstraintsFailure,

    /// <summary>The signature claims what is not accepted, as a time in the future.</summary>
    [JsonStringEnumMemberName("SIG_CONSTRAINTS_FAILURE")]
    SigConstraintsFailure,

    /// <summary>A certificate is not valid yet.</summary>
    [JsonStringEnumMemberName("NOT_YET_VALID")]
    NotYetValid,

    /// <summary>A certificate has expired, and nothing proves that the signature is older.</summary>
    [JsonStringEnumMemberName("OUT_OF_BOUNDS_NO_POE")]
    OutOfBoundsNoPoe,

    /// <summary>A certificate is revoked, and nothing proves that the signature is older.</summary>
    [JsonStringEnumMemberName("REVOKED_NO_POE")]
    RevokedNoPoe,

    /// <summary>Revocation could not be checked now.</summary>
    [JsonStringEnumMemberName("TRY_LATER")]
    TryLater,
}

/// <summary>What a PDF's later revisions did to what was signed.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ChangesAfterSigning>))]
public enum ChangesAfterSigning
{
    /// <summary>Nothing was changed.</summary>
    [JsonStringEnumMemberName("none")]
    None,

    /// <summary>Something that the signature allows, as a further signature.</summary>
    [JsonStringEnumMemberName("permitted")]
    Permitted,

    /// <summary>Something that it does not allow.</summary>
    [JsonStringEnumMemberName("forbidden")]
    Forbidden,
}

/// <summary>Who signed, by the certificate.</summary>
/// <param name="Subject">RFC 4514; null when the certificate is not at hand.</param>
/// <param name="Emails">The addresses that the certificate vouches for.</param>
/// <param name="Issuer">RFC 4514.</param>
/// <param name="Serial">Lower-case hexadecimal.</param>
public sealed record Signer(string? Subject, IReadOnlyList<string> Emails, string? Issuer, string? Serial);

/// <summary>
/// Everything found out about one signature, never a bool. Serialised with camel-case names it is an element of
/// <c>signatures</c> in CLI.md.
/// </summary>
public sealed record SignatureFinding
{
    /// <summary>The main answer.</summary>
    public required Indication Indication { get; init; }

    /// <summary>Why not passed; null when passed.</summary>
    public SubIndication? SubIndication { get; init; }

    /// <summary>One sentence that says what to do.</summary>
    public required Reason Reason { get; init; }

    /// <summary>The bytes signed are the bytes received.</summary>
    public required bool Intact { get; init; }

    /// <summary>Whether the path holds at the time judged; null when that could not be decided.</summary>
    public bool? Trusted { get; init; }

    /// <summary>Nothing a reader would see stands outside the signature. The caller that knows the format sets
    /// it.</summary>
    public bool CoversWhole { get; init; } = true;

    /// <summary>For mail: From (one address) is in the signer's certificate. Null for anything else. Set by the caller
    /// that knows From.</summary>
    public bool? SignerIsSender { get; init; }

    /// <summary>For PDF; <see cref="ChangesAfterSigning.None"/> for anything else.</summary>
    public ChangesAfterSigning ChangesAfterSigning { get; init; }

    /// <summary>Who signed.</summary>
    public required Signer Signer { get; init; }

    /// <summary>As <c>SHA-256</c>; the object identifier when it is not known.</summary>
    public required string DigestAlgorithm { get; init; }

    /// <summary>The time the signer claims, UTC.</summary>
    public DateTimeOffset? ClaimedTime { get; init; }

    /// <summary>A time at which the signature existed, proven by another; null: none so far.</summary>
    public DateTimeOffset? ProvenTime { get; init; }

    /// <summary>Subjects of the path, leaf first, RFC 4514.</summary>
    public required IReadOnlyList<string> Path { get; init; }

    /// <summary>The signer's certificate; null when it is not at hand.</summary>
    [JsonIgnore]
    public X509Certificate2? SignerCertificate { get; init; }

    /// <summary>What the signer says its reader can do. It is evidence of that only for a signature that passed, by
    /// somebody who is known; not a part of the finding that is kept.</summary>
    [JsonIgnore]
    public SmimeCapabilities? Capabilities { get; init; }
}
