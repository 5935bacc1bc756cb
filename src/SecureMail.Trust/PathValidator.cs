using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Trust;

/// <summary>
/// Builds certification paths from a certificate to a trust anchor and validates them by RFC 5280 §6. Candidates are
/// found by name, those whose key identifier fits first; every complete path is validated until one holds; if none
/// does, the answer is about the path that came furthest.
/// A path is judged at a time, by: signatures, validity, names and name constraints, CA flag, path length, key usage,
/// unknown critical extensions, policies, weak algorithms, and last revocation (CRLs at hand; nothing is downloaded).
/// A message can bring any number of certificates, so the number of signatures tried is limited.
/// Left out so far: OCSP, indirect CRLs, CRLs for some reasons only; each leaves revocation unknown, never "not
/// revoked".
/// </summary>
public sealed class PathValidator
{
    /// <summary>Signatures of certificates and CRLs verified for one question.</summary>
    private const int MaxVerifications = 256;

    private readonly TrustMaterial _material;
    private readonly TrustMaterial? _extra;
    private readonly PathOptions _options;
    private readonly Dictionary<(ParsedCertificate, ParsedCertificate), bool> _signatures = [];
    private readonly Dictionary<(CertificateRevocationList, ParsedCertificate), bool> _crlSignatures = [];
    private readonly Dictionary<ParsedCertificate, bool> _trustedCrlSigners = [];
    private readonly PathValidator? _outer;
    private int _verifications;
    private (int Rank, PathResult Result)? _best;

    private PathValidator(
        TrustMaterial material, TrustMaterial? extra, PathOptions options, PathValidator? outer = null)
    {
        _outer = outer;
        _material = material;
        _extra = extra;
        _options = options;
    }

