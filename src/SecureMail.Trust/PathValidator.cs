using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;

namespace SecureMail.Trust;

/// <summary>
/// Builds certification paths from a certificate to a trust anchor and validates them by RFC 5280 §6. Issuers are found
/// by name, and those with the right key identifier are tried first. Complete paths are validated until one is valid.
/// If none is, the result is about the path that passed the most checks. A path is validated at a given time by:
/// signatures, validity periods, names and name constraints, CA flag, path length, key usage, unknown critical
/// extensions, policies, weak algorithms, and last revocation (by the CRLs given; nothing is downloaded). A message
/// chooses the certificates that it encloses, so the work is limited (<see cref="PathWork"/>). Left out so far: OCSP,
/// indirect CRLs, CRLs for some reasons only. With these the revocation status is unknown, never "not revoked".
/// </summary>
public sealed class PathValidator
{
    private readonly TrustMaterial _material;
    private readonly TrustMaterial? _extra;
    private readonly PathOptions _options;
    private readonly Dictionary<(ParsedCertificate, ParsedCertificate), bool> _signatures = [];
    private readonly RevocationChecker _revocation;
    private readonly PathValidator? _outer;
    private readonly PathWork _work;
    private (int Rank, PathResult Result)? _best;

    private PathValidator(
        TrustMaterial material, TrustMaterial? extra, PathOptions options, PathWork work, PathValidator? outer = null)
    {
        _outer = outer;
        _work = work;
        _material = material;
        _extra = extra;
        _options = options;
        _revocation = new RevocationChecker(material, extra, options.At, TryCountVerification, HasPathTo);
    }

    /// <summary>Validates a certificate.</summary>
    /// <param name="certificate">The end of the path.</param>
    /// <param name="material">Anchors, certificates and CRLs.</param>
    /// <param name="options">The inputs of RFC 5280 §6.1.1.</param>
    /// <param name="extra">More certificates and CRLs for this call only. Its anchors are not used.</param>
    public static PathResult Validate(
        X509Certificate2 certificate, TrustMaterial material, PathOptions options, TrustMaterial? extra = null) =>
        Validate(certificate, material, options, extra, new PathWork());

    /// <param name="work">What may be done for this certificate, as part of what may be done for a message.</param>
    /// <inheritdoc cref="Validate(X509Certificate2, TrustMaterial, PathOptions, TrustMaterial?)"/>
    internal static PathResult Validate(
        X509Certificate2 certificate, TrustMaterial material, PathOptions options, TrustMaterial? extra, PathWork work)
    {
        var validator = new PathValidator(material, extra, options, work);
        if (ParsedCertificate.TryRead(certificate) is not { } leaf)
        {
            return new PathResult(
                PathStatus.Invalid, SubIndication.CertificateChainGeneralFailure, Reasons.CertificateMalformed,
                [certificate], []);
        }

        return validator.Build([leaf])
            ?? validator._best?.Result
            ?? Failure([leaf], SubIndication.NoCertificateChainFound, Reasons.NoPath);
    }

    /// <summary>
    /// Extends the path (leaf first) by every certificate that may have issued its last certificate. The first valid
    /// path ends the search.
    /// </summary>
    private PathResult? Build(List<ParsedCertificate> path)
    {
        var last = path[^1];
        if (!_work.TryCountStep())
        {
            return TooComplex(path);
        }

        // A certificate that is itself an anchor is a complete path.
        if (path.Count == 1
            && _material.AnchorsNamed(last.Subject).Any(a => a.IsSameAs(last))
            && ValidateCandidate(path) is { } direct)
        {
            return direct;
        }

        foreach (var anchor in ByKeyIdentifier(_material.AnchorsNamed(last.Issuer), last))
        {
            if (!anchor.IsSameAs(last)
                && IsIssuedBy(last, anchor, path)
                && ValidateCandidate([.. path, anchor]) is { } result)
            {
                return result;
            }
        }
        if (path.Count >= _options.MaxDepth - 1)
        {
            RecordFailure(path, SubIndication.ChainConstraintsFailure, Reasons.PathTooLong, rank: 2);
            return null;
        }
        IEnumerable<ParsedCertificate> issuers = _material
            .IntermediatesNamed(last.Issuer)
            .Concat(_extra?.IntermediatesNamed(last.Issuer) ?? []);
        foreach (var issuer in ByKeyIdentifier(issuers, last))
        {
            // A key and name that are already in the path would make a loop.
            if (
                path.Any(c =>
                    c.Subject.Matches(issuer.Subject)
                    && c.SubjectPublicKeyInfo.Span.SequenceEqual(issuer.SubjectPublicKeyInfo.Span)))
            {
                continue;
            }

            if (IsIssuedBy(last, issuer, path) && Build([.. path, issuer]) is { } result)
            {
                return result;
            }
        }
        return null;
    }

