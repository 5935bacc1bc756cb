using System.Formats.Asn1;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// What a reader of mail says it can do: the SMIMECapabilities attribute (RFC 8551 §2.5.2) of a message it signed. It
/// is evidence of that only when the signature verified. Order, which states preference, is kept; parameters are not,
/// for none of the ciphers here has any.
/// </summary>
public sealed class SmimeCapabilities
{
    private const int MaxCapabilities = 64;
    private const int MaxOctets = 16 * 1024;

    /// <summary>By the names of RFC 5084 §3, RFC 3565 §4.1 and RFC 9709 §3, the best first.</summary>
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
    /// What this program reads, best first; written into its signatures. How the content's key is brought is not among
    /// it: that is said by the recipient's certificate, and what a token's key can do (OAEP, say) differs from token to
    /// token.
    /// </summary>
    public static SmimeCapabilities Ours { get; } = new([.. Standard.Select(s => s.Oid)]);

    /// <summary>Object identifiers, the one preferred first.</summary>
    public IReadOnlyList<string> Algorithms { get; }

    /// <summary>The attribute as it is signed, for <see cref="SigningRequest.Attributes"/>; for mail only, which alone
    /// has a reader that answers.</summary>
    public CmsAttribute Attribute => new(Oids.SmimeCapabilities, [Encode()]);

    /// <summary>Whether the object identifier is announced.</summary>
    public bool Has(string algorithm) => _known.Contains(algorithm);

    /// <summary>Reads the attribute's one value; null when it is damaged or beyond all measure: what it says then
    /// counts for nothing.</summary>
    /// <param name="value">SMIMECapabilities, as it came.</param>
    public static SmimeCapabilities? TryRead(ReadOnlyMemory<byte> value)
    {
        if (value.Length > MaxOctets)
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

    /// <summary>Capabilities that were kept, or are stated by other means than a message.</summary>
    /// <param name="algorithms">Object identifiers, the one preferred first.</param>
    public static SmimeCapabilities Of(IReadOnlyList<string> algorithms) => new([.. algorithms]);

    /// <summary>Capabilities by the names of their standards, as <c>id-aes256-GCM</c>; a name that is not known here is
    /// passed over.</summary>
    public static SmimeCapabilities Named(params IReadOnlyList<string> names) =>
        new([.. names.SelectMany(n => Standard.Where(s => s.Name == n)).Select(s => s.Oid)]);

    /// <summary>
    /// Those among a signer's signed attributes; null when there are none that count. RFC 8551 §2.5.2: one attribute
    /// with one value; of several none can be told to be meant.
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

    /// <summary>The attribute's value, DER.</summary>
    internal byte[] Encode()
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            foreach (var algorithm in Algorithms)
            {
                // RFC 8551 §2.5.2, RFC 9709 §5: the ciphers and the derivation have no parameters.
                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier(algorithm);
                }
            }
        }
        return writer.Encode();
    }
}
