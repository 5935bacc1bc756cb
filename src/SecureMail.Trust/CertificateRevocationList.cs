using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Text;
using SecureMail.Cms;

namespace SecureMail.Trust;

/// <summary>What a CRL says about a certificate; Unknown when it says nothing.</summary>
internal enum RevocationStatus
{
    NotRevoked,
    Revoked,
    Unknown,
}

/// <summary>
/// A CRL (RFC 5280 §5) and the status of certificates by it (§6.3). Complete, direct CRLs are used. An indirect CRL, a
/// CRL for some reasons only, or a CRL with an unknown critical extension gives no status. A delta CRL can only show
/// that a certificate is revoked, never that it is not. The entries stay in the encoded list; an index of eight bytes
/// an entry finds them (<see cref="RevokedEntries"/>), because the list of a national authority has millions.
/// </summary>
internal sealed class CertificateRevocationList
{
    /// <summary>Extensions of a list at most; RFC 5280 §5.2 defines seven.</summary>
    private const int MaxExtensions = 64;

    /// <summary>Names of a distribution point, or of those of a certificate, at most, because each name of the list is
    /// compared with each of the certificate.</summary>
    private const int MaxPointNames = 256;

    private const string DeltaIndicator = "2.5.29.27";
    private const string IssuingDistributionPoint = "2.5.29.28";
    private const string DistributionPoints = "2.5.29.31";

    private readonly RevokedEntries? _entries;
    private readonly ReadOnlyMemory<byte> _tbs;
    private readonly SignatureAlgorithm? _algorithm;
    private readonly VerifiedIssuer _verifiedIssuer = new();
    private readonly byte[] _signature;
    private bool _unusable;
    private bool _delta;
    private bool _userOnly;
    private bool _caOnly;
    private List<byte[]>? _pointNames;
    private byte[]? _digest;
    private readonly ReadOnlyMemory<byte> _encoded;
    private ReadOnlyMemory<byte> _point;

