using System.Formats.Asn1;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// What a reader of mail says it can do: the SMIMECapabilities attribute (RFC 8551 §2.5.2) of a message it signed. It is evidence of that only
/// when the signature verified. Order, which states preference, is kept; parameters are not, for none of the ciphers here has any.
/// </summary>
public sealed class SmimeCapabilities
{
    private const int MaxCapabilities = 64;
    private const int MaxOctets = 16 * 1024;

    private readonly HashSet<string> _known;

    private SmimeCapabilities(IReadOnlyList<string> algorithms)
    {
        Algorithms = algorithms;
        _known = [.. algorithms];
    }

    /// <summary>What this program reads, best first; written into its signatures.</summary>
    public static SmimeCapabilities Ours { get; } = new(
    [
        Oids.Aes256Gcm, Oids.Aes128Gcm, Oids.Aes256Cbc, Oids.Aes128Cbc, Oids.CekHkdfSha256, Oids.RsaesOaep, Oids.StdDhHkdfSha256, Oids.StdDhSha256Kdf, Oids.StdDhSha384Kdf,
    ]);

    /// <summary>Object identifiers, the one preferred first.</summary>
    public IReadOnlyList<string> Algorithms { get; }

    /// <summary>Whether the object identifier is announced.</summary>
    public bool Has(string algorithm) => _known.Contains(algorithm);

    /// <summary>Reads the attribute's one value; null when it is damaged or beyond all measure: what it says then counts for nothing.</summary>
    /// <param name="value">SMIMECapabilities, as it came.</param>
    public static SmimeCapabilities? TryRead(ReadOnlyMemory<byte> value)
    {
        if (value.Length > MaxOctets)
            return null;
        try
        {
            var reader = new AsnReader(value, AsnEncodingRules.BER);
            AsnReader all = reader.ReadSequence();
            reader.ThrowIfNotEmpty();
            var algorithms = new List<string>();
            while (all.HasData)
            {
                if (algorithms.Count == MaxCapabilities)
                    return null;
                AsnReader one = all.ReadSequence();
                algorithms.Add(one.ReadObjectIdentifier());
                if (one.HasData)
                    one.ReadEncodedValue();
                one.ThrowIfNotEmpty();
            }
            return new SmimeCapabilities(algorithms);
        }
        catch (AsnContentException)
        {
            return null;
        }
    }

    /// <summary>Capabilities stated by other means than a message, such as the directory.</summary>
    /// <param name="algorithms">Object identifiers, the one preferred first.</param>
    public static SmimeCapabilities Of(IReadOnlyList<string> algorithms) => new([.. algorithms]);

    /// <summary>The attribute's value, DER.</summary>
    internal byte[] Encode()
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            foreach (string algorithm in Algorithms)
            {
                // RFC 8551 §2.5.2: parameters absent for all of these; for the agreement schemes RFC 5753 §7.1.1 lets the wrap stand there.
                using (writer.PushSequence())
                    writer.WriteObjectIdentifier(algorithm);
            }
        }
        return writer.Encode();
    }
}
