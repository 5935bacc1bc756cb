using System.Security.Cryptography;
using SecureMail.Exchange;
using SecureMail.Ledger;
using SecureMail.Mail.Mime;

namespace SecureMail.Gateway.Inbound;

/// <summary>Compares the parts of a dispatch with what its manifest says of them, and reads small signed
/// parts.</summary>
internal static class ManifestAgreement
{
    /// <summary>Whether the parts are the documents that the manifest names, in order, byte for byte.</summary>
    /// <exception cref="MimeException">A part cannot be decoded.</exception>
    public static bool Holds(Manifest manifest, IReadOnlyList<MimePart> parts)
    {
        if (manifest.Documents.Count != parts.Count)
        {
            return false;
        }

        foreach (var (document, part) in manifest.Documents.Zip(parts))
        {
            using var content = part.OpenDecoded();
            if (part.FileName != document.Name || !SHA256.HashData(content).AsSpan().SequenceEqual(document.Sha256))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The decoded bytes of a small part.</summary>
    /// <exception cref="WireFormatException">It is longer than <paramref name="limit"/> bytes.</exception>
    /// <exception cref="MimeException">It cannot be decoded.</exception>
    public static byte[] ReadPart(MimePart part, int limit)
    {
        using var content = part.OpenDecoded();
        using var bytes = new MemoryStream();
        var buffer = new byte[16 * 1024];
        for (int read; (read = content.Read(buffer)) > 0;)
        {
            bytes.Write(buffer, 0, read);
            if (bytes.Length > limit)
            {
                throw new WireFormatException(ReasonCode.FormatTooLarge, $"The part is longer than {limit} bytes.");
            }
        }

        return bytes.ToArray();
    }
}
