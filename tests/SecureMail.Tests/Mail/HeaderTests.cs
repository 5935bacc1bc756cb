using System.Text;
using SecureMail.Mail.Mime;

namespace SecureMail.Tests.Mail;

public class HeaderTests
{
    private static MimeReason Refusal(Action action) => Should.Throw<MimeException>(action).Reason;

    [Theory]
    [InlineData("=?UTF-8?B?Q8O0bmcgdsSDbg==?=", "Công văn")]
    [InlineData("=?utf-8?q?C=C3=B4ng_v=C4=83n?= 12", "Công văn 12")]
    [InlineData("=?UTF-8?B?Q8O0?= =?UTF-8?B?bmc=?=", "Công")]
    [InlineData("=?UTF-8?B?Q8M=?=  =?UTF-8?B?tG5n?=", "Công")] // a character split between two words
    [InlineData("=?UTF-8?Q?a?= b =?UTF-8?Q?c?=", "a b c")]
    [InlineData("=?windows-1258?Q?C=F4ng?=", "Công")]
    [InlineData("=?iso-8859-1*fr?Q?=E9t=E9?=", "été")]
    [InlineData("=?UTF-8?B?Q8O0bmcgdsSDbg?=", "Công văn")] // padding left out
    [InlineData("=?utf-7?Q?+ADw-?=", "=?utf-7?Q?+ADw-?=")]
    [InlineData("=?UTF-8?X?a?=", "=?UTF-8?X?a?=")]
    [InlineData("=?UTF-8?Q?=ZZ?= =?", "=?UTF-8?Q?=ZZ?= =?")]
    public void Encoded_words_are_decoded_or_left_alone(string value, string text) =>
        EncodedWord.Decode(value).ShouldBe(text);

    [Theory]
    [InlineData("application/pdf; name*=UTF-8''C%C3%B4ng%20v%C4%83n.pdf", "Công văn.pdf")]
    [InlineData("application/pdf; name*1*=%C4%83n.pdf; name*0*=UTF-8'vi'C%C3%B4ng%20v", "Công văn.pdf")]
    [InlineData("application/pdf; name*0=\"a \"; name*1=b.pdf", "a b.pdf")]
    [InlineData("application/pdf; name=\"=?UTF-8?B?Q8O0bmc=?= =?UTF-8?Q?_v=C4=83n?=\"", "Công văn")]
    [InlineData("application/pdf; name=plain.pdf; name*=UTF-8''%C4%91.pdf", "đ.pdf")]
    [InlineData("application/pdf; name=\"a\\\"b\" (comment (nested)) ;", "a\"b")]
    [InlineData("application/pdf; name=not quoted.pdf; x=y", "not quoted.pdf")]
    public void File_names_are_read_in_every_form(string value, string name) =>
        MimeContentType.Parse(value).Parameters["name"].ShouldBe(name);

    [Theory]
    [InlineData("multipart/signed; boundary=\"x\" protocol=\"p/q\"")]
    [InlineData("multipart/signed;; boundary=\"x\"; ; protocol=p/q;")]
    [InlineData("multipart/signed; windows-1258; boundary=\"x\"; protocol=p/q; charset")]
    [InlineData("multipart/signed; boundary=\"x\"; charset=; protocol=p/q")]
    [InlineData("multipart/signed; boundary=x; protocol=p/q; boundary=\"x\"")]
    [InlineData("multipart/signed; micalg=sha-256; protocol=p/q; boundary=x (a comment)")]
    [InlineData("multipart / signed (c) ; boundary = \"x\" ; protocol = p/q")]
    [InlineData("Multipart/Signed; boundary*=us-ascii''x; PROTOCOL=p/q; boundary=x")]
    public void Damage_with_one_reading_is_read(string value)
    {
        var type = MimeContentType.Parse(value);
        type.MediaType.ShouldBe("multipart/signed");
        type.Parameters["boundary"].ShouldBe("x");
        type.Parameters["protocol"].ShouldBe("p/q");
    }

