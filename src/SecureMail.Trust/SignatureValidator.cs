using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;

namespace SecureMail.Trust;

/// <summary>What signatures are judged by.</summary>
public sealed record ValidationOptions
{
    /// <summary>Anchors, intermediates, CRLs.</summary>
    public required TrustMaterial Trust { get; init; }

    /// <summary>The time judged at; evidence, so from TimeProvider or from the user, never from the message.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Whether to ask for revocation. If not, it is no reason, and the finding says so.</summary>
    public bool CheckRevocation { get; init; } = true;

    /// <summary>How far a claimed time may lie in the future: clocks differ.</summary>
    public TimeSpan ClockTolerance { get; init; } = TimeSpan.FromMinutes(5);
}

/// <summary>
/// Judges the signatures of a SignedData: first whether each is intact (SecureMail.Cms), then whether its signer is
/// trusted at the time judged (<see cref="PathValidator"/>), and says for each what was found. The first thing that is
/// wrong decides, in the order of ETSI EN 319 102-1 §5.3: format, content, value, algorithms, certificate, path, time.
/// What the signature covers, and who the sender is, the caller adds: it knows the format around.
/// Left out so far: timestamps (a proof of an earlier time), so an expired or revoked signer is not trusted.
/// </summary>
public static class SignatureValidator
{
    private const string AnyExtendedKeyUsage = "2.5.29.37.0";
    private const string EmailProtection = "1.3.6.1.5.5.7.3.4";
    private const string DocumentSigning = "1.3.6.1.5.5.7.3.36";

    /// <summary>A finding for each signer, in their order; none when nobody signed.</summary>
    /// <param name="data">The signature as read. Its certificates help to build paths and its CRLs are used; neither is
    /// trusted for being there.</param>
    /// <param name="detachedContent">The content when it stands outside; see
    /// <see cref="CmsSignedData.VerifyAsync"/>.</param>
    /// <param name="options">What is judged by.</param>
    /// <param name="cancellationToken">Stops between pieces of content.</param>
    public static async Task<IReadOnlyList<SignatureFinding>> ValidateAsync(
        CmsSignedData data, Stream? detachedContent, ValidationOptions options,
        CancellationToken cancellationToken = default)
    {
        IReadOnlyList<SignerVerification> verifications = await data.VerifyAsync(
            detachedContent, options.Trust.Intermediates, cancellationToken);
        var enclosed = new TrustMaterial([], data.Certificates, data.Crls);
        return [.. verifications.Select(v => Validate(v, enclosed, options))];
    }

    private static SignatureFinding Validate(SignerVerification verification, TrustMaterial enclosed, ValidationOptions options)
    {
        PathResult? path = verification.Certificate is { } certificate
            ? PathValidator.Validate(
                certificate, options.Trust,
                new PathOptions { At = options.At, CheckRevocation = options.CheckRevocation }, enclosed)
            : null;
        (Indication indication, SubIndication? sub, Reason reason) = Decide(verification, path, options);
        return new SignatureFinding
        {
            Indication = indication,
            SubIndication = sub,
            Reason = reason,
            Intact = verification.Intact,
            Trusted = path?.Status switch
            {
                PathStatus.Valid => true,
                PathStatus.Invalid => false,
                _ => null,
            },
            Signer = SignerOf(verification),
            SignerCertificate = verification.Certificate,
            Capabilities = verification.Intact ? verification.Signer.Capabilities : null,
            DigestAlgorithm = NameOf(verification.Signer),
            ClaimedTime = verification.Signer.SigningTime,
            Path = [.. (path?.Path ?? []).Select(SubjectOf)],
        };
    }

