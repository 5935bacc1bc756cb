using System.Formats.Asn1;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;

namespace SecureMail.Trust;

[Flags]
internal enum KeyUsages
{
    None = 0,
    DigitalSignature = 0x80,
    NonRepudiation = 0x40,
    KeyEncipherment = 0x20,
    KeyCertSign = 0x04,
    CrlSign = 0x02,
}

/// <summary>
/// A certificate parsed from its DER (RFC 5280 §4): the fields that path validation needs. The platform interprets only
/// the public key. A certificate that breaks the profile where it matters (repeated extension, two signature
/// algorithms, malformed extension) is not accepted. The parsed form is cached as long as the certificate object lives,
/// with the issuer whose key is known to have signed it. Both depend on the certificate's bytes only, so they never
/// change.
/// </summary>
internal sealed class ParsedCertificate
{
    /// <summary>Bytes of a certificate at most. Real certificates have one or two kilobytes, and what is done with a
    /// certificate costs more than its length.</summary>
    private const int MaxSize = 64 * 1024;

    /// <summary>Extensions, and extended key usages, at most; real certificates have a dozen.</summary>
    private const int MaxExtensions = 64;

    private static readonly ConditionalWeakTable<X509Certificate2, StrongBox<ParsedCertificate?>> Read = [];

    private static readonly HashSet<string> ProcessedExtensions =
    [
        "2.5.29.14",
        "2.5.29.15",
        "2.5.29.17",
        "2.5.29.19",
        "2.5.29.30",
        "2.5.29.31",
        "2.5.29.32",
        "2.5.29.33",
        "2.5.29.35",
        "2.5.29.36",
        "2.5.29.37",
        "2.5.29.54",
    ];

    private readonly Dictionary<string, (bool Critical, ReadOnlyMemory<byte> Value)> _extensions = [];
    private readonly VerifiedIssuer _verifiedIssuer = new();

