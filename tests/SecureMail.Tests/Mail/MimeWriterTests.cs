using System.Text;
using FsCheck;
using FsCheck.Fluent;
using SecureMail.Mail.Mime;

namespace SecureMail.Tests.Mail;

public class MimeWriterTests
{
    private const string Nfc = "Về việc tổ chức Hội nghị: \u0110\u1eb7ng V\u0103n";
    private const string Nfd = "Ve\u0302\u0300 vie\u0323\u0302c to\u0302\u0309 chu\u031b\u0301c";

    private static async Task<byte[]> WriteAsync(MimeEntity entity)
    {
        var memory = new MemoryStream();
        await entity.WriteAsync(memory);
        return memory.ToArray();
    }

    private static byte[] Write(MimeEntity entity) => WriteAsync(entity).GetAwaiter().GetResult();

    private static MimePart Read(byte[] octets) => MailMessage.Parse(octets).Root;

    /// <summary>What a relay would find to change, if anything.</summary>
    private static void ShouldSurviveRelays(byte[] octets)
    {
        var text = Encoding.Latin1.GetString(octets);
        text.All(c => c < 128).ShouldBeTrue();
        text.EndsWith("\r\n", StringComparison.Ordinal).ShouldBeTrue();
        foreach (var line in text[..^2].Split("\r\n"))
        {
            line.Length.ShouldBeLessThanOrEqualTo(76);
            line.ShouldBe(line.TrimEnd(' ', '\t'));
            line.ShouldNotContain("\r");
            line.ShouldNotContain("\n");
            line.StartsWith("From ", StringComparison.Ordinal).ShouldBeFalse();
            line.StartsWith('.').ShouldBeFalse();
        }
    }

    [Fact]
    public async Task A_written_message_reads_back_and_gives_relays_nothing_to_change()
    {
        var binary = Enumerable.Range(0, 100_000).Select(i => (byte)(i * 7)).ToArray();
        var text = "From the start\n.dot\n--boundary?\nđầu dòng  \ntail \r\nx" + new string('y', 300) + "\nend";
        var message = MimeEntity
            .Multipart(
                "mixed",
                [
                    MimeEntity.Text(text),
                    MimeEntity.Leaf(
                        MimeContentType.Of("application/pdf"), () => new MemoryStream(binary),
                        fileName: "Công văn số 36-HD/VPTW (bản chính thức của Văn phòng).pdf"),
                ])
            .AddMailboxes("From", [new Mailbox("Văn thư Tỉnh ủy", "vanthu@tinhuy.vn")])
            .AddMailboxes("To", [.. Enumerable.Range(0, 40).Select(i => new Mailbox($"Xã số {i}", $"xa{i}@huyen.vn"))])
            .AddText("Subject", Nfc)
            .AddDate("Date", DateTimeOffset.UnixEpoch)
            .AddRaw("MIME-Version", "1.0");
        var octets = await WriteAsync(message);
        ShouldSurviveRelays(octets);

        var mail = MailMessage.Parse(octets);
        mail.Subject.ShouldBe(Nfc);
        mail.Mailboxes("To").Count.ShouldBe(40);
        mail.Mailboxes("To")[39].DisplayName.ShouldBe("Xã số 39");
        mail.Root.Children[0].ReadText(10_000).ShouldBe(text.ReplaceLineEndings("\r\n"));
        mail.Root.Children[1].FileName.ShouldBe("Công văn số 36-HD/VPTW (bản chính thức của Văn phòng).pdf");
        var body = new MemoryStream();
        mail.Root.Children[1].OpenDecoded().CopyTo(body);
        body.ToArray().ShouldBe(binary);
    }

    [Fact]
    public void A_file_name_is_written_for_new_clients_and_for_old()
    {
        var text = Encoding.ASCII.GetString(
            Write(
                MimeEntity.Leaf(MimeContentType.Of("application/pdf"), () => new MemoryStream(), fileName: "Đề án.pdf"))
        );
        text.ShouldContain("name=\"=?UTF-8?B?");
        text.ShouldContain("filename*=UTF-8''%C4%90%E1%BB%81%20%C3%A1n.pdf");
    }

    [Theory]
    [InlineData(Nfc)]
    [InlineData(Nfd)]
    public void Composed_and_decomposed_letters_both_come_back_as_they_were(string name)
    {
        var part = Read(
            Write(
                MimeEntity
                    .Leaf(MimeContentType.Of("a/b"), () => new MemoryStream("x"u8.ToArray()), fileName: name)
                    .AddText("Subject", name)));
        part.FileName.ShouldBe(name);
        part.ContentType.Parameters["name"].ShouldBe(name);
        part.Header("Subject")!.Text.ShouldBe(name);
    }