    private static (Indication, SubIndication?, Reason) Decide(
        SignerVerification v, PathResult? path, ValidationOptions options)
    {
        if (v.Problems.Any(IsFormat))
        {
            return (Indication.TotalFailed, SubIndication.FormatFailure, Reasons.SignatureMalformed);
        }
        // RFC 5652 §5.6: without signed attributes one comparison says both; the value is then what fails.
        if (v.DigestMatches == false && v.SignatureMatches != false)
        {
            return (Indication.TotalFailed, SubIndication.HashFailure, Reasons.ContentChanged);
        }

        if (v.SignatureMatches == false)
        {
            return v.DigestMatches == false && v.Signer.HasSignedAttributes
                ? (Indication.TotalFailed, SubIndication.HashFailure, Reasons.ContentChanged)
                : (Indication.TotalFailed, SubIndication.SigCryptoFailure, Reasons.SignatureWrong);
        }
        if (v.Problems.Contains(SignerProblem.DigestUnsupported)
            || v.Problems.Contains(SignerProblem.SignatureAlgorithmUnsupported))
        {
            return (Indication.Indeterminate, SubIndication.CryptoConstraintsFailure, Reasons.AlgorithmUnknown);
        }

        if (v.Problems.Contains(SignerProblem.ContentMissing))
        {
            return (Indication.Indeterminate, SubIndication.SignedDataNotFound, Reasons.ContentMissing);
        }

        if (path is null || v.Problems.Contains(SignerProblem.CertificateMissing))
        {
            return (
                Indication.Indeterminate, SubIndication.NoSigningCertificateFound, Reasons.SignerCertificateMissing);
        }

        if (v.Signer.DigestAlgorithm == HashAlgorithmName.MD5
            || v.Signer.DigestAlgorithm == HashAlgorithmName.SHA1
            || IsShortRsa(v.Certificate!))
        {
            return (Indication.Indeterminate, SubIndication.CryptoConstraintsFailure, Reasons.AlgorithmWeak);
        }

        if (path.Status == PathStatus.Invalid)
        {
            return (Indication.Indeterminate, path.SubIndication, path.Reason);
        }

        if (!MaySign(v.Certificate!))
        {
            return (Indication.Indeterminate, SubIndication.ChainConstraintsFailure, Reasons.WrongPurpose);
        }

        if (v.Signer.SigningTime > options.At + options.ClockTolerance)
        {
            return (Indication.Indeterminate, SubIndication.SigConstraintsFailure, Reasons.TimeInFuture);
        }

        if (path.Status == PathStatus.Indeterminate)
        {
            return (Indication.Indeterminate, path.SubIndication, path.Reason);
        }
        // Whatever else may come to be a problem: it is not passed over.
        return v.Intact
            ? (Indication.TotalPassed, null, path.Reason)
            : (Indication.TotalFailed, SubIndication.FormatFailure, Reasons.SignatureMalformed);
    }

    private static bool IsFormat(SignerProblem problem) =>
        problem
            is not (
                SignerProblem.DigestUnsupported
                or SignerProblem.SignatureAlgorithmUnsupported
                or SignerProblem.ContentMissing
                or SignerProblem.CertificateMissing);

    /// <summary>RFC 8550 §4.4.2, §4.4.4: key usage, if any, allows signatures; extended key usage, if any, allows mail
    /// (or RFC 9336 documents).</summary>
    private static bool MaySign(X509Certificate2 certificate)
    {
        if (ParsedCertificate.TryRead(certificate) is not { } parsed)
        {
            return false;
        }

        var usage =
            parsed.KeyUsage is null
            || (parsed.KeyUsage.Value & (KeyUsages.DigitalSignature | KeyUsages.NonRepudiation)) != KeyUsages.None;
        var purpose =
            parsed.ExtendedUsages is null
            || parsed.ExtendedUsages.Any(u => u is AnyExtendedKeyUsage or EmailProtection or DocumentSigning);
        return usage && purpose;
    }

    private static bool IsShortRsa(X509Certificate2 certificate) =>
        ParsedCertificate.TryRead(certificate)?.HasWeakKey() == true;

    private static Signer SignerOf(SignerVerification verification)
    {
        if (verification.Certificate is null || ParsedCertificate.TryRead(verification.Certificate) is not { } parsed)
        {
            return new Signer(null, [], null, null);
        }

        return new Signer(parsed.Subject.ToString(), [.. parsed.Emails], parsed.Issuer.ToString(), parsed.Serial);
    }

    private static string SubjectOf(X509Certificate2 certificate) =>
        ParsedCertificate.TryRead(certificate)?.Subject.ToString() ?? "";

    private static string NameOf(CmsSignerInfo signer) =>
        signer.DigestAlgorithm?.Name switch
        {
            null => signer.DigestOid,
            "SHA1" => "SHA-1",
            "SHA256" => "SHA-256",
            "SHA384" => "SHA-384",
            "SHA512" => "SHA-512",
            string other => other,
        };
}
