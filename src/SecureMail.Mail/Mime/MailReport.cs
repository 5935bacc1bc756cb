using System.Text;

namespace SecureMail.Mail.Mime;

/// <summary>
/// Reports (RFC 6522): a sentence for people, groups of fields for programs, and perhaps the message they speak of.
/// Disposition notifications (RFC 8098) have one group; delivery status (RFC 3464) has one for the message and one for
/// each recipient.
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

    /// <summary>"disposition-notification" or "delivery-status"; others are read alike.</summary>
    public string ReportType { get; }

    /// <summary>What people read; empty when the first part is no text.</summary>
    public string Text { get; }

    /// <summary>The machine-readable fields, group by group.</summary>
    public IReadOnlyList<IReadOnlyList<MimeHeader>> Groups { get; }

    /// <summary>The multipart/report itself, for its other parts.</summary>
    public MimePart Part { get; }

    /// <summary>The value of a field, or null: the group is 0 for the message.</summary>
    public string? Field(string name, int group = 0) =>
        group < Groups.Count ? Groups[group].FirstOrDefault(h => h.Is(name))?.Value : null;

    /// <summary>Reads a multipart/report; null when the part is none.</summary>
    /// <exception cref="MimeException">It says it is a report and is not one.</exception>
    public static MailReport? Read(MimePart part)
    {
        if (part.ContentType.MediaType != "multipart/report"
            || !part.ContentType.Parameters.TryGetValue("report-type", out var type))
        {
            return null;
        }
        // RFC 6522 §3: the second part is the machine-readable one, named by report-type.
        if (part.Children.Count < 2
            || !part.Children[1].ContentType.MediaType.Equals($"message/{type}", StringComparison.OrdinalIgnoreCase))
        {
            throw new MimeException(MimeReason.Malformed, "A report lacks the part that its report-type names.");
        }

        var text =
            part.Children[0].ContentType.MediaType == "text/plain" ? part.Children[0].ReadText(MaxReportBytes) : "";
        return new MailReport(type, text, FieldsOf(part.Children[1]), part);
    }

    /// <summary>
    /// A disposition notification (RFC 8098 §3): the answer to one message by one recipient.
    /// </summary>
    /// <param name="disposition">The disposition type: "processed", "deleted", "displayed" … (§3.2.6); the mode written
    /// is automatic.</param>
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

    /// <summary>A delivery status notification (RFC 3464 §2) about the recipients named.</summary>
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
            ? MimeReader.ReadFieldGroups(new OctetSource(new MemoryStream(buffer, 0, read)), MimeReaderOptions.Stored)
            : throw new MimeException(MimeReason.HeaderTooLarge, "A report is larger than 256 KiB.");
    }

    private static MimeEntity Report(
        string type, string text, IReadOnlyList<MimeEntity> groups, IReadOnlyList<MimeEntity> parts)
    {
        // RFC 3464 §2.1.1, RFC 8098 §3.1: the fields are 7bit text and not encoded; ours are short, US-ASCII and
        // folded.
        var machine = MimeEntity.Written(() =>
        {
            var buffer = new MemoryStream();
            buffer.Write(Encoding.ASCII.GetBytes($"Content-Type: message/{type}\r\n\r\n"));
            foreach (var group in groups)
            {
                group.WriteAsync(buffer).GetAwaiter().GetResult(); // to memory: completes at once
            }

            buffer.Position = 0;
            return buffer;
        });
        return MimeEntity.Multipart("report", [MimeEntity.Text(text), machine, .. parts], ("report-type", type));
    }
}

/// <summary>What became of one recipient.</summary>
/// <param name="Action">RFC 3464 §2.3.3: "failed", "delayed", "delivered", "relayed", "expanded".</param>
/// <param name="Status">RFC 3463, such as "5.1.1".</param>
/// <param name="Diagnostic">The other server's reply, or null.</param>
public sealed record RecipientStatus(Mailbox Recipient, string Action, string Status, string? Diagnostic);