    [Fact]
    public void Any_text_a_header_may_hold_comes_back_exactly()
    {
        var rune = Gen.OneOf(
            Gen.Choose(' ', '~').Select(c => ((char)c).ToString()),
            Gen.Elements(
                "ế", "e\u0302\u0301", "Đ", "=?", "?=", "_", "\"", "\\", "'", "%", ";", " ", "  ", "\t", "📄", "\u00a0"));
        var text = rune.ListOf().Select(string.Concat);
        Check.QuickThrowOnFailure(Prop.ForAll(text.ToArbitrary(), value =>
            {
                var mailbox = new Mailbox(value, "a@b.vn");
                var octets = Write(
                    MimeEntity
                        .Leaf(MimeContentType.Of("a/b"), () => new MemoryStream("x"u8.ToArray()), fileName: value)
                        .AddText("Subject", value)
                        .AddMailboxes("From", [mailbox]));
                ShouldSurviveRelays(octets);
                var part = Read(octets);
                return part.Header("Subject")!.Text == value
                    && part.FileName == value
                    && (part.Mailboxes("From")[0].DisplayName ?? "") == value;
            }));
    }

    [Fact]
    public void Any_text_comes_back_from_quoted_printable()
    {
        var gen = Gen.Elements("\r\n", " ", "\t", "=", ".", "From ", "-", "ắ", "x", "\r", new string('z', 80))
            .ListOf()
            .Select(string.Concat);
        Check.QuickThrowOnFailure(Prop.ForAll(gen.ToArbitrary(), value =>
            {
                var octets = Write(MimeEntity.Text(value));
                ShouldSurviveRelays(octets);
                return Read(octets).ReadText(100_000) == value;
            }));
    }

    [Fact]
    public async Task A_written_entity_is_copied_octet_for_octet()
    {
        var inner = await WriteAsync(MimeEntity.Text("đã ký"));
        var outer = Read(
            await WriteAsync(
                MimeEntity.Multipart(
                    "signed", [MimeEntity.Written(() => new MemoryStream(inner)), MimeEntity.Text("x")],
                    ("micalg", "sha-256"))));
        var raw = new MemoryStream();
        outer.Children[0].OpenRaw().CopyTo(raw);
        raw.ToArray().ShouldBe(inner);
        outer.ContentType.Parameters["micalg"].ShouldBe("sha-256");
    }

    [Fact]
    public async Task A_disposition_notification_is_read_back()
    {
        var report = MailReport.DispositionNotification(
            "Đã nhận.",
            "SecureMail; gateway",
            new Mailbox(null, "xa@huyen.vn"),
            "<1@a.vn>",
            "processed",
            [
                MimeEntity.Leaf(MimeContentType.Of("application/vnd.securemail.receipt+json"), () =>
                    new MemoryStream("{}"u8.ToArray())),
            ]);
        var octets = await WriteAsync(report);
        ShouldSurviveRelays(octets);
        var read = MailReport.Read(Read(octets))!;
        read.ReportType.ShouldBe("disposition-notification");
        read.Text.ShouldBe("Đã nhận.");
        read.Field("Final-Recipient").ShouldBe("rfc822; xa@huyen.vn");
        read.Field("original-message-id").ShouldBe("<1@a.vn>");
        read.Field("Disposition").ShouldBe("automatic-action/MDN-sent-automatically; processed");
        read.Part.Children[2].ContentType.MediaType.ShouldBe("application/vnd.securemail.receipt+json");
    }

    [Fact]
    public async Task A_delivery_status_has_a_group_for_each_recipient()
    {
        var octets = await WriteAsync(
            MailReport.DeliveryStatus(
                "Không gửi được.",
                "mx.a.vn",
                [
                    new RecipientStatus(new Mailbox(null, "x@b.vn"), "failed", "5.1.1", "550 5.1.1 no such user"),
                    new RecipientStatus(new Mailbox(null, "y@b.vn"), "delayed", "4.4.1", null),
                ]));
        var read = MailReport.Read(Read(octets))!;
        read.Groups.Count.ShouldBe(3);
        read.Field("Status", 1).ShouldBe("5.1.1");
        read.Field("Diagnostic-Code", 1).ShouldBe("smtp; 550 5.1.1 no such user");
        read.Field("Action", 2).ShouldBe("delayed");
        MailReport.Read(Read("Subject: x\r\n\r\n"u8.ToArray())).ShouldBeNull();
    }

    [Fact]
    public void A_report_without_the_part_it_names_is_refused() =>
        Should
            .Throw<MimeException>(() =>
                MailReport.Read(
                    Read(
                        Encoding.ASCII.GetBytes(
                            "Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n\r\n--x\r\n\r\n"
                                + "a\r\n--x\r\n\r\nb\r\n--x--\r\n"))))
            .Reason.ShouldBe(MimeReason.Malformed);
}