    [Theory]
    [InlineData("text", MimeReason.Malformed)]
    [InlineData("text/", MimeReason.Malformed)]
    [InlineData("text/plain; a=1; A=2", MimeReason.Malformed)]
    [InlineData("text/plain; a=\"x", MimeReason.Malformed)]
    [InlineData("text/plain; (open", MimeReason.Malformed)]
    [InlineData("text/plain y", MimeReason.Malformed)]
    [InlineData("text/plain x=y", MimeReason.Malformed)]
    [InlineData("multipart/signed boundary=\"x\"; protocol=p/q", MimeReason.Malformed)]
    [InlineData("text/plain; a=\"x\"y", MimeReason.Malformed)]
    [InlineData("text/plain; a=\"x\"b=y", MimeReason.Malformed)]
    [InlineData("multipart/mixed; boundary=x y=z", MimeReason.Malformed)]
    [InlineData("multipart/mixed; boundary=x y", MimeReason.Malformed)]
    [InlineData("multipart/mixed; charset=x boundary=\"y\"", MimeReason.Malformed)]
    [InlineData("text/plain; a*b=x", MimeReason.Malformed)]
    [InlineData("text/plain; a'b=x", MimeReason.Malformed)]
    [InlineData("text/plain; a%b=x", MimeReason.Malformed)]
    [InlineData("text/plain; *0=x", MimeReason.Malformed)]
    [InlineData("multipart/mixed; boundary=x; boundary=y", MimeReason.Malformed)]
    [InlineData("multipart/mixed; boundary=x; boundary*=us-ascii''y", MimeReason.Malformed)]
    [InlineData("application/pdf; name=a b=c.pdf", MimeReason.Malformed)]
    public void A_type_that_breaks_the_grammar_is_refused(string value, MimeReason reason) =>
        Refusal(() => MimeContentType.Parse(value)).ShouldBe(reason);

    [Fact]
    public void Limits_hold_for_parameters_comments_and_addresses()
    {
        Refusal(() => MimeContentType.Parse("a/b" + string.Concat(Enumerable.Range(0, 200).Select(i => $"; p{i}=1"))))
            .ShouldBe(MimeReason.TooManyParameters);
        Refusal(() => Mailbox.ParseList(new string('(', 100_000))).ShouldBe(MimeReason.TooDeep);
        Refusal(() => Mailbox.ParseList(string.Join(",", Enumerable.Repeat("a@b", 6000))))
            .ShouldBe(MimeReason.TooManyAddresses);
        Refusal(() => Mailbox.Parse(new string('a', 65) + "@b")).ShouldBe(MimeReason.InvalidAddress);
    }

    [Theory]
    [InlineData("a@b.vn", null, "a@b.vn")]
    [InlineData("Văn thư <vanthu@tinhuy.vn>", "Văn thư", "vanthu@tinhuy.vn")]
    [InlineData("\"Doe, J. \\\"X\\\"\" <j@d.vn>", "Doe, J. \"X\"", "j@d.vn")]
    [InlineData("=?UTF-8?B?VsSDbiB0aMaw?= <v@t.vn>", "Văn thư", "v@t.vn")]
    [InlineData("\"=?UTF-8?B?VsSDbiB0aMaw?=\" <v@t.vn>", "Văn thư", "v@t.vn")]
    [InlineData("J. Q. Public <j@d.vn> (comment)", "J. Q. Public", "j@d.vn")]
    [InlineData("a . b@c.vn", null, "a.b@c.vn")]
    [InlineData("\"a b\"@c.vn", null, "\"a b\"@c.vn")]
    [InlineData("x@[127.0.0.1]", null, "x@[127.0.0.1]")]
    public void One_address_is_read(string value, string? name, string address)
    {
        var mailbox = Mailbox.ParseList(value).ShouldHaveSingleItem();
        mailbox.DisplayName.ShouldBe(name);
        mailbox.Address.ShouldBe(address);
    }

    [Fact]
    public void Groups_are_flattened_and_empty_members_passed_over() =>
        Mailbox
            .ParseList("Các xã: a@b.vn, X <c@d.vn>;, , e@f.vn, undisclosed-recipients:;")
            .Select(m => m.Address)
            .ShouldBe(["a@b.vn", "c@d.vn", "e@f.vn"]);

    [Fact]
    public void A_decoded_name_never_turns_into_an_address()
    {
        // The encoded word holds "boss@gov.vn>, x <".
        var word = $"=?UTF-8?B?{Convert.ToBase64String("boss@gov.vn>, x <"u8)}?=";
        Mailbox.ParseList(word + " <evil@x.vn>").ShouldHaveSingleItem().Address.ShouldBe("evil@x.vn");
    }