    /// <summary>Judges a certificate.</summary>
    /// <param name="certificate">The end of the path.</param>
    /// <param name="material">Anchors, certificates and CRLs.</param>
    /// <param name="options">What the path has to satisfy.</param>
    /// <param name="extra">More certificates and CRLs, for this question alone; its anchors are not used.</param>
    public static PathResult Validate(
        X509Certificate2 certificate, TrustMaterial material, PathOptions options, TrustMaterial? extra = null)
    {
        var validator = new PathValidator(material, extra, options);
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

    /// <summary>Extends the path (leaf first) by every certificate that may have issued its last; the first valid one
    /// ends the search.</summary>
    private PathResult? Build(List<ParsedCertificate> path)
    {
        ParsedCertificate last = path[^1];
        // A certificate that is itself an anchor is trusted as such; there is nothing above to ask.
        if (path.Count == 1
            && _material.AnchorsNamed(last.Subject).Any(a => AreSameCertificate(a, last))
            && ValidateCandidate(path) is { } direct)
        {
            return direct;
        }

        foreach (ParsedCertificate anchor in ByKeyIdentifier(_material.AnchorsNamed(last.Issuer), last))
        {
            if (!AreSameCertificate(anchor, last) && IsIssuedBy(last, anchor, path) && ValidateCandidate([.. path, anchor]) is { } result)
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
        foreach (ParsedCertificate issuer in ByKeyIdentifier(issuers, last))
        {
            // A key and name that stand in the path already would only make a circle.
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
            RecordFailure(
                path,
                certificate.Algorithm is null
                    ? SubIndication.CryptoConstraintsFailure
                    : SubIndication.CertificateChainGeneralFailure,
                certificate.Algorithm is null ? Reasons.PathAlgorithmUnknown : Reasons.PathSignatureWrong,
                rank: 1);
        }

        return signed;
    }

    private bool TryCountVerification(List<ParsedCertificate> path)
    {
        PathValidator first = this;
        while (first._outer is not null)
        {
            first = first._outer;
        }

        if (first._verifications++ < MaxVerifications)
        {
            return true;
        }

        RecordFailure(path, SubIndication.CertificateChainGeneralFailure, Reasons.PathTooComplex, rank: 3);
        return false;
    }

    /// <summary>Validates a complete path; gives it back when it holds, else remembers the failure.</summary>
    private PathResult? ValidateCandidate(List<ParsedCertificate> path)
    {
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
        // Revocation is asked last: a path that fails on it alone came furthest; one not known to be revoked is the
        // better news.
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
        ParsedCertificate anchor = path[^1];
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
        // An anchor given as a certificate binds by what its own extensions say (RFC 5937 §3.2).
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
            ParsedCertificate certificate = path[length - depth];
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

    /// <summary>§6.1.3 (a)-(c) without the signature, which building has verified, and without revocation.</summary>
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
        // §6.1.3 (b), (c): a self-issued certificate inside the path is exempt.
        if ((last || !certificate.IsSelfIssued) && !names.Permits(certificate))
        {
            return (SubIndication.ChainConstraintsFailure, Reasons.NameNotAllowed);
        }
        // §6.1.4 (o), §6.1.5 (e)
        return certificate.HasUnknownCriticalExtension
            ? (SubIndication.ChainConstraintsFailure, Reasons.CriticalExtension)
            : null;
    }

    /// <summary>§6.1.4 (k)-(n): what a certificate must be to stand above another.</summary>
    private static (SubIndication SubIndication, Reason Reason)? CheckIssuer(
        ParsedCertificate certificate, ref int maxPathLength)
    {
        // A version 1 or 2 certificate cannot say that it is a CA's; we have no other way to know.
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

    /// <summary>§6.3 for every certificate below the anchor; null when none is revoked and all are known not to
    /// be.</summary>
    private PathResult? CheckRevocation(List<ParsedCertificate> path)
    {
        if (!_options.CheckRevocation)
        {
            return null;
        }

        var unknown = false;
        for (var i = path.Count - 2; i >= 0; i--)
        {
            switch (RevocationStatusOf(path[i], path[i + 1], path))
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

    private RevocationStatus RevocationStatusOf(
        ParsedCertificate certificate, ParsedCertificate issuer, List<ParsedCertificate> path)
    {
        RevocationStatus answer = RevocationStatus.Unknown;
        foreach (
            CertificateRevocationList crl in _material
                .CrlsOf(certificate.Issuer)
                .Concat(_extra?.CrlsOf(certificate.Issuer) ?? []))
        {
            RevocationStatus said = crl.StatusOf(certificate, _options.At);
            // What would say nothing need not be verified.
            if (said == RevocationStatus.Unknown || (said == answer) || !IsAuthentic(crl, issuer, path))
            {
                continue;
            }

            if (said == RevocationStatus.Revoked)
            {
                return said;
            }

            answer = said;
        }
        return answer;
    }

    /// <summary>
    /// §6.3.3 (f), (g): signed by the issuer's key in the path; or by another key of that name (a CA changes keys, or
    /// keeps one for its lists) whose certificate has a valid path of its own to the same anchor.
    /// </summary>
    private bool IsAuthentic(CertificateRevocationList crl, ParsedCertificate issuer, List<ParsedCertificate> path)
    {
        if (IsSignedBy(crl, issuer, path))
        {
            return true;
        }

        IEnumerable<ParsedCertificate> others = _material
            .AnchorsNamed(crl.Issuer)
            .Concat(_material.IntermediatesNamed(crl.Issuer))
            .Concat(_extra?.IntermediatesNamed(crl.Issuer) ?? []);
        foreach (ParsedCertificate other in others)
        {
            if (!AreSameCertificate(other, issuer) && IsSignedBy(crl, other, path) && IsCrlSigner(other, path[^1]))
            {
                return true;
            }
        }
        return false;
    }

    private bool IsSignedBy(CertificateRevocationList crl, ParsedCertificate signer, List<ParsedCertificate> path)
    {
        if (!_crlSignatures.TryGetValue((crl, signer), out var signed))
        {
            _crlSignatures[(crl, signer)] = signed = TryCountVerification(path) && crl.IsSignedBy(signer);
        }

        return signed;
    }

    private bool IsCrlSigner(ParsedCertificate signer, ParsedCertificate anchor)
    {
        if (_trustedCrlSigners.TryGetValue(signer, out var known))
        {
            return known;
        }
        // Lists that vouch for each other's signers would go round for ever: two levels are enough for real
        // authorities.
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
            this);
        var trusted =
            inner.Build([signer]) is { } result
            && result.Path[^1].RawDataMemory.Span.SequenceEqual(anchor.Certificate.RawDataMemory.Span);
        _trustedCrlSigners[signer] = trusted;
        return trusted;
    }

    private static PathResult Failure(List<ParsedCertificate> path, SubIndication subIndication, Reason reason) =>
        new(PathStatus.Invalid, subIndication, reason, Certificates(path), []);

    private static X509Certificate2[] Certificates(List<ParsedCertificate> path) =>
        [.. path.Select(c => c.Certificate)];

    private static bool AreSameCertificate(ParsedCertificate one, ParsedCertificate other) =>
        one.Certificate.RawDataMemory.Span.SequenceEqual(other.Certificate.RawDataMemory.Span);

    /// <summary>Candidates whose key identifier is the one asked for come first; the identifier is a hint, not a rule
    /// (RFC 5280 §4.2.1.1).</summary>
    private static IEnumerable<ParsedCertificate> ByKeyIdentifier(
        IEnumerable<ParsedCertificate> candidates, ParsedCertificate child) =>
        child.AuthorityKeyIdentifier is not { } wanted
            ? candidates
            : candidates.OrderByDescending(c =>
                c.SubjectKeyIdentifier is { } own && own.AsSpan().SequenceEqual(wanted));
}
