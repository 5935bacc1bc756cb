using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;

namespace SecureMail.Trust;

/// <summary>What signatures are validated against.</summary>
public sealed record ValidationOptions
{
    /// <summary>Trust anchors, intermediate certificates and CRLs.</summary>
    public required TrustMaterial Trust { get; init; }

    /// <summary>
    /// The validation time. It comes from TimeProvider or from the user, never from the message, because the result
    /// depends on it.
    /// </summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>
    /// Whether revocation is checked. If not, no finding is about revocation, and the reason of a valid signature says
    /// so.
    /// </summary>
    public bool CheckRevocation { get; init; } = true;

    /// <summary>
    /// Bytes of the CRLs enclosed in one message that are used, together. What is beyond is passed over before it is
    /// parsed, and the reason of a finding that depends on revocation says so. A list of a national authority belongs
    /// into <see cref="Trust"/>; messages enclose short ones.
    /// </summary>
    public int MaxEnclosedCrlBytes { get; init; } = 1 << 20;

    /// <summary>How far a claimed signing time may be in the future, because clocks differ.</summary>
    public TimeSpan ClockTolerance { get; init; } = TimeSpan.FromMinutes(5);
}

/// <summary>
/// Validates the signatures of a SignedData: first whether each is intact (SecureMail.Cms), then whether its signer is
/// trusted at the validation time (<see cref="PathValidator"/>). The first failure decides, in the order of ETSI EN 319
/// 102-1 §5.3: format, content, value, algorithms, certificate, path, time. The caller adds what the signature covers
/// and whether the signer is the sender, because only the caller knows the surrounding format. Left out so far:
/// timestamps (proofs of an earlier time), so an expired or revoked signer is not trusted.
/// </summary>
public static class SignatureValidator
{
    private const string AnyExtendedKeyUsage = "2.5.29.37.0";
    private const string EmailProtection = "1.3.6.1.5.5.7.3.4";
    private const string DocumentSigning = "1.3.6.1.5.5.7.3.36";

    /// <summary>
    /// Validates each signature. Returns a finding for each signer, in their order; none when there is no signer.
    /// </summary>
    /// <param name="data">The parsed SignedData. Its certificates and CRLs are used to build and check paths; their
    /// presence does not make them trusted.</param>
    /// <param name="detachedContent">The content of a detached signature; see
    /// <see cref="CmsSignedData.VerifyAsync"/>.</param>
    /// <param name="options">What the signatures are validated against.</param>
    /// <param name="cancellationToken">Cancels between pieces of content.</param>
    public static async Task<IReadOnlyList<SignatureFinding>> ValidateAsync(
        CmsSignedData data, Stream? detachedContent, ValidationOptions options,
        CancellationToken cancellationToken = default)
    {
        IReadOnlyList<SignerVerification> verifications = await data.VerifyAsync(
            detachedContent, options.Trust.Intermediates.Concat(options.Trust.Anchors), cancellationToken);
        List<byte[]> crls = [];
        var left = options.MaxEnclosedCrlBytes;
        foreach (var crl in data.Crls)
        {
            if (crl.Length <= left)
            {
                crls.Add(crl);
                left -= crl.Length;
            }
        }

        var enclosed = new TrustMaterial([], data.Certificates, crls);
        var work = new MessageWork();
        var passedOver = crls.Count < data.Crls.Count;
        return [.. verifications.Select(v => Validate(v, enclosed, passedOver, work, options))];
    }

    private static SignatureFinding Validate(
        SignerVerification verification, TrustMaterial enclosed, bool crlsPassedOver, MessageWork work,
        ValidationOptions options)
    {
        PathResult? path = verification.Certificate is { } certificate
            ? PathValidator.Validate(
                certificate, options.Trust,
                new PathOptions { At = options.At, CheckRevocation = options.CheckRevocation }, enclosed,
                new PathWork(work))
            : null;
        (Indication indication, SubIndication? sub, Reason reason) = Decide(verification, path, options);
        if (crlsPassedOver)
        {
            // Elsewhere the CRLs passed over could not have changed the reason.
            reason =
                reason == Reasons.Valid ? Reasons.ValidCrlsPassedOver
                : reason == Reasons.RevocationUnknown ? Reasons.RevocationUnknownCrlsPassedOver
                : reason;
        }

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
        // RFC 5652 §5.6: without signed attributes one comparison covers content and value; the value then counts as
        // wrong.
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
            || HasWeakKey(v.Certificate!))
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
        // A signature with any other problem does not pass either.
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

    /// <summary>
    /// Whether the certificate may sign (RFC 8550 §4.4.2, §4.4.4): key usage, if present, allows signatures; extended
    /// key usage, if present, allows mail, or documents (RFC 9336).
    /// </summary>
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

    private static bool HasWeakKey(X509Certificate2 certificate) =>
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
