using System.Buffers.Text;
using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Text;

namespace SecureMail.Trust;

/// <summary>
/// Reads the certificates or the CRLs of one file as other programs leave them: DER; PEM (RFC 7468) with any text
/// around, any line ends and a byte order mark, also in UTF-16; and a SignedData (<c>.p7b</c>, <c>.p7c</c>, RFC 8551
/// §3.8) in either form, for the certificates and CRLs in it. The objects are slices of the bytes of the file, which
/// are decoded in place, so that a long CRL lies in memory once.
/// </summary>
internal static class TrustFile
{
    private const long MaxSize = 128 << 20;
    private const string SignedData = "1.2.840.113549.1.7.2";

    /// <summary>The certificates of a file, each as <paramref name="read"/> made it; what it answers null for is left
    /// out.</summary>
    /// <exception cref="InvalidDataException">The file is larger than 128 MiB.</exception>
    /// <exception cref="IOException">The file cannot be opened.</exception>
    public static List<T> ReadCertificates<T>(string path, Func<ReadOnlyMemory<byte>, T?> read)
        where T : class => Read(path, ["CERTIFICATE", "X509 CERTIFICATE"], 0, read);

    /// <summary>The CRLs of a file.</summary>
    /// <inheritdoc cref="ReadCertificates"/>
    public static List<T> ReadCrls<T>(string path, Func<ReadOnlyMemory<byte>, T?> read)
        where T : class => Read(path, ["X509 CRL"], 1, read);

    private static List<T> Read<T>(
        string path, string[] labels, int setOfSignedData, Func<ReadOnlyMemory<byte>, T?> read)
        where T : class
    {
        if (new FileInfo(path).Length > MaxSize)
        {
            throw new InvalidDataException($"{Path.GetFileName(path)} is larger than {MaxSize >> 20} MiB");
        }

        var found = new List<T>();
        var data = WithoutByteOrderMark(File.ReadAllBytes(path));
        if (data.Span is [0x30, ..])
        {
            Add(data);
            return found;
        }

        while (PemEncoding.TryFindUtf8(data.Span, out PemFields fields))
        {
            var label = Encoding.ASCII.GetString(data.Span[fields.Label]);
            if ((labels.Contains(label) || label is "PKCS7" or "CMS" or "PKCS #7 SIGNED DATA")
                && Base64.DecodeFromUtf8InPlace(data.Span[fields.Base64Data], out var length)
                    == System.Buffers.OperationStatus.Done)
            {
                Add(data[fields.Base64Data][..length]);
            }

            data = data[fields.Location.End..];
        }

        return found;

        void Add(ReadOnlyMemory<byte> encoded)
        {
            if (read(encoded) is { } item)
            {
                found.Add(item);
                return;
            }

            found.AddRange(ObjectsOfSignedData(encoded, setOfSignedData).Select(read).OfType<T>());
        }
    }

    /// <summary>The bytes of the file; of a file in UTF-16, which has a byte order mark, its characters as
    /// bytes.</summary>
    private static Memory<byte> WithoutByteOrderMark(byte[] data) =>
        data switch
        {
            [0xEF, 0xBB, 0xBF, ..] => data.AsMemory(3),
            [0xFF, 0xFE, ..] => Encoding.Latin1.GetBytes(Encoding.Unicode.GetString(data, 2, data.Length - 2)),
            [0xFE, 0xFF, ..] =>
                Encoding.Latin1.GetBytes(Encoding.BigEndianUnicode.GetString(data, 2, data.Length - 2)),
            _ => data,
        };

    /// <summary>The certificates ([0]) or CRLs ([1]) of a SignedData (RFC 5652 §5.1); none when the bytes are something
    /// else. Other kinds of certificates and of revocation information are left out.</summary>
    private static List<ReadOnlyMemory<byte>> ObjectsOfSignedData(ReadOnlyMemory<byte> encoded, int wanted)
    {
        List<ReadOnlyMemory<byte>> objects = [];
        try
        {
            var contentInfo = new AsnReader(encoded, AsnEncodingRules.BER).ReadSequence();
            if (Asn1Oid.Read(contentInfo) != SignedData)
            {
                return [];
            }

            var signedData = contentInfo.ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 0)).ReadSequence();
            signedData.ReadEncodedValue(); // version
            signedData.ReadEncodedValue(); // digestAlgorithms
            signedData.ReadEncodedValue(); // encapContentInfo
            for (var number = 0; number <= wanted; number++)
            {
                var tag = new Asn1Tag(TagClass.ContextSpecific, number);
                if (!signedData.HasData || !signedData.PeekTag().HasSameClassAndValue(tag))
                {
                    continue;
                }

                var set = signedData.ReadSetOf(skipSortOrderValidation: true, tag);
                while (number == wanted && set.HasData)
                {
                    var isX509 = set.PeekTag().HasSameClassAndValue(Asn1Tag.Sequence);
                    var element = set.ReadEncodedValue();
                    if (isX509)
                    {
                        objects.Add(element);
                    }
                }
            }

            return objects;
        }
        catch (AsnContentException)
        {
            return [];
        }
    }
}
