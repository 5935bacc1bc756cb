using System.Formats.Asn1;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>
/// A name as it was received, compared by RFC 5280 §7.1 with the name in a certificate. Most writers of CMS copy the
/// name from the certificate, so the bytes are compared first, and the name is parsed only when they differ. A name
/// that cannot be parsed, or is too long, matches the same bytes only.
/// </summary>
internal sealed class EncodedName(ReadOnlyMemory<byte> encoded)
{
    private string? _key;
    private bool _unreadable;

    /// <summary>The name, encoded.</summary>
    public ReadOnlyMemory<byte> Encoded => encoded;

    public bool Matches(EncodedName other) =>
        encoded.Span.SequenceEqual(other.Encoded.Span)
        || (Key() is { } own && other.Key() is { } theirs && own == theirs);

    private string? Key()
    {
        if (_key is null && !_unreadable)
        {
            try
            {
                _key = DistinguishedName.Read(encoded, AsnEncodingRules.BER).Key;
            }
            catch (AsnContentException)
            {
                _unreadable = true;
            }
        }
        return _key;
    }
}
