using System.Formats.Asn1;
using System.Text;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>The content type of a ContentInfo (RFC 5652 §3).</summary>
public enum CmsKind
{
    /// <summary>Not CMS.</summary>
    None,

    /// <summary>Signed (RFC 5652 §5); <see cref="CmsSignedData"/> reads it.</summary>
    SignedData,

    /// <summary>Encrypted without authentication (RFC 5652 §6); <see cref="CmsDecryptor"/> reads it.</summary>
    EnvelopedData,

    /// <summary>Encrypted and authenticated (RFC 5083); <see cref="CmsDecryptor"/> reads it.</summary>
    AuthEnvelopedData,

    /// <summary>CMS of a kind that is recognised but not supported: compressed, digested, encrypted under a shared
    /// key.</summary>
    Other,
}

/// <summary>
/// Detects from the first bytes whether a file is CMS, and of which kind, in DER, BER or PEM; and reads each of them as
/// BER. File names and declared media types are ignored, because they may be false.
/// </summary>
public static class CmsFormat
{
    /// <summary>Bytes at the beginning of a file that are needed for detection.</summary>
    public const int DetectionLength = 4096;

    /// <summary>Detects the kind of CMS that begins with these bytes.</summary>
    /// <param name="head">The beginning of the file: <see cref="DetectionLength"/> bytes, or the whole file when it is
    /// shorter.</param>
    public static CmsKind Detect(ReadOnlySpan<byte> head)
    {
        var decoded = IsPem(head) ? DecodePemHead(head) : null;
        return DetectBer(decoded ?? head);
    }

    /// <summary>Detects the kind of CMS in DER or BER that begins with these bytes. A PEM block is none.</summary>
    /// <param name="head">As for <see cref="Detect"/>.</param>
    public static CmsKind DetectBer(ReadOnlySpan<byte> head)
    {
        // SEQUENCE, its length in any form, OBJECT IDENTIFIER.
        if (head.Length < 4 || head[0] != Der.Sequence)
        {
            return CmsKind.None;
        }

        var lengthSize = head[1] <= 0x80 ? 0 : head[1] & 0x7F;
        var at = 2 + lengthSize;
        if (lengthSize > 7 || at + 2 > head.Length || head[at] != 0x06 || head[at + 1] > 0x7F)
        {
            return CmsKind.None;
        }

        var end = at + 2 + head[at + 1];
        return end > head.Length ? CmsKind.None : KindOf(head[at..end]);
    }

    /// <summary>A stream over DER or BER, decoded when the source is PEM. Reads the first bytes of the source. The
    /// caller keeps and disposes the source.</summary>
    internal static async ValueTask<Stream> DecodePemAsync(Stream source, CancellationToken cancellationToken)
    {
        var head = new byte[DetectionLength];
        var count = await source.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, cancellationToken);
        Stream whole = new PushbackStream(head.AsMemory(0, count), source);
        return IsPem(head.AsSpan(0, count)) ? new PemDecodingStream(whole) : whole;
    }

    /// <summary>Reads ContentInfo (RFC 5652 §3) up to the content and returns its kind. The reader is then at
    /// [0].</summary>
    /// <exception cref="CmsException">The input is not CMS, or damaged.</exception>
    internal static async ValueTask<CmsKind> ReadContentInfoAsync(BerReader reader, CancellationToken cancellationToken)
    {
        if (await reader.PeekTagAsync(cancellationToken) != Der.Sequence)
        {
            throw new CmsException(CmsError.NotCms, "this is not CMS");
        }

        await reader.EnterAsync(Der.Sequence, cancellationToken);
        var type = await reader.ReadElementAsync(cancellationToken);
        CmsKind kind = KindOf(type);
        return kind == CmsKind.None ? throw new CmsException(CmsError.NotCms, "this is not CMS") : kind;
    }

    private static CmsKind KindOf(ReadOnlySpan<byte> objectIdentifier)
    {
        try
        {
            return AsnDecoder.ReadObjectIdentifier(objectIdentifier, AsnEncodingRules.BER, out _) switch
            {
                Oids.SignedData => CmsKind.SignedData,
                Oids.EnvelopedData => CmsKind.EnvelopedData,
                Oids.AuthEnvelopedData => CmsKind.AuthEnvelopedData,
                Oids.Data or Oids.DigestedData or Oids.EncryptedData or Oids.AuthenticatedData or Oids.CompressedData =>
                    CmsKind.Other,
                _ => CmsKind.None,
            };
        }
        catch (AsnContentException)
        {
            return CmsKind.None;
        }
    }

    private static bool IsPem(ReadOnlySpan<byte> head)
    {
        // A ContentInfo in BER begins with 0x30, the digit '0'. Text that looks like ContentInfo is not PEM, because
        // the two cannot be distinguished.
        var begin = head.IndexOf("-----BEGIN "u8);
        var startsLine = begin == 0 || (begin > 0 && head[begin - 1] == (byte)'\n');
        var followsMark = begin == 3 && head.StartsWith("\uFEFF"u8);
        if (!(startsLine || followsMark) || DetectBer(head) != CmsKind.None)
        {
            return false;
        }

        ReadOnlySpan<byte> line = head[begin..];
        var end = line.IndexOf((byte)'\n');
        return end >= 0 && PemDecodingStream.IsBeginLine(line[..end]);
    }

    private static byte[]? DecodePemHead(ReadOnlySpan<byte> head)
    {
        var begin = head.IndexOf("-----BEGIN "u8);
        var line = head[begin..].IndexOf((byte)'\n');
        if (line < 0)
        {
            return null;
        }

        var text = new StringBuilder();
        foreach (var b in head[(begin + line)..])
        {
            if (b == '-' || text.Length == 64)
            {
                break;
            }

            if (!char.IsWhiteSpace((char)b))
            {
                text.Append((char)b);
            }
        }
        var decoded = new byte[48];
        var whole = text.ToString(0, text.Length & ~3);
        return Convert.TryFromBase64String(whole, decoded, out var written) ? decoded[..written] : null;
    }
}
