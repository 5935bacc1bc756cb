using System.Text.Json.Serialization;
using SecureMail.Cms;
using SecureMail.Mail.Mime;

namespace SecureMail.Verification;

/// <summary>The kind of a file. The wire names are those of CLI.md.</summary>
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

/// <summary>Finds the kind of a file from its first bytes. The file name is not used, because it can be
/// wrong.</summary>
public static class FileFormats
{
    /// <summary>How many of the first bytes decide.</summary>
    private const int HeadLength = 64 * 1024;

    /// <summary>ISO 32000-1, Annex H: readers accept the header anywhere within the first 1024 bytes.</summary>
    private const int PdfHeaderWithin = 1024;

    /// <summary>The fields of which a mail or a MIME entity has at least one. A text that only begins "Note: ..." has
    /// none.</summary>
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

    /// <summary>Finds the kind of a file.</summary>
    /// <param name="file">Seekable. It is read from its beginning, and its position is 0 afterwards.</param>
    public static async Task<FileFormat> DetectAsync(Stream file, CancellationToken cancellationToken)
    {
        var head = new byte[HeadLength];
        file.Position = 0;
        var count = await file.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, cancellationToken);
        file.Position = 0;
        return Detect(head.AsSpan(0, count));
    }

    /// <summary>Finds the kind of a file.</summary>
    /// <param name="head">The first 64 KiB of the file, or the whole file if it is shorter.</param>
    public static FileFormat Detect(ReadOnlySpan<byte> head)
    {
        // The order matters for a file that fits two kinds. Bytes that must be the first ones are looked for before
        // bytes that may come later.
        if (head.StartsWith("%PDF-"u8))
        {
            return FileFormat.Pdf;
        }

        if (LooksLikeMail(head[MailMessage.HeaderStart(head)..]))
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