    private bool IsIssuedBy(ParsedCertificate certificate, ParsedCertificate issuer, List<ParsedCertificate> path)
    {
        if (_signatures.TryGetValue((certificate, issuer), out var known))
        {
            return known;
        }

        if (!TryCountVerification(path))
        {
            return false;
        }

        var signed = certificate.IsSignedBy(issuer);
        _signatures[(certificate, issuer)] = signed;
        if (!signed)
        {
            // A signature that could not be computed is not wrong.
            var unknown =
                certificate.Algorithm is null || !SignatureAlgorithm.CanVerifyWith(issuer.Certificate);
            RecordFailure(
                path,
                unknown ? SubIndication.CryptoConstraintsFailure : SubIndication.CertificateChainGeneralFailure,
                unknown ? Reasons.PathAlgorithmUnknown : Reasons.PathSignatureWrong,
                rank: 1);
        }

        return signed;
    }

    private bool TryCountVerification(List<ParsedCertificate> path)
    {
        if (_work.TryCountVerification())
        {
            return true;
        }

        TooComplex(path);
        return false;
    }

    private PathResult? TooComplex(List<ParsedCertificate> path)
    {
        RecordFailure(path, SubIndication.CertificateChainGeneralFailure, Reasons.PathTooComplex, rank: 3);
        return null;
    }

    /// <summary>
    /// Validates a complete path. Returns it when it is valid; otherwise records the failure and returns null.
    /// </summary>
    private PathResult? ValidateCandidate(List<ParsedCertificate> path)
    {
        if (!_work.TryCountPath())
        {
            return TooComplex(path);
        }

        PathResult result;
        try
        {
            result = ValidatePath(path);
        }
        catch (AsnContentException)
        {
            result = Failure(path, SubIndication.CertificateChainGeneralFailure, Reasons.CertificateMalformed);
        }
        if (result.Status == PathStatus.Valid)
        {
            return result;
        }
        // Revocation is checked last, so a path that fails only there passed the most checks. Among these, a path with
        // unknown status ranks above one with a revoked certificate.
        var rank =
            result.Status == PathStatus.Indeterminate ? 6
            : result.SubIndication == SubIndication.RevokedNoPoe ? 5
            : 4;
        KeepBest(rank, result);
        return null;
    }

    private void RecordFailure(List<ParsedCertificate> path, SubIndication subIndication, Reason reason, int rank) =>
        KeepBest(rank, Failure(path, subIndication, reason));

    private void KeepBest(int rank, PathResult result)
    {
        if (_best is null || rank > _best.Value.Rank)
        {
            _best = (rank, result);
        }
    }

    /// <summary>RFC 5280 §6.1 over a complete path, leaf first and anchor last.</summary>
    private PathResult ValidatePath(List<ParsedCertificate> path)
    {
        var length = path.Count - 1;
        var anchor = path[^1];
        if (CheckValidity(anchor) is { } anchorTime)
        {
            return Failure(path, anchorTime.SubIndication, anchorTime.Reason);
        }

        if (anchor.HasWeakKey())
        {
            return Failure(path, SubIndication.CryptoConstraintsFailure, Reasons.PathAlgorithmWeak);
        }

        if (length == 0)
        {
            return new PathResult(PathStatus.Valid, null, Reasons.Valid, Certificates(path), []);
        }

        var names = new NameConstraints();
        var policies = new PolicyGraph(length, _options);
        var maxPathLength = length;
        // RFC 5937 §3.2: the extensions of an anchor certificate constrain the path.
        if (anchor.PathLength is { } anchorPathLength)
        {
            maxPathLength = Math.Min(maxPathLength, anchorPathLength);
        }

        if (anchor.Extension("2.5.29.30") is { } anchorNames)
        {
            names.Add(anchorNames);
        }

        for (var depth = 1; depth <= length; depth++)
        {
            var certificate = path[length - depth];
            var last = depth == length;
            if (CheckBasics(certificate, names, last) is { } failure)
            {
                return Failure(path, failure.SubIndication, failure.Reason);
            }

            if (!policies.Process(certificate, depth))
            {
                return Failure(path, SubIndication.ChainConstraintsFailure, Reasons.PolicyNotAllowed);
            }

            if (last)
            {
                continue;
            }

            if (CheckIssuer(certificate, ref maxPathLength) is { } issuerFailure)
            {
                return Failure(path, issuerFailure.SubIndication, issuerFailure.Reason);
            }

            if (certificate.Extension("2.5.29.30") is { } constraints)
            {
                names.Add(constraints); // §6.1.4 (g)
            }
        }
        if (policies.Result() is not { } allowed)
        {
            return Failure(path, SubIndication.ChainConstraintsFailure, Reasons.PolicyNotAllowed);
        }

        return CheckRevocation(path)
            ?? new PathResult(
                PathStatus.Valid, null, _options.CheckRevocation ? Reasons.Valid : Reasons.ValidRevocationNotAsked,
                Certificates(path), allowed);
    }

