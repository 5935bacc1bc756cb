using System.Text.Json.Serialization;
using SecureMail.Cms;

namespace SecureMail.Verification;

/// <summary>What kind of file it is; wire names as in CLI.md.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<FileFormat>))]
public enum FileFormat
{
    /// <summary>None of the others.</summary>
    [JsonStringEnumMemberName("unknown")]
    Unknown,

    /// <summary>A message, or one entity of it.</summary>
    [JsonStringEnumMemberName("mime")]
    Mime,

    /// <summary>CMS in DER, BER or PEM.</summary>
    [JsonStringEnumMemberName("cms")]
    Cms,

    /// <summary>PDF.</summary>
    [JsonStringEnumMemberName("pdf")]
    Pdf,
}

/// <summary>Finds the kind of a file from its first octets. Its name is not asked: names lie.</summary>
public static class FileFormats
{
    /// <summary>So many first octets decide.</summary>
    private const int HeadLength = 64 * 1024;

    /// <summary>ISO 32000-1, Annex H: readers accept the header anywhere within so many first octets.</summary>
    private const int PdfHeaderWithin = 1024;

    /// <summary>Fields that make a header a mail's or a MIME entity's: text that merely begins "Note: ..." is
    /// neither.</summary>
    private static readonly HashSet<string> KnownFields = new(StringComparer.OrdinalIgnoreCase)
    {
        "From",
        "To",
        "Cc",
        "Subject",
        "Date",
        "Sender",
        "Reply-To",
        "Message-ID",
        "Received",
        "Return-Path",
        "Delivered-To",
        "DKIM-Signature",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
        "Content-Disposition",
    };

    /// <param name="file">Seekable; read from its beginning and left there.</param>
    public static async Task<FileFormat> DetectAsync(Stream file, CancellationToken cancellationToken)
    {
        var head = new byte[HeadLength];
        file.Position = 0;
        var count = await file.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, cancellationToken);
        file.Position = 0;
        return Detect(head.AsSpan(0, count));
    }

    /// <param name="head">The first 64 KiB, or all there is.</param>
    public static FileFormat Detect(ReadOnlySpan<byte> head)
    {
        // The order matters where a file fits twice: octets that must stand first go before those that may come late.
        if (head.StartsWith("%PDF-"u8))
        {
            return FileFormat.Pdf;
        }

        if (LooksLikeMail(head))
        {
            return FileFormat.Mime;
        }

        if (CmsFormat.Detect(head[..Math.Min(head.Length, CmsFormat.DetectionLength)]) != CmsKind.None)
        {
            return FileFormat.Cms;
        }

        return head[..Math.Min(head.Length, PdfHeaderWithin)].IndexOf("%PDF-"u8) >= 0
            ? FileFormat.Pdf
            : FileFormat.Unknown;
    }

    /// <summary>The first line is a header field (RFC 5322 §2.2), and one of the fields is known, or the header is
    /// longer than what is looked at.</summary>
    private static bool LooksLikeMail(ReadOnlySpan<byte> head)
    {
        if (FieldName(head) is null)
        {
            return false;
        }

        while (!head.IsEmpty)
        {
            var end = head.IndexOf((byte)'\n');
            var line = end < 0 ? head : head[..end];
            if (line.TrimEnd((byte)'\r').IsEmpty)
            {
                return false;
            }

            if (FieldName(line) is { } name && KnownFields.Contains(name))
            {
                return true;
            }

            if (end < 0)
            {
                return false;
            }

            head = head[(end + 1)..];
        }

        return false;
    }

    private static string? FieldName(ReadOnlySpan<byte> line)
    {
        var colon = line.IndexOf((byte)':');
        // RFC 5322 §3.6.8: printable characters but the colon; its obsolete syntax (§4.5.8) lets blanks stand before
        // the colon.
        var name = colon is > 0 and <= 998 ? line[..colon].TrimEnd(" \t"u8) : [];
        return name.IsEmpty || name.IndexOfAnyExceptInRange((byte)'!', (byte)'~') >= 0
            ? null
            : System.Text.Encoding.ASCII.GetString(name);
    }
}
