using System.Formats.Asn1;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>
/// The parts of a certificate that CMS needs: the identifiers of signers and recipients, and the key, read directly
/// from the DER (RFC 5280 §4.1). The platform's certificate and the key are created on first use, because the platform
/// takes 166 µs to load a certificate. Immutable once read, and shared by threads.
/// </summary>
internal sealed class CmsCertificate
{
    /// <summary>What was read of a platform certificate, kept as long as that object lives.</summary>
    private static readonly ConditionalWeakTable<X509Certificate2, CmsCertificate> Attached = [];

    /// <summary>Bytes of an RSA exponent at most (FIPS 186-5 §5.1: below 2^256), because the exponent of a verification
    /// costs time for each bit.</summary>
    private const int MaxExponentSize = 256 / 8;

    /// <summary>The same beside a modulus of more than 3072 bits. libcrypto computes nothing with a longer
    /// one.</summary>
    private const int MaxExponentSizeOfLongModulus = 64 / 8;
    private const int LongModulusSize = 3072 / 8;

    private readonly ReadOnlyMemory<byte> _extensions;
    private readonly ReadOnlyMemory<byte> _keyBits;
    private X509Certificate2? _certificate;
    private VerificationKey? _key;
    private bool _certificateUnreadable;
    private bool _keyUnusable;

    /// <exception cref="AsnContentException">The bytes are not a certificate.</exception>
    private CmsCertificate(ReadOnlyMemory<byte> encoded)
    {
        Encoded = encoded;
        var outer = new AsnReader(encoded, AsnEncodingRules.BER);
        AsnReader tbs = outer.ReadSequence().ReadSequence();
        outer.ThrowIfNotEmpty();
        if (tbs.PeekTag().HasSameClassAndValue(new Asn1Tag(TagClass.ContextSpecific, 0)))
        {
            tbs.ReadEncodedValue();
        }

        Serial = tbs.ReadIntegerBytes();
        tbs.ReadEncodedValue();
        Issuer = new EncodedName(tbs.ReadEncodedValue());
        tbs.ReadEncodedValue();
        tbs.ReadEncodedValue();
        AsnReader key = tbs.ReadSequence();
        AsnReader algorithm = key.ReadSequence();
        KeyAlgorithm = Oids.Read(algorithm);
        if (algorithm.HasData)
        {
            KeyParameters = algorithm.ReadEncodedValue();
        }

        algorithm.ThrowIfNotEmpty();
        _keyBits =
            key.TryReadPrimitiveBitString(out var unused, out ReadOnlyMemory<byte> bits) && unused == 0
                ? bits
                : default;
        var extensions = new Asn1Tag(TagClass.ContextSpecific, 3);
        while (tbs.HasData)
        {
            var found = tbs.PeekTag().HasSameClassAndValue(extensions);
            ReadOnlyMemory<byte> element = tbs.ReadEncodedValue();
            if (found)
            {
                _extensions = element;
            }
        }
    }

    /// <summary>The certificate as it was received.</summary>
    public ReadOnlyMemory<byte> Encoded { get; }

    /// <summary>The issuer's name.</summary>
    public EncodedName Issuer { get; }

    /// <summary>Contents of the INTEGER serialNumber.</summary>
    public ReadOnlyMemory<byte> Serial { get; }

    /// <summary>Object identifier of the algorithm of the key.</summary>
    public string KeyAlgorithm { get; }

    /// <summary>The parameters of the algorithm of the key, encoded; empty when absent.</summary>
    public ReadOnlyMemory<byte> KeyParameters { get; }

    /// <summary>The platform's certificate; null when the platform cannot read it.</summary>
    public X509Certificate2? Certificate
    {
        get
        {
            if (_certificate is null && !_certificateUnreadable)
            {
                try
                {
                    X509Certificate2 loaded = X509CertificateLoader.LoadCertificate(Encoded.Span);
                    // Two threads may load it at once. Keep the first object and dispose the other.
                    if (Interlocked.CompareExchange(ref _certificate, loaded, null) is null)
                    {
                        Attached.AddOrUpdate(loaded, this);
                    }
                    else
                    {
                        loaded.Dispose();
                    }
                }
                catch (CryptographicException)
                {
                    _certificateUnreadable = true;
                }
            }
            return _certificate;
        }
    }

    /// <summary>The key; null when its algorithm is not supported and when it is malformed.</summary>
    public VerificationKey? Key
    {
        get
        {
            if (_key is null && !_keyUnusable)
            {
                VerificationKey? made = ReadKey();
                if (made is null)
                {
                    _keyUnusable = true;
                }
                else if (Interlocked.CompareExchange(ref _key, made, null) is not null)
                {
                    made.Dispose();
                }
            }
            return _key;
        }
    }

