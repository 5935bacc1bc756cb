using System.Text;
using SecureMail.Mail.Mime;
using SecureMail.TestKit.Mutators;

namespace SecureMail.Tests.Fuzzing;

/// <summary>Messages, their header fields and reports.</summary>
internal static class MailTargets
{
    private static readonly Mutator[] Text = [LineMutator.Mutate, LineMutator.Mutate, OctetMutator.Mutate];

    /// <summary>Parts lie within their parent and beside each other. What the strict reader takes the lenient one
    /// takes, with the same parts.</summary>
    public static FuzzTarget Mime { get; } =
        new("mime", "the structure of a message (RFC 2045, RFC 2046)", _ => ReadMime)
        {
            Refusals = [typeof(MimeException)],
            Mutators = Text,
            Vectors = ["mail/*.eml"],
            Mutants = 3000,
            // Four octets make a part, and its decoders take some kilobytes while it is read.
            MaxAllocated = 32 << 20,
        };

    /// <summary>What is read is read again from what we write of it.</summary>
    public static FuzzTarget Header { get; } =
        new(
            "header", "values of header fields: addresses, types, dates, encoded words (RFC 5322, RFC 2047)",
            _ => ReadHeader)
        {
            Mutators = Text,
            Mutants = 3000,
            MaxAllocated = 32 << 20,
        };

    /// <summary>The fields of a report are lines, and its text is no longer than the limit.</summary>
    public static FuzzTarget Report { get; } =
        new("report", "disposition and delivery status notifications (RFC 6522, RFC 8098, RFC 3464)", _ => ReadReport)
        {
            Refusals = [typeof(MimeException)],
            Mutators = Text,
        };

    private static string ReadMime(byte[] input)
    {
        var stored = PartsOf(input, MimeReaderOptions.Stored);
        try
        {
            var received = PartsOf(input, MimeReaderOptions.Received);
            received.ShouldBe(stored);
        }
        catch (MimeException)
        {
            // The strict reader refuses more.
        }

        return $"{Math.Min(stored.Count, 20)} parts, {string.Join(',', stored.Select(p => p.Type).Distinct().Take(3))}";
    }

    private static List<(long Offset, long BodyOffset, long Length, string Type, string? FileName)> PartsOf(
        byte[] input, MimeReaderOptions options)
    {
        var root = MailMessage.Parse(input, options).Root;
        foreach (var part in root.DescendantsAndSelf())
        {
            part.BodyOffset.ShouldBeGreaterThanOrEqualTo(part.Offset);
            part.BodyLength.ShouldBeGreaterThanOrEqualTo(0);
            (part.Offset + part.Length).ShouldBeLessThanOrEqualTo(input.Length);
            var from = part.BodyOffset;
            // A part that is empty lies at the line end that belongs to the delimiter behind it.
            foreach (var child in part.Children.Where(c => c.Length > 0))
            {
                child.Offset.ShouldBeGreaterThanOrEqualTo(from);
                from = child.Offset + child.Length;
            }

            from.ShouldBeLessThanOrEqualTo(part.Offset + part.Length);
            Decode(part);
        }

        return
        [
            .. root.DescendantsAndSelf()
                .Select(p => (p.Offset, p.BodyOffset, p.Length, p.ContentType.MediaType, p.FileName)),
        ];
    }

    private static void Decode(MimePart part)
    {
        try
        {
            part.OpenDecoded().CopyTo(Stream.Null);
            part.ReadText(1 << 20);
        }
        catch (MimeException)
        {
            // A body that does not decode leaves the structure as it is.
        }
    }

    private static string? ReadHeader(byte[] input)
    {
        var text = Encoding.UTF8.GetString(input);
        EncodedWord.Decode(text);
        if (MailDate.TryParse(text, out var date))
        {
            MailDate.TryParse(MailDate.Format(date), out var again).ShouldBeTrue();
            again.ShouldBe(date);
            return "date";
        }

        return Mailboxes(text) ?? ContentType(text) ?? Field(input);
    }

    private static string? Mailboxes(string text)
    {
        try
        {
            var mailboxes = Mailbox.ParseList(text);
            foreach (var mailbox in mailboxes.Take(20))
            {
                var again = Mailbox.Parse(mailbox.Address);
                again.IsSameAddressAs(mailbox).ShouldBeTrue();
                again.Address.ShouldBe(mailbox.Address);
            }

            return $"{Math.Min(mailboxes.Count, 10)} mailboxes";
        }
        catch (MimeException)
        {
            return null;
        }
    }

    private static string? ContentType(string text)
    {
        try
        {
            var type = MimeContentType.Parse(text);
            type.MediaType.ShouldBe(type.MediaType.ToLowerInvariant());
            return $"{type.MediaType.Length > 0} with {Math.Min(type.Parameters.Count, 10)} parameters";
        }
        catch (MimeException)
        {
            return null;
        }
    }

    private static string? Field(byte[] input)
    {
        try
        {
            var field = MimeHeader.Read(input, 0);
            field.Value.ShouldNotContain('\r');
            field.Value.ShouldNotContain('\n');
            return $"field {field.Text != field.Value}";
        }
        catch (MimeException)
        {
            return null;
        }
    }

    private static string? ReadReport(byte[] input)
    {
        if (MailReport.Read(MailMessage.Parse(input, MimeReaderOptions.Stored).Root) is not { } report)
        {
            return null;
        }

        report.Text.Length.ShouldBeLessThanOrEqualTo(256 * 1024);
        report.Groups.SelectMany(g => g).ShouldAllBe(h => !h.Value.Contains('\n', StringComparison.Ordinal));
        report.Field("Final-Recipient", report.Groups.Count).ShouldBeNull();
        var recipient = report.Field("Final-Recipient") ?? report.Field("Final-Recipient", 1);
        return $"{report.ReportType.Length > 0} {Math.Min(report.Groups.Count, 5)} groups, "
            + $"recipient {recipient is not null}";
    }
}
