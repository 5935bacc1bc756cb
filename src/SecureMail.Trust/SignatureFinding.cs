using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Serialization;
using SecureMail.Cms;

namespace SecureMail.Trust;

/// <summary>The main indication about a signature (ETSI EN 319 102-1 §5.1.3).</summary>
[JsonConverter(typeof(JsonStringEnumConverter<Indication>))]
public enum Indication
{
    /// <summary>The signature is intact and its signer is trusted.</summary>
    [JsonStringEnumMemberName("TOTAL-PASSED")]
    TotalPassed,

    /// <summary>The signature is invalid, and no later validation can change that.</summary>
    [JsonStringEnumMemberName("TOTAL-FAILED")]
    TotalFailed,

    /// <summary>The available data does not allow either result.</summary>
    [JsonStringEnumMemberName("INDETERMINATE")]
    Indeterminate,
}

/// <summary>Why a signature did not pass (ETSI EN 319 102-1 §5.1.3).</summary>
[JsonConverter(typeof(JsonStringEnumConverter<SubIndication>))]
public enum SubIndication
{
    /// <summary>Failed: the content is not the signed content.</summary>
    [JsonStringEnumMemberName("HASH_FAILURE")]
    HashFailure,

    /// <summary>Failed: the key of the certificate did not make the signature value.</summary>
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

    /// <summary>No path leads to a trust anchor.</summary>
    [JsonStringEnumMemberName("NO_CERTIFICATE_CHAIN_FOUND")]
    NoCertificateChainFound,

    /// <summary>The path breaks a constraint of its certificates.</summary>
    [JsonStringEnumMemberName("CHAIN_CONSTRAINTS_FAILURE")]
    ChainConstraintsFailure,

    /// <summary>The path is invalid for another reason.</summary>
    [JsonStringEnumMemberName("CERTIFICATE_CHAIN_GENERAL_FAILURE")]
    CertificateChainGeneralFailure,

    /// <summary>An algorithm is weak or unknown.</summary>
    [JsonStringEnumMemberName("CRYPTO_CONSTRAINTS_FAILURE")]
    CryptoConstraintsFailure,

    /// <summary>The signature has an attribute that is not accepted, such as a time in the future.</summary>
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

/// <summary>How later revisions of a PDF changed the signed content.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ChangesAfterSigning>))]
public enum ChangesAfterSigning
{
    /// <summary>Nothing was changed.</summary>
    [JsonStringEnumMemberName("none")]
    None,

    /// <summary>Something was changed that the signature permits, such as a further signature.</summary>
    [JsonStringEnumMemberName("permitted")]
    Permitted,

    /// <summary>Something was changed that the signature does not permit.</summary>
    [JsonStringEnumMemberName("forbidden")]
    Forbidden,
}

/// <summary>The signer, as named in the certificate.</summary>
/// <param name="Subject">RFC 4514; null when the certificate is missing.</param>
/// <param name="Emails">The e-mail addresses in the certificate.</param>
/// <param name="Issuer">RFC 4514.</param>
/// <param name="Serial">Lower-case hexadecimal.</param>
public sealed record Signer(string? Subject, IReadOnlyList<string> Emails, string? Issuer, string? Serial);

/// <summary>
/// The validation result of one signature. Serialised with camel-case names, it is an element of <c>signatures</c> in
/// CLI.md.
/// </summary>
public sealed record SignatureFinding
{
    /// <summary>The main indication.</summary>
    public required Indication Indication { get; init; }

    /// <summary>Why the signature did not pass; null when it passed.</summary>
    public SubIndication? SubIndication { get; init; }

    /// <summary>The reason, in a sentence that says what to do.</summary>
    public required Reason Reason { get; init; }

    /// <summary>Whether the received bytes are the signed bytes.</summary>
    public required bool Intact { get; init; }

    /// <summary>Whether the path is valid at the validation time; null when that is indeterminate.</summary>
    public bool? Trusted { get; init; }

    /// <summary>
    /// Whether everything that a reader would see is signed. The caller sets it, because it knows the format.
    /// </summary>
    public bool CoversWhole { get; init; } = true;

    /// <summary>
    /// For mail, whether From is one address and in the signer's certificate; null for anything else. The caller sets
    /// it, because it knows From.
    /// </summary>
    public bool? SignerIsSender { get; init; }

    /// <summary>For PDF; <see cref="ChangesAfterSigning.None"/> for anything else.</summary>
    public ChangesAfterSigning ChangesAfterSigning { get; init; }

    /// <summary>The signer, as named in the certificate.</summary>
    public required Signer Signer { get; init; }

    /// <summary>The name, such as <c>SHA-256</c>; the object identifier of an unknown algorithm.</summary>
    public required string DigestAlgorithm { get; init; }

    /// <summary>The signing time that the signer claims, in UTC.</summary>
    public DateTimeOffset? ClaimedTime { get; init; }

    /// <summary>
    /// A time at which the signature provably existed, by the proof of a third party; always null so far.
    /// </summary>
    public DateTimeOffset? ProvenTime { get; init; }

    /// <summary>The subjects of the path by RFC 4514, leaf first.</summary>
    public required IReadOnlyList<string> Path { get; init; }

    /// <summary>The signer's certificate; null when it is missing.</summary>
    [JsonIgnore]
    public X509Certificate2? SignerCertificate { get; init; }

    /// <summary>
    /// The S/MIME capabilities that the signer announces. They are evidence only if the signature passed and the signer
    /// is known. They are not stored with the finding.
    /// </summary>
    [JsonIgnore]
    public SmimeCapabilities? Capabilities { get; init; }
}
