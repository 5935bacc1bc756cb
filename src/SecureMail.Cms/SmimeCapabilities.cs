using System.Formats.Asn1;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// The algorithms that a recipient announces: the SMIMECapabilities attribute (RFC 8551 §2.5.2) of a message that the
/// recipient signed. It is evidence only when the signature was verified. The order, which states preference, is kept.
/// Parameters are not kept, because no supported algorithm has parameters.
/// </summary>
public sealed class SmimeCapabilities
{
    private const int MaxCapabilities = 64;
    private const int MaxSize = 16 * 1024;

    /// <summary>The supported algorithms with their names in RFC 5084 §3, RFC 3565 §4.1 and RFC 9709 §3, in the order
    /// of preference.</summary>
    private static readonly (string Name, string Oid)[] Standard =
    [
        ("id-aes256-GCM", Oids.Aes256Gcm),
        ("id-aes128-GCM", Oids.Aes128Gcm),
        ("id-aes256-CBC", Oids.Aes256Cbc),
        ("id-aes128-CBC", Oids.Aes128Cbc),
        ("id-alg-cek-hkdf-sha256", Oids.CekHkdfSha256),
    ];

    private readonly HashSet<string> _known;

    private SmimeCapabilities(IReadOnlyList<string> algorithms)
    {
        Algorithms = algorithms;
        _known = [.. algorithms];
    }

    /// <summary>
    /// The algorithms that SecureMail supports, in the order of preference; they are announced in its signatures. Key
    /// transport and key agreement are not included, because the recipient's certificate determines them, and the
    /// abilities of keys (for example OAEP) differ between tokens.
    /// </summary>
    public static SmimeCapabilities Ours { get; } = new([.. Standard.Select(s => s.Oid)]);

    /// <summary>Object identifiers in the order of preference.</summary>
    public IReadOnlyList<string> Algorithms { get; }

    /// <summary>The signed attribute, for <see cref="SigningRequest.Attributes"/>. Use it for mail only, because only
    /// mail is replied to.</summary>
    public CmsAttribute Attribute => new(Oids.SmimeCapabilities, [Encode()]);

    /// <summary>Whether the object identifier is announced.</summary>
    public bool Has(string algorithm) => _known.Contains(algorithm);

    /// <summary>Reads the value of the attribute; null when it is malformed or too large, because it is then
    /// ignored.</summary>
    /// <param name="value">SMIMECapabilities, as it was received.</param>
    public static SmimeCapabilities? TryRead(ReadOnlyMemory<byte> value)
    {
        if (value.Length > MaxSize)
        {
            return null;
        }

        try
        {
            var reader = new AsnReader(value, AsnEncodingRules.BER);
            AsnReader all = reader.ReadSequence();
            reader.ThrowIfNotEmpty();
            var algorithms = new List<string>();
            while (all.HasData)
            {
                if (algorithms.Count == MaxCapabilities)
                {
                    return null;
                }

                AsnReader one = all.ReadSequence();
                algorithms.Add(Oids.Read(one));
                if (one.HasData)
                {
                    one.ReadEncodedValue();
                }

                one.ThrowIfNotEmpty();
            }
            return new SmimeCapabilities(algorithms);
        }
        catch (AsnContentException)
        {
            return null;
        }
    }

    /// <summary>Capabilities that were stored or configured.</summary>
    /// <param name="algorithms">Object identifiers in the order of preference.</param>
    public static SmimeCapabilities Of(IReadOnlyList<string> algorithms) => new([.. algorithms]);

    /// <summary>Capabilities by their names in the standards, for example <c>id-aes256-GCM</c>. Unknown names are
    /// ignored.</summary>
    public static SmimeCapabilities Named(params IReadOnlyList<string> names) =>
        new([.. names.SelectMany(n => Standard.Where(s => s.Name == n)).Select(s => s.Oid)]);

    /// <summary>
    /// Reads the capabilities among the signed attributes of a signer; null when there is not exactly one attribute
    /// with one value (RFC 8551 §2.5.2).
    /// </summary>
    internal static SmimeCapabilities? TryRead(IReadOnlyList<CmsAttribute> signed)
    {
        CmsAttribute? found = null;
        foreach (CmsAttribute attribute in signed)
        {
            if (attribute.Oid != Oids.SmimeCapabilities)
            {
                continue;
            }

            if (found is not null)
            {
                return null;
            }

            found = attribute;
        }
        return found is { Values: [var only] } ? TryRead(only) : null;
    }

    /// <summary>The value of the attribute, DER.</summary>
    internal byte[] Encode()
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            foreach (var algorithm in Algorithms)
            {
                // RFC 8551 §2.5.2, RFC 9709 §5: the ciphers and the key derivation have no parameters.
                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier(algorithm);
                }
            }
        }
        return writer.Encode();
    }
}