    private ParsedCertificate(X509Certificate2 certificate, AsnReader tbs)
    {
        Certificate = certificate;
        var version = new Asn1Tag(TagClass.ContextSpecific, 0);
        if (tbs.PeekTag().HasSameClassAndValue(version))
        {
            // RFC 5280 §4.1.2.1: v1, v2 and v3 are 0, 1 and 2. What another version means is not known.
            Version =
                tbs.ReadSequence(version).TryReadInt32(out var written) && written is >= 0 and <= 2
                    ? written + 1
                    : throw new AsnContentException("A certificate has an unknown version.");
        }

        SerialBytes = tbs.ReadIntegerBytes();
        InnerAlgorithm = tbs.ReadEncodedValue();
        Issuer = DistinguishedName.Read(tbs.ReadEncodedValue());
        var validity = tbs.ReadSequence();
        NotBefore = Asn1Time.Read(validity);
        NotAfter = Asn1Time.Read(validity);
        Subject = DistinguishedName.Read(tbs.ReadEncodedValue());
        SubjectPublicKeyInfo = tbs.ReadEncodedValue();
        // §4.1: issuerUniqueID [1] and subjectUniqueID [2], which are not used, then extensions [3], each at most once.
        for (var number = 1; number <= 2; number++)
        {
            if (tbs.HasData && tbs.PeekTag().HasSameClassAndValue(new Asn1Tag(TagClass.ContextSpecific, number)))
            {
                tbs.ReadEncodedValue();
            }
        }

        if (tbs.HasData)
        {
            // §4.1.2.9: only v3 has extensions. A reader that obeys the version would not see them.
            if (Version != 3)
            {
                throw new AsnContentException("A certificate has extensions and is not v3.");
            }

            ReadExtensions(tbs.ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 3)).ReadSequence());
            tbs.ThrowIfNotEmpty();
        }

        ReadKnownExtensions();
    }

    public X509Certificate2 Certificate { get; }
    public int Version { get; } = 1;

    /// <summary>The contents of the INTEGER serialNumber.</summary>
    public ReadOnlyMemory<byte> SerialBytes { get; }
    public string Serial => Convert.ToHexStringLower(SerialBytes.Span);
    public DistinguishedName Issuer { get; }
    public DistinguishedName Subject { get; }
    public DateTimeOffset NotBefore { get; }
    public DateTimeOffset NotAfter { get; }
    public ReadOnlyMemory<byte> InnerAlgorithm { get; }
    public ReadOnlyMemory<byte> SubjectPublicKeyInfo { get; }
    public ReadOnlyMemory<byte> Tbs { get; private init; }
    public SignatureAlgorithm? Algorithm { get; private init; }
    public byte[] Signature { get; private init; } = [];
    public bool HasBasicConstraints { get; private set; }
    public bool IsCa { get; private set; }
    public int? PathLength { get; private set; }
    public KeyUsages? KeyUsage { get; private set; }
    public IReadOnlyList<string>? ExtendedUsages { get; private set; }
    public IReadOnlyList<GeneralName> AlternativeNames { get; private set; } = [];
    public byte[]? SubjectKeyIdentifier { get; private set; }
    public byte[]? AuthorityKeyIdentifier { get; private set; }
    public bool IsSelfIssued => Issuer.Matches(Subject);

    public bool HasUnknownCriticalExtension =>
        _extensions.Any(e => e.Value.Critical && !ProcessedExtensions.Contains(e.Key));

    /// <summary>The e-mail addresses of the certificate, as written.</summary>
    public IEnumerable<string> Emails =>
        AlternativeNames
            .Where(n => n.Kind == NameKind.Email)
            .Select(n => n.Text!)
            .Concat(Subject.Emails())
            .Distinct(StringComparer.Ordinal);

    /// <summary>The value of an extension; null when the certificate does not have it.</summary>
    public ReadOnlyMemory<byte>? Extension(string oid)
    {
        if (_extensions.TryGetValue(oid, out (bool Critical, ReadOnlyMemory<byte> Value) found))
        {
            return found.Value;
        }

        return null;
    }

    /// <summary>Parses a certificate; null when it is malformed or breaks the profile.</summary>
    public static ParsedCertificate? TryRead(X509Certificate2 certificate) =>
        Read.GetValue(certificate, c => new(Parse(c))).Value;

    private static ParsedCertificate? Parse(X509Certificate2 certificate)
    {
        try
        {
            if (certificate.RawDataMemory.Length > MaxSize)
            {
                return null;
            }

            var outer = new AsnReader(certificate.RawDataMemory, AsnEncodingRules.DER);
            var sequence = outer.ReadSequence();
            outer.ThrowIfNotEmpty();
            var tbs = sequence.ReadEncodedValue();
            var algorithm = sequence.ReadEncodedValue();
            var signature = SignatureBits.ReadBytes(sequence);
            var parsed = new ParsedCertificate(certificate, new AsnReader(tbs, AsnEncodingRules.DER).ReadSequence())
            {
                Tbs = tbs,
                Signature = signature,
                Algorithm = SignatureAlgorithm.TryRead(algorithm),
            };
            // RFC 5280 §4.1.1.2: the two algorithm fields must be equal, because only the inner one is signed.
            return parsed.InnerAlgorithm.Span.SequenceEqual(algorithm.Span) ? parsed : null;
        }
        catch (Exception e) when (e is AsnContentException or CryptographicException or OverflowException)
        {
            return null;
        }
    }

    /// <summary>Whether the issuer's key made the signature of this certificate.</summary>
    public bool IsSignedBy(ParsedCertificate issuer) =>
        _verifiedIssuer.IsOrVerify(issuer, () =>
            Algorithm is not null && Algorithm.VerifyMessage(issuer.Certificate, Tbs.Span, Signature));

    /// <summary>Whether both are the same certificate, byte for byte.</summary>
    public bool IsSameAs(ParsedCertificate other) =>
        Certificate.RawDataMemory.Span.SequenceEqual(other.Certificate.RawDataMemory.Span);

    /// <summary>Whether the key is RSA below 2048 bits, DSA of any size (FIPS 186-5 §4 has retired it), or
    /// malformed.</summary>
    public bool HasWeakKey()
    {
        try
        {
            var key = new AsnReader(SubjectPublicKeyInfo, AsnEncodingRules.DER).ReadSequence();
            switch (Asn1Oid.Read(key.ReadSequence()))
            {
                case "1.2.840.113549.1.1.1" or "1.2.840.113549.1.1.10":
                    break;
                case "1.2.840.10040.4.1":
                    return true;
                default:
                    return false;
            }

            var modulus = new AsnReader(key.ReadBitString(out _), AsnEncodingRules.DER).ReadSequence().ReadInteger();
            return modulus.Sign <= 0 || modulus.GetBitLength() < 2048;
        }
        catch (AsnContentException)
        {
            return true;
        }
    }

    private void ReadExtensions(AsnReader extensions)
    {
        while (extensions.HasData)
        {
            var extension = extensions.ReadSequence();
            var oid = Asn1Oid.Read(extension);
            var critical = extension.PeekTag().HasSameClassAndValue(Asn1Tag.Boolean) && extension.ReadBoolean();
            // RFC 5280 §4.2: a certificate has each extension at most once.
            if (!_extensions.TryAdd(oid, (critical, extension.ReadOctetString())) || _extensions.Count > MaxExtensions)
            {
                throw new AsnContentException("A certificate has an extension twice, or too many.");
            }
        }
    }

    private void ReadKnownExtensions()
    {
        if (Extension("2.5.29.19") is { } basicConstraints)
        {
            var reader = Sequence(basicConstraints);
            HasBasicConstraints = true;
            IsCa = reader.HasData && reader.PeekTag().HasSameClassAndValue(Asn1Tag.Boolean) && reader.ReadBoolean();
            if (reader.HasData)
            {
                PathLength =
                    reader.TryReadInt32(out var length) && length >= 0
                        ? length
                        : throw new AsnContentException("A path length constraint is not a number from 0 on.");
            }
        }
        if (Extension("2.5.29.15") is { } keyUsage)
        {
            var bits = new AsnReader(keyUsage, AsnEncodingRules.DER).ReadBitString(out _);
            KeyUsage = bits.Length == 0 ? KeyUsages.None : (KeyUsages)bits[0];
        }
        if (Extension("2.5.29.37") is { } extendedUsage)
        {
            var usages = new List<string>();
            var reader = Sequence(extendedUsage);
            while (reader.HasData)
            {
                usages.Add(Asn1Oid.Read(reader));
                if (usages.Count > MaxExtensions)
                {
                    throw new AsnContentException("A certificate has too many extended key usages.");
                }
            }

            ExtendedUsages = usages;
        }
        if (Extension("2.5.29.17") is { } names)
        {
            AlternativeNames = GeneralName.ReadAll(Sequence(names));
        }

        if (Extension("2.5.29.14") is { } subjectKey)
        {
            SubjectKeyIdentifier = new AsnReader(subjectKey, AsnEncodingRules.DER).ReadOctetString();
        }

        if (Extension("2.5.29.35") is { } authorityKey)
        {
            var reader = Sequence(authorityKey);
            var keyIdentifier = new Asn1Tag(TagClass.ContextSpecific, 0);
            if (reader.HasData && reader.PeekTag().HasSameClassAndValue(keyIdentifier))
            {
                AuthorityKeyIdentifier = reader.ReadOctetString(keyIdentifier);
            }
        }
    }

    private static AsnReader Sequence(ReadOnlyMemory<byte> value) =>
        new AsnReader(value, AsnEncodingRules.DER).ReadSequence();
}