    /// <summary>The value of the subject key identifier extension; null when there is none.</summary>
    public ReadOnlyMemory<byte>? SubjectKeyIdentifier()
    {
        try
        {
            if (_extensions.IsEmpty)
            {
                return null;
            }

            AsnReader extensions = new AsnReader(_extensions, AsnEncodingRules.BER)
                .ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 3))
                .ReadSequence();
            while (extensions.HasData)
            {
                AsnReader extension = extensions.ReadSequence();
                if (Oids.Read(extension) != Oids.SubjectKeyIdentifier)
                {
                    continue;
                }

                if (extension.PeekTag().HasSameClassAndValue(Asn1Tag.Boolean))
                {
                    extension.ReadBoolean();
                }

                return new AsnReader(extension.ReadOctetString(), AsnEncodingRules.BER).ReadOctetString();
            }
            return null;
        }
        catch (AsnContentException)
        {
            return null;
        }
    }

    /// <summary>Bytes of an RSA modulus; 0 for another kind of key.</summary>
    public int RsaModulusSize()
    {
        try
        {
            return KeyAlgorithm is Oids.RsaEncryption or Oids.RsassaPss
                ? Unsigned(new AsnReader(_keyBits, AsnEncodingRules.BER).ReadSequence().ReadIntegerBytes()).Length
                : 0;
        }
        catch (AsnContentException)
        {
            return 0;
        }
    }

    /// <summary>Reads a certificate; null when the bytes are not a certificate.</summary>
    public static CmsCertificate? TryRead(ReadOnlyMemory<byte> encoded)
    {
        try
        {
            return new CmsCertificate(encoded);
        }
        catch (AsnContentException)
        {
            return null;
        }
    }

    /// <summary>The parts of a platform certificate; null when it cannot be read here.</summary>
    public static CmsCertificate? Of(X509Certificate2 certificate)
    {
        if (Attached.TryGetValue(certificate, out CmsCertificate? known))
        {
            return known;
        }

        if (TryRead(certificate.RawDataMemory) is not { } read)
        {
            return null;
        }
        // Keep only the bytes, because the caller may dispose its certificate.
        Attached.AddOrUpdate(certificate, read);
        return read;
    }

    private VerificationKey? ReadKey()
    {
        try
        {
            switch (KeyAlgorithm)
            {
                case Oids.RsaEncryption or Oids.RsassaPss:
                    AsnReader numbers = new AsnReader(_keyBits, AsnEncodingRules.BER).ReadSequence();
                    ReadOnlyMemory<byte> modulus = Unsigned(numbers.ReadIntegerBytes());
                    ReadOnlyMemory<byte> exponent = Unsigned(numbers.ReadIntegerBytes());
                    var limit = modulus.Length > LongModulusSize ? MaxExponentSizeOfLongModulus : MaxExponentSize;
                    return exponent.Length <= limit
                        ? VerificationKey.TryRsa(modulus.Span, exponent.Span)
                        : null;
                case Oids.EcPublicKey when KeyParameters.Span is [0x06, ..]:
                    // RFC 5480 §2.1.1: named curves only, because explicit parameters let a forger choose the base
                    // point.
                    return VerificationKey.TryEc(
                        Oids.Read(new AsnReader(KeyParameters, AsnEncodingRules.BER)), _keyBits.Span);
                case Oids.Ed25519 when KeyParameters.IsEmpty:
                    // RFC 8410 §3: the parameters are absent; §4: the BIT STRING holds the 32 raw octets.
                    return VerificationKey.TryEd25519(_keyBits.Span);
                case Oids.Dsa when !KeyParameters.IsEmpty:
                    // RFC 3279 §2.3.2: p, q, g are the parameters and y is the key. Parameters inherited from the
                    // issuer are not supported.
                    AsnReader domain = new AsnReader(KeyParameters, AsnEncodingRules.BER).ReadSequence();
                    ReadOnlyMemory<byte> p = Unsigned(domain.ReadIntegerBytes());
                    ReadOnlyMemory<byte> q = Unsigned(domain.ReadIntegerBytes());
                    ReadOnlyMemory<byte> g = Unsigned(domain.ReadIntegerBytes());
                    domain.ThrowIfNotEmpty();
                    ReadOnlyMemory<byte> y = Unsigned(
                        new AsnReader(_keyBits, AsnEncodingRules.BER).ReadIntegerBytes());
                    return VerificationKey.TryDsa(p.Span, q.Span, g.Span, y.Span);
                default:
                    return null;
            }
        }
        catch (AsnContentException)
        {
            return null;
        }
    }

    /// <exception cref="AsnContentException">The number is negative.</exception>
    private static ReadOnlyMemory<byte> Unsigned(ReadOnlyMemory<byte> integer) =>
        integer.Span switch
        {
            [>= 0x80, ..] => throw new AsnContentException("a negative number in a key"),
            [0, _, ..] => integer[1..],
            _ => integer,
        };
}
