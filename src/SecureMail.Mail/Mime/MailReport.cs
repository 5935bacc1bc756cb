using System.Text;

namespace SecureMail.Mail.Mime;

/// <summary>
/// A report (RFC 6522): text for people, groups of fields for programs, and optionally the message it reports on. A
/// disposition notification (RFC 8098) has one group of fields. A delivery status notification (RFC 3464) has one group
/// for the message and one for each recipient.
/// </summary>
public sealed class MailReport
{
    private const int MaxReportBytes = 256 * 1024;

    private MailReport(string reportType, string text, IReadOnlyList<IReadOnlyList<MimeHeader>> groups, MimePart report)
    {
        ReportType = reportType;
        Text = text;
        Groups = groups;
        Part = report;
    }

    /// <summary>"disposition-notification" or "delivery-status"; other types are read in the same way.</summary>
    public string ReportType { get; }

    /// <summary>The text for people; empty when the first part is not text/plain.</summary>
    public string Text { get; }

    /// <summary>The machine-readable fields, group by group.</summary>
    public IReadOnlyList<IReadOnlyList<MimeHeader>> Groups { get; }

    /// <summary>The multipart/report, which gives access to the other parts.</summary>
    public MimePart Part { get; }

    /// <summary>The value of a field, or null. Group 0 is the message's.</summary>
    public string? Field(string name, int group = 0) =>
        group < Groups.Count ? Groups[group].FirstOrDefault(h => h.Is(name))?.Value : null;

    /// <summary>Reads a multipart/report; null when the part is not one.</summary>
    /// <exception cref="MimeException">The part is declared as a report, but lacks the machine-readable part or breaks
    /// its grammar.</exception>
    public static MailReport? Read(MimePart part)
    {
        if (part.ContentType.MediaType != "multipart/report"
            || !part.ContentType.Parameters.TryGetValue("report-type", out var type))
        {
            return null;
        }
        // RFC 6522 §3: the second part is the machine-readable one, and report-type names its type.
        if (part.Children.Count < 2
            || !part.Children[1].ContentType.MediaType.Equals($"message/{type}", StringComparison.OrdinalIgnoreCase))
        {
            throw new MimeException(MimeReason.Malformed, "A report lacks the part that its report-type names.");
        }

        var text =
            part.Children[0].ContentType.MediaType == "text/plain" ? part.Children[0].ReadText(MaxReportBytes) : "";
        return new MailReport(type, text, FieldsOf(part.Children[1]), part);
    }

    /// <summary>Composes a disposition notification (RFC 8098 §3): what one recipient did with one message.</summary>
    /// <param name="disposition">The disposition type of §3.2.6, such as "processed", "deleted" or "displayed". The
    /// mode is always written as automatic.</param>
    /// <param name="parts">Further parts, such as our own receipt.</param>
    public static MimeEntity DispositionNotification(
        string text, string reportingUa, Mailbox finalRecipient, string? originalMessageId, string disposition,
        params IReadOnlyList<MimeEntity> parts)
    {
        var fields = MimeEntity
            .Fields()
            .AddText("Reporting-UA", reportingUa)
            .AddRaw("Final-Recipient", $"rfc822; {finalRecipient.Address}");
        if (originalMessageId is not null)
        {
            fields.AddRaw("Original-Message-ID", originalMessageId);
        }

        fields.AddRaw("Disposition", $"automatic-action/MDN-sent-automatically; {disposition}");
        return Report("disposition-notification", text, [fields], parts);
    }

    /// <summary>Composes a delivery status notification (RFC 3464 §2) about these recipients.</summary>
    public static MimeEntity DeliveryStatus(
        string text, string reportingMta, IReadOnlyList<RecipientStatus> recipients,
        params IReadOnlyList<MimeEntity> parts)
    {
        List<MimeEntity> groups = [MimeEntity.Fields().AddRaw("Reporting-MTA", $"dns; {reportingMta}")];
        foreach (var recipient in recipients)
        {
            var group = MimeEntity
                .Fields()
                .AddRaw("Final-Recipient", $"rfc822; {recipient.Recipient.Address}")
                .AddRaw("Action", recipient.Action)
                .AddRaw("Status", recipient.Status);
            if (recipient.Diagnostic is not null)
            {
                group.AddText("Diagnostic-Code", $"smtp; {recipient.Diagnostic}");
            }

            groups.Add(group);
        }

        return Report("delivery-status", text, groups, parts);
    }

    private static List<IReadOnlyList<MimeHeader>> FieldsOf(MimePart part)
    {
        using var stream = part.OpenDecoded();
        var buffer = new byte[MaxReportBytes + 1];
        var read = stream.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
        return read <= MaxReportBytes
            ? MimeReader.ReadFieldGroups(new ByteSource(new MemoryStream(buffer, 0, read)), MimeReaderOptions.Stored)
            : throw new MimeException(MimeReason.HeaderTooLarge, "A report is larger than 256 KiB.");
    }

    private static MimeEntity Report(
        string type, string text, IReadOnlyList<MimeEntity> groups, IReadOnlyList<MimeEntity> parts)
    {
        // RFC 3464 §2.1.1, RFC 8098 §3.1: the fields are 7bit text without a transfer encoding. These fields are short,
        // US-ASCII and folded.
        var machine = MimeEntity.Written(() =>
        {
            var buffer = new MemoryStream();
            buffer.Write(Encoding.ASCII.GetBytes($"Content-Type: message/{type}\r\n\r\n"));
            foreach (var group in groups)
            {
                group.WriteAsync(buffer).GetAwaiter().GetResult(); // writes to memory, so it completes at once
            }

            buffer.Position = 0;
            return buffer;
        });
        return MimeEntity.Multipart("report", [MimeEntity.Text(text), machine, .. parts], ("report-type", type));
    }
}

/// <summary>The delivery status of one recipient.</summary>
/// <param name="Action">RFC 3464 §2.3.3: "failed", "delayed", "delivered", "relayed", "expanded".</param>
/// <param name="Status">RFC 3463, such as "5.1.1".</param>
/// <param name="Diagnostic">The reply of the other server, or null.</param>
public sealed record RecipientStatus(Mailbox Recipient, string Action, string Status, string? Diagnostic);