/// <summary>
/// Remembers the issuer key that last verified a signature. Only a success is stored, so an attacker who sends wrong
/// issuers cannot displace the right one.
/// </summary>
internal sealed class VerifiedIssuer
{
    private byte[]? _key;

    /// <summary>
    /// Whether the issuer's key made the signature. <paramref name="verify"/> is called only when this key is not the
    /// remembered one.
    /// </summary>
    public bool IsOrVerify(ParsedCertificate issuer, Func<bool> verify)
    {
        var known = Volatile.Read(ref _key);
        if (known is not null && issuer.SubjectPublicKeyInfo.Span.SequenceEqual(known))
        {
            return true;
        }

        if (!verify())
        {
            return false;
        }
        // The key is copied, so that the issuer's certificate can be collected.
        Volatile.Write(ref _key, issuer.SubjectPublicKeyInfo.ToArray());
        return true;
    }
}

/// <summary>Reads the signature values of certificates and CRLs.</summary>
internal static class SignatureBits
{
    /// <exception cref="AsnContentException">The bits are not whole bytes. Such a value would be a second encoding of
    /// the same signature.</exception>
    public static byte[] ReadBytes(AsnReader reader)
    {
        var bytes = reader.ReadBitString(out var unusedBits);
        return unusedBits == 0 ? bytes : throw new AsnContentException("A signature value is not whole bytes.");
    }
}

/// <summary>Reads object identifiers of certificates and CRLs.</summary>
internal static class Asn1Oid
{
    /// <summary>Bytes of contents at most; the longest in use has about twenty. The conversion of a long one to decimal
    /// digits takes a time that grows with the square of its length.</summary>
    private const int MaxContentsSize = 128;

    /// <exception cref="AsnContentException">The next element is not an object identifier, or is too long.</exception>
    public static string Read(AsnReader reader) =>
        reader.PeekContentBytes().Length <= MaxContentsSize
            ? reader.ReadObjectIdentifier()
            : throw new AsnContentException("An object identifier is too long.");
}

/// <summary>
/// Reads the times of certificates and CRLs (RFC 5280 §4.1.2.5): UTCTime to 2049, GeneralizedTime after.
/// </summary>
internal static class Asn1Time
{
    public static DateTimeOffset Read(AsnReader reader) =>
        reader.PeekTag().HasSameClassAndValue(Asn1Tag.UtcTime)
            ? reader.ReadUtcTime(2049)
            : reader.ReadGeneralizedTime();

    public static bool IsNext(AsnReader reader) =>
        reader.HasData
        && (
            reader.PeekTag().HasSameClassAndValue(Asn1Tag.UtcTime)
            || reader.PeekTag().HasSameClassAndValue(Asn1Tag.GeneralizedTime));
}