    /// <summary>
    /// Checks §6.1.3 (a)-(c) without the signature, which was verified when the path was built, and without revocation.
    /// </summary>
    private (SubIndication SubIndication, Reason Reason)? CheckBasics(
        ParsedCertificate certificate, NameConstraints names, bool last)
    {
        if (CheckValidity(certificate) is { } time)
        {
            return time;
        }

        if (certificate.Algorithm?.Hash is { } hash
            && (hash == HashAlgorithmName.MD5 || hash == HashAlgorithmName.SHA1))
        {
            return (SubIndication.CryptoConstraintsFailure, Reasons.PathAlgorithmWeak);
        }

        if (certificate.HasWeakKey())
        {
            return (SubIndication.CryptoConstraintsFailure, Reasons.PathAlgorithmWeak);
        }
        // §6.1.3 (b), (c): a self-issued certificate that is not the last is exempt.
        if ((last || !certificate.IsSelfIssued) && !names.Permits(certificate))
        {
            return (SubIndication.ChainConstraintsFailure, Reasons.NameNotAllowed);
        }
        // §6.1.4 (o), §6.1.5 (e)
        return certificate.HasUnknownCriticalExtension
            ? (SubIndication.ChainConstraintsFailure, Reasons.CriticalExtension)
            : null;
    }

    /// <summary>Checks §6.1.4 (k)-(n): whether a certificate may issue the next one.</summary>
    private static (SubIndication SubIndication, Reason Reason)? CheckIssuer(
        ParsedCertificate certificate, ref int maxPathLength)
    {
        // A version 1 or 2 certificate cannot state that it belongs to a CA, so it is refused.
        if (certificate.Version < 3 || !certificate.IsCa)
        {
            return (SubIndication.ChainConstraintsFailure, Reasons.NotACa);
        }

        if (!certificate.IsSelfIssued)
        {
            if (maxPathLength <= 0)
            {
                return (SubIndication.ChainConstraintsFailure, Reasons.PathTooLong);
            }

            maxPathLength--;
        }
        maxPathLength = Math.Min(maxPathLength, certificate.PathLength ?? int.MaxValue);
        if (certificate.KeyUsage is { } usage && !usage.HasFlag(KeyUsages.KeyCertSign))
        {
            return (SubIndication.ChainConstraintsFailure, Reasons.NotACa);
        }

        return null;
    }

    private (SubIndication SubIndication, Reason Reason)? CheckValidity(ParsedCertificate certificate)
    {
        if (_options.At < certificate.NotBefore)
        {
            return (SubIndication.NotYetValid, Reasons.NotYetValid);
        }

        return _options.At > certificate.NotAfter ? (SubIndication.OutOfBoundsNoPoe, Reasons.Expired) : null;
    }

    /// <summary>
    /// Checks §6.3 for every certificate below the anchor. Null when all are known not to be revoked.
    /// </summary>
    private PathResult? CheckRevocation(List<ParsedCertificate> path)
    {
        if (!_options.CheckRevocation)
        {
            return null;
        }

        var unknown = false;
        for (var i = path.Count - 2; i >= 0; i--)
        {
            switch (_revocation.StatusOf(path[i], path[i + 1], path))
            {
                case RevocationStatus.Revoked:
                    return Failure(path, SubIndication.RevokedNoPoe, Reasons.Revoked);
                case RevocationStatus.Unknown:
                    unknown = true;
                    break;
            }
        }
        return unknown
            ? new PathResult(
                PathStatus.Indeterminate, SubIndication.TryLater, Reasons.RevocationUnknown, Certificates(path), [])
            : null;
    }

    /// <summary>Whether a certificate that signs CRLs has a valid path of its own to the anchor.</summary>
    private bool HasPathTo(ParsedCertificate signer, ParsedCertificate anchor)
    {
        // CRLs that prove each other's signers would lead to endless recursion. Two levels are enough for real CAs.
        if (_outer?._outer is not null)
        {
            return false;
        }

        var inner = new PathValidator(
            _material,
            _extra,
            _options with
            {
                Policies = new HashSet<string>(),
                RequireExplicitPolicy = false,
            },
            _work,
            this);
        return inner.Build([signer]) is { } result
            && result.Path[^1].RawDataMemory.Span.SequenceEqual(anchor.Certificate.RawDataMemory.Span);
    }

    private static PathResult Failure(List<ParsedCertificate> path, SubIndication subIndication, Reason reason) =>
        new(PathStatus.Invalid, subIndication, reason, Certificates(path), []);

    private static X509Certificate2[] Certificates(List<ParsedCertificate> path) =>
        [.. path.Select(c => c.Certificate)];

    /// <summary>
    /// Orders candidates with the right key identifier first. The identifier is only a hint (RFC 5280 §4.2.1.1), so the
    /// others stay.
    /// </summary>
    private static IEnumerable<ParsedCertificate> ByKeyIdentifier(
        IEnumerable<ParsedCertificate> candidates, ParsedCertificate child) =>
        child.AuthorityKeyIdentifier is not { } wanted
            ? candidates
            : candidates.OrderByDescending(c =>
                c.SubjectKeyIdentifier is { } own && own.AsSpan().SequenceEqual(wanted));
}
