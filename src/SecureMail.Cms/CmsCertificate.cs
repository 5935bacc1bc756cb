using System.Formats.Asn1;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms.Asn1;
using SecureMail.Libcrypto;

namespace SecureMail.Cms;

/// <summary>
/// A certificate as CMS needs it: the names by which signers and recipients point at it, and its key, read straight
/// from the DER (RFC 5280 §4.1). The platform's certificate costs 166 µs to load and is made only when somebody asks
/// for it; so is the key. Never changes after it was read, and is shared by threads.
/// </summary>
internal sealed class CmsCertificate
{
    /// <summary>What was read of a platform certificate stays with it as long as it lives.</summary>
    private static readonly ConditionalWeakTable<X509Certificate2, CmsCertificate> Attached = [];

    private readonly ReadOnlyMemory<byte> _extensions;
    private readonly ReadOnlyMemory<byte> _keyBits;
    private X509Certificate2? _certificate;
    private VerificationKey? _key;
    private bool _noCertificate;
    private bool _noKey;

    /// <exception cref="AsnContentException">It is no certificate.</exception>
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
        Issuer = tbs.ReadEncodedValue();
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

    /// <summary>The octets as they came.</summary>
    public ReadOnlyMemory<byte> Encoded { get; }

    /// <summary>The issuer's name, encoded.</summary>
    public ReadOnlyMemory<byte> Issuer { get; }

    /// <summary>Contents of the INTEGER.</summary>
    public ReadOnlyMemory<byte> Serial { get; }

    /// <summary>Object identifier of the key's algorithm.</summary>
    public string KeyAlgorithm { get; }

    /// <summary>The parameters of the key's algorithm, encoded; empty when absent.</summary>
    public ReadOnlyMemory<byte> KeyParameters { get; }

    /// <summary>The platform's certificate; null when the platform cannot read it.</summary>
    public X509Certificate2? Certificate
    {
        get
        {
            if (_certificate is null && !_noCertificate)
            {
                try
                {
                    X509Certificate2 loaded = X509CertificateLoader.LoadCertificate(Encoded.Span);
                    // Two threads may load it at once; one object is handed out, the other is nobody's.
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
                    _noCertificate = true;
                }
            }
            return _certificate;
        }
    }

    /// <summary>The key; null for a kind that is not verified with, and for one that is malformed.</summary>
    public VerificationKey? Key
    {
        get
        {
            if (_key is null && !_noKey)
            {
                VerificationKey? made = ReadKey();
                if (made is null)
                {
                    _noKey = true;
                }
                else if (Interlocked.CompareExchange(ref _key, made, null) is not null)
                {
                    made.Dispose();
                }
            }
            return _key;
        }
    }

    /// <summary>The subject key identifier extension's value; null when it has none.</summary>
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

    /// <summary>Octets of an RSA modulus; 0 for another kind of key.</summary>
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

    /// <summary>Null when it is no certificate.</summary>
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

    /// <summary>What there is to know of a platform certificate; null when it cannot be read here.</summary>
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
        // The caller may dispose its certificate; this object keeps none of it but the octets.
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
                    return VerificationKey.TryRsa(
                        Unsigned(numbers.ReadIntegerBytes()).Span, Unsigned(numbers.ReadIntegerBytes()).Span);
                case Oids.EcPublicKey when KeyParameters.Span is [0x06, ..]:
                    // RFC 5480 §2.1.1: named curves only. Explicit parameters let a forger choose the base point.
                    return VerificationKey.TryEc(
                        Oids.Read(new AsnReader(KeyParameters, AsnEncodingRules.BER)), _keyBits.Span);
                case Oids.Ed25519 when KeyParameters.IsEmpty:
                    // RFC 8410 §3: the parameters are absent; §4: the BIT STRING holds the 32 octets themselves.
                    return VerificationKey.TryEd25519(_keyBits.Span);
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
