using System.Formats.Asn1;

namespace SecureMail.Trust;

/// <summary>
/// The revokedCertificates of a CRL (RFC 5280 §5.1.2.6) as they were received, with an index of eight bytes an entry:
/// a hash of the serial number above the offset of the entry, sorted. The entries are read once when the list is
/// loaded, so that a malformed one makes the list malformed; a lookup reads the few with the hash of a serial number
/// again. The hash is seeded in every process, so that an issuer cannot give many entries the same one.
/// </summary>
internal sealed class RevokedEntries
{
    // Two are known (§5.3).
    private const int MaxExtensions = 16;

    private readonly ReadOnlyMemory<byte> _entries;
    private readonly ulong[] _index;

    /// <param name="entries">The contents of the SEQUENCE, DER. They are kept, not copied.</param>
    /// <exception cref="AsnContentException">An entry is malformed.</exception>
    public RevokedEntries(ReadOnlyMemory<byte> entries)
    {
        _entries = entries;
        // Two passes, because an array that grows would need three times the memory while it is copied.
        _index = new ulong[Count(entries.Span)];
        for (int offset = 0, i = 0; offset < entries.Length; i++)
        {
            var entry = Read(entries.Span[offset..], out var length);
            HasUnknownCriticalExtension |= entry.HasUnknownCriticalExtension;
            _index[i] = ((ulong)Hash(entry.Serial) << 32) | (uint)offset;
            offset += length;
        }

        Array.Sort(_index);
    }

    /// <summary>Whether an entry has a critical extension that is not processed, such as certificateIssuer (§5.3). The
    /// list gives no status then.</summary>
    public bool HasUnknownCriticalExtension { get; }

    /// <summary>
    /// Since when the certificate with this serial number is revoked; null when no entry says so. Of several entries
    /// the earliest counts. An entry that removes a certificate from the list (removeFromCRL, in a delta CRL only) does
    /// not.
    /// </summary>
    /// <param name="serial">The contents of the INTEGER.</param>
    public DateTimeOffset? RevokedSince(ReadOnlySpan<byte> serial)
    {
        var hash = Hash(serial);
        var at = Array.BinarySearch(_index, (ulong)hash << 32);
        DateTimeOffset? since = null;
        for (var i = at < 0 ? ~at : at; i < _index.Length && (uint)(_index[i] >> 32) == hash; i++)
        {
            var entry = Read(_entries.Span[(int)(uint)_index[i]..], out _);
            if (!entry.IsRemoved && entry.Serial.SequenceEqual(serial) && (since is null || entry.Date < since))
            {
                since = entry.Date;
            }
        }

        return since;
    }

    private static uint Hash(ReadOnlySpan<byte> serial)
    {
        var hash = new HashCode();
        hash.AddBytes(serial);
        return (uint)hash.ToHashCode();
    }

    private static int Count(ReadOnlySpan<byte> entries)
    {
        var count = 0;
        for (; !entries.IsEmpty; count++)
        {
            AsnDecoder.ReadEncodedValue(entries, AsnEncodingRules.DER, out _, out _, out var length);
            entries = entries[length..];
        }

        return count;
    }

    /// <summary>Reads the first entry without allocating, because there may be millions.</summary>
    private static Entry Read(ReadOnlySpan<byte> entries, out int length)
    {
        AsnDecoder.ReadSequence(entries, AsnEncodingRules.DER, out var offset, out var contents, out length);
        var rest = entries.Slice(offset, contents);
        var entry = new Entry { Serial = AsnDecoder.ReadIntegerBytes(rest, AsnEncodingRules.DER, out var used) };
        rest = rest[used..];
        var isUtcTime = Asn1Tag.Decode(rest, out _).HasSameClassAndValue(Asn1Tag.UtcTime);
        entry.Date = isUtcTime
            ? AsnDecoder.ReadUtcTime(rest, AsnEncodingRules.DER, out used, 2049)
            : AsnDecoder.ReadGeneralizedTime(rest, AsnEncodingRules.DER, out used);
        rest = rest[used..];
        if (!rest.IsEmpty)
        {
            AsnDecoder.ReadSequence(rest, AsnEncodingRules.DER, out offset, out contents, out used);
            ReadExtensions(rest.Slice(offset, contents), ref entry);
            rest = rest[used..];
        }

        return rest.IsEmpty ? entry : throw new AsnContentException("An entry of a CRL has more than it may have.");
    }

    /// <summary>Whether one of the extensions, which were read before, has this object identifier.</summary>
    private static bool Names(ReadOnlySpan<byte> extensions, ReadOnlySpan<byte> oid)
    {
        while (!extensions.IsEmpty)
        {
            AsnDecoder.ReadSequence(extensions, AsnEncodingRules.DER, out var offset, out _, out var used);
            if (extensions[offset..].StartsWith(oid))
            {
                return true;
            }

            extensions = extensions[used..];
        }

        return false;
    }

    private static void ReadExtensions(ReadOnlySpan<byte> extensions, ref Entry entry)
    {
        // §5.3: a critical entry extension that is not processed (such as certificateIssuer) makes the list unusable.
        // Of the reason codes only removeFromCRL is used. The invalidity date is ignored, because it does not change
        // that the certificate is revoked.
        ReadOnlySpan<byte> reasonCode = [0x06, 0x03, 0x55, 0x1D, 21];
        ReadOnlySpan<byte> invalidityDate = [0x06, 0x03, 0x55, 0x1D, 24];
        var all = extensions;
        for (var count = 1; !extensions.IsEmpty; count++)
        {
            var before = all[..^extensions.Length];
            AsnDecoder.ReadSequence(extensions, AsnEncodingRules.DER, out var offset, out var contents, out var used);
            var extension = extensions.Slice(offset, contents);
            extensions = extensions[used..];

            var tag = AsnDecoder.ReadEncodedValue(extension, AsnEncodingRules.DER, out _, out _, out used);
            if (tag != Asn1Tag.ObjectIdentifier)
            {
                throw new AsnContentException("An extension of a CRL entry has no object identifier.");
            }

            var oid = extension[..used];
            if (count > MaxExtensions || Names(before, oid))
            {
                throw new AsnContentException("An entry of a CRL has an extension twice, or too many.");
            }

            extension = extension[used..];
            var critical = false;
            if (Asn1Tag.Decode(extension, out _).HasSameClassAndValue(Asn1Tag.Boolean))
            {
                critical = AsnDecoder.ReadBoolean(extension, AsnEncodingRules.DER, out used);
                extension = extension[used..];
            }

            if (!AsnDecoder.TryReadPrimitiveOctetString(extension, AsnEncodingRules.DER, out var value, out used)
                || used != extension.Length)
            {
                throw new AsnContentException("An extension of a CRL entry has no value, or more than one.");
            }

            entry.IsRemoved |= oid.SequenceEqual(reasonCode) && value is [0x0A, 0x01, 0x08];
            entry.HasUnknownCriticalExtension |=
                critical && !oid.SequenceEqual(reasonCode) && !oid.SequenceEqual(invalidityDate);
        }
    }

    private ref struct Entry
    {
        public ReadOnlySpan<byte> Serial;
        public DateTimeOffset Date;
        public bool IsRemoved;
        public bool HasUnknownCriticalExtension;
    }
}