    private CertificateRevocationList(
        ReadOnlyMemory<byte> encoded, ReadOnlyMemory<byte> tbs, ReadOnlyMemory<byte> algorithm, byte[] signature)
    {
        _encoded = encoded;
        _tbs = tbs;
        _signature = signature;
        _algorithm = SignatureAlgorithm.TryRead(algorithm);
        var list = new AsnReader(tbs, AsnEncodingRules.DER).ReadSequence();
        if (list.PeekTag().HasSameClassAndValue(Asn1Tag.Integer))
        {
            list.ReadInteger();
        }

        if (!list.ReadEncodedValue().Span.SequenceEqual(algorithm.Span))
        {
            throw new AsnContentException("A CRL names two signature algorithms.");
        }

        Issuer = DistinguishedName.Read(list.ReadEncodedValue());
        ThisUpdate = Asn1Time.Read(list);
        if (Asn1Time.IsNext(list))
        {
            NextUpdate = Asn1Time.Read(list);
        }

        if (list.HasData && list.PeekTag().HasSameClassAndValue(Asn1Tag.Sequence))
        {
            _entries = new RevokedEntries(list.PeekContentBytes());
            _unusable = _entries.HasUnknownCriticalExtension;
            list.ReadEncodedValue();
        }

        if (list.HasData)
        {
            ReadExtensions(list.ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 0)).ReadSequence());
        }
    }

    public DistinguishedName Issuer { get; }

    public DateTimeOffset ThisUpdate { get; }

    public DateTimeOffset? NextUpdate { get; }

    /// <summary>The list in brief: what tells it from others, and which lists it replaces.</summary>
    public RevocationListDigest ToDigest()
    {
        using var scope = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        scope.AppendData(SHA256.HashData(Encoding.UTF8.GetBytes(Issuer.Key)));
        scope.AppendData(SHA256.HashData(_point.Span));
        scope.AppendData([_delta ? (byte)1 : (byte)0]);
        return new RevocationListDigest(SHA256.HashData(_encoded.Span), scope.GetHashAndReset(), ThisUpdate);
    }

    /// <summary>Since when the list says that a certificate of its issuer is revoked; null where it does not. Nothing
    /// of the list's own signature is verified.</summary>
    public DateTimeOffset? RevokedSince(ParsedCertificate certificate) =>
        _unusable || !Covers(certificate) ? null : _entries?.RevokedSince(certificate.SerialBytes.Span);

    /// <summary>Reads a CRL in DER; null when it is malformed.</summary>
    public static CertificateRevocationList? TryRead(ReadOnlyMemory<byte> encoded)
    {
        try
        {
            var outer = new AsnReader(encoded, AsnEncodingRules.DER);
            var sequence = outer.ReadSequence();
            outer.ThrowIfNotEmpty();
            var tbs = sequence.ReadEncodedValue();
            var algorithm = sequence.ReadEncodedValue();
            return new CertificateRevocationList(encoded, tbs, algorithm, SignatureBits.ReadBytes(sequence));
        }
        catch (AsnContentException)
        {
            return null;
        }
    }

    /// <summary>
    /// Whether the issuer's key signed this list and the issuer may sign CRLs (RFC 5280 §6.3.3 (f), (g)).
    /// </summary>
    public bool IsSignedBy(ParsedCertificate issuer)
    {
        if (_unusable
            || _algorithm is null
            || _algorithm.Hash == HashAlgorithmName.MD5
            || _algorithm.Hash == HashAlgorithmName.SHA1)
        {
            return false;
        }

        return (issuer.KeyUsage is null || issuer.KeyUsage.Value.HasFlag(KeyUsages.CrlSign))
            && _verifiedIssuer.IsOrVerify(issuer, () => Verify(_algorithm, issuer));
    }

    /// <summary>Verifies with one hash of the list for all keys, because a message may bring many certificates with the
    /// name of an issuer whose list is long.</summary>
    private bool Verify(SignatureAlgorithm algorithm, ParsedCertificate issuer)
    {
        if (algorithm.Hash is not { } hash)
        {
            return algorithm.VerifyMessage(issuer.Certificate, _tbs.Span, _signature);
        }

        _digest ??= CryptographicOperations.HashData(hash, _tbs.Span);
        return algorithm.VerifyHash(issuer.Certificate, _digest, _signature);
    }

    /// <summary>
    /// The status by this list of a certificate of its issuer at a given time. A revocation counts from its date on, in
    /// any authentic list. A list shows "not revoked" if it was current at that time, or if it is a later list issued
    /// before the certificate expired, because issuers remove expired certificates from their lists.
    /// </summary>
    public RevocationStatus StatusOf(ParsedCertificate certificate, DateTimeOffset at)
    {
        if (_unusable || !Covers(certificate))
        {
            return RevocationStatus.Unknown;
        }

        if (_entries?.RevokedSince(certificate.SerialBytes.Span) is { } since && since <= at)
        {
            return RevocationStatus.Revoked;
        }

        if (_delta)
        {
            return RevocationStatus.Unknown;
        }
        // RFC 5280 §5.1.2.5: nextUpdate is required, because without it the list has no end of validity.
        var current = ThisUpdate <= at && NextUpdate is { } next && at <= next;
        var later = ThisUpdate > at && ThisUpdate <= certificate.NotAfter;
        return current || later ? RevocationStatus.NotRevoked : RevocationStatus.Unknown;
    }

    /// <summary>Whether the scope of the list includes the certificate (RFC 5280 §6.3.3 (b)).</summary>
    private bool Covers(ParsedCertificate certificate)
    {
        if ((_userOnly && certificate.IsCa) || (_caOnly && !certificate.IsCa))
        {
            return false;
        }

        return _pointNames is null
            || (
                certificate.Extension(DistributionPoints) is { } points
                && PointNamesOf(points).Any(n => _pointNames.Any(m => m.AsSpan().SequenceEqual(n))));
    }

    private void ReadExtensions(AsnReader extensions)
    {
        var seen = new HashSet<string>();
        while (extensions.HasData)
        {
            var extension = extensions.ReadSequence();
            var oid = Asn1Oid.Read(extension);
            var critical = extension.PeekTag().HasSameClassAndValue(Asn1Tag.Boolean) && extension.ReadBoolean();
            var value = extension.ReadOctetString();
            if (!seen.Add(oid) || seen.Count > MaxExtensions)
            {
                throw new AsnContentException("A CRL has an extension twice, or too many.");
            }

            if (oid == IssuingDistributionPoint)
            {
                _point = value;
                ReadScope(new AsnReader(value, AsnEncodingRules.DER).ReadSequence());
            }
            else if (oid == DeltaIndicator)
            {
                _delta = true;
            }
            else if (critical && oid is not ("2.5.29.35" or "2.5.29.20"))
            {
                _unusable = true; // only authorityKeyIdentifier and cRLNumber may be ignored
            }
        }
    }

    /// <summary>IssuingDistributionPoint (RFC 5280 §5.2.5).</summary>
    private void ReadScope(AsnReader scope)
    {
        while (scope.HasData)
        {
            var tag = scope.PeekTag();
            if (tag.TagClass != TagClass.ContextSpecific)
            {
                throw new AsnContentException("The scope of a CRL has a field without a tag of its own.");
            }

            switch (tag.TagValue)
            {
                case 0:
                    var point = scope.ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 0));
                    _pointNames = ReadPointNames(point);
                    // A name relative to the issuer is not supported, so the list gives no status.
                    _unusable |= _pointNames.Count == 0;
                    break;
                case 1:
                    _userOnly = scope.ReadBoolean(tag);
                    break;
                case 2:
                    _caOnly = scope.ReadBoolean(tag);
                    break;
                case 3:
                    scope.ReadEncodedValue();
                    _unusable = true; // onlySomeReasons
                    break;
                default:
                    _unusable |= scope.ReadBoolean(tag); // indirectCRL, onlyContainsAttributeCerts
                    break;
            }
        }
    }

    private static List<byte[]> PointNamesOf(ReadOnlyMemory<byte> distributionPoints)
    {
        var names = new List<byte[]>();
        try
        {
            var points = new AsnReader(distributionPoints, AsnEncodingRules.DER).ReadSequence();
            var nameTag = new Asn1Tag(TagClass.ContextSpecific, 0);
            while (points.HasData)
            {
                var point = points.ReadSequence();
                if (point.HasData && point.PeekTag().HasSameClassAndValue(nameTag))
                {
                    names.AddRange(ReadPointNames(point.ReadSequence(nameTag)));
                    if (names.Count > MaxPointNames)
                    {
                        throw new AsnContentException("A certificate has too many distribution points.");
                    }
                }
            }
        }
        catch (AsnContentException)
        {
            names.Clear();
        }
        return names;
    }

    /// <summary>The names in the fullName of a DistributionPointName, each as its DER bytes.</summary>
    private static List<byte[]> ReadPointNames(AsnReader point)
    {
        var names = new List<byte[]>();
        var fullName = new Asn1Tag(TagClass.ContextSpecific, 0);
        if (point.HasData && point.PeekTag().HasSameClassAndValue(fullName))
        {
            var list = point.ReadSequence(fullName);
            while (list.HasData)
            {
                if (names.Count == MaxPointNames)
                {
                    throw new AsnContentException("A distribution point has too many names.");
                }

                names.Add(list.ReadEncodedValue().ToArray());
            }
        }
        return names;
    }
}