    [Theory]
    [InlineData("a@b.vn c@d.vn")]
    [InlineData("a b@c.vn")]
    [InlineData("\"x y\".z@c.vn")]
    [InlineData("<a@b.vn")]
    [InlineData("a@b.vn>")]
    [InlineData("a@@b.vn")]
    [InlineData("a..b@c.vn")]
    [InlineData(".@c.vn")]
    [InlineData("a@-b.vn")]
    [InlineData("just words")]
    [InlineData("<@route:a@b.vn>")]
    [InlineData("G: a@b.vn")]
    public void An_address_list_that_breaks_the_grammar_is_refused(string value) =>
        Refusal(() => Mailbox.ParseList(value)).ShouldBeOneOf(MimeReason.InvalidAddress, MimeReason.Malformed);

    [Theory]
    [InlineData("a@b.vn\r\nRCPT TO:<x@y.vn>")]
    [InlineData("a\0@b.vn")]
    [InlineData("a@b.vn, c@d.vn")]
    [InlineData("\"a\r\nb\"@c.vn")]
    [InlineData("a@b.vn>")]
    [InlineData("")]
    [InlineData("<a@b.vn>")]
    public void An_outgoing_address_holds_one_address_and_nothing_else(string address) =>
        Refusal(() => _ = new Mailbox(null, address)).ShouldBeOneOf(MimeReason.InvalidAddress, MimeReason.Malformed);

    [Theory]
    [InlineData("x\r\nBcc: y@z.vn")]
    [InlineData("x\ny")]
    [InlineData("x\0y")]
    public void An_outgoing_header_with_a_line_end_is_refused(string text)
    {
        Refusal(() => MimeEntity.Fields().AddText("Subject", text)).ShouldBe(MimeReason.UnsafeHeader);
        Refusal(() => MimeEntity.Fields().AddRaw("X-Any", text)).ShouldBe(MimeReason.UnsafeHeader);
        Refusal(() => _ = new Mailbox(text, "a@b.vn")).ShouldBe(MimeReason.UnsafeHeader);
        Refusal(() => MimeContentType.Of("a/b", ("name", text))).ShouldBe(MimeReason.UnsafeHeader);
        Refusal(() => MimeEntity.Fields().AddText("Subject: x\r\nY", "z")).ShouldBe(MimeReason.UnsafeHeader);
    }

    [Fact]
    public void Half_a_surrogate_pair_is_refused() =>
        Refusal(() => MimeEntity.Fields().AddText("Subject", "x\ud800y")).ShouldBe(MimeReason.UnsafeHeader);

    [Theory]
    [InlineData("Fri, 21 Nov 2025 09:30:00 +0700", "2025-11-21T09:30:00+07:00")]
    [InlineData("1 Jan 2026 00:00 GMT (new year)", "2026-01-01T00:00:00+00:00")]
    [InlineData("31 Dec 2016 23:59:60 -0000", "2016-12-31T23:59:59+00:00")]
    public void Dates_are_read(string value, string expected)
    {
        MailDate.TryParse(value, out var date).ShouldBeTrue();
        date.ShouldBe(DateTimeOffset.Parse(expected, System.Globalization.CultureInfo.InvariantCulture));
    }

    [Theory]
    [InlineData("31 Feb 2026 00:00:00 +0000")]
    [InlineData("yesterday")]
    [InlineData("1 Jan 26 00:00 GMT")]
    [InlineData("1 Jan 2026 24:00 GMT")]
    [InlineData("1 Jan 2026 00:00 +9900")]
    public void What_is_no_date_is_not_guessed(string value) => MailDate.TryParse(value, out _).ShouldBeFalse();

    [Fact]
    public void A_date_written_is_read_again()
    {
        var date = new DateTimeOffset(2026, 11, 21, 9, 5, 7, TimeSpan.FromHours(7));
        MailDate.Format(date).ShouldBe("Sat, 21 Nov 2026 09:05:07 +0700");
        MailDate.TryParse(MailDate.Format(date), out var read).ShouldBeTrue();
        read.ShouldBe(date);
    }
}
