using System.Diagnostics;
using System.Text;
using SecureMail.Mail.Mime;

namespace SecureMail.Tests.Mail;

public class MimeReaderTests
{
    private const string Simple = "From: a@b.vn\r\nSubject: x\r\n\r\nbody\r\n";

    private static byte[] Octets(string text) => Encoding.UTF8.GetBytes(text);

    private static MailMessage Read(string text, MimeReaderOptions? options = null) =>
        MailMessage.Parse(Octets(text), options);

    private static MimeReason Refusal(byte[] octets, MimeReaderOptions? options = null) =>
        Should.Throw<MimeException>(() => MailMessage.Parse(octets, options)).Reason;

    private static string Text(Stream stream)
    {
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return reader.ReadToEnd();
    }

    [Fact]
    public void Offsets_point_into_the_received_octets()
    {
        const string mail =
            "From: a@b.vn\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\npreamble\r\n--x\r\nX-A: 1\r\n\r\none\r\n"
            + "\r\n--x  \r\n\r\ntwo\r\n--x--\r\nepilogue\r\n";
        var root = Read(mail).Root;
        root.Children.Count.ShouldBe(2);
        Text(root.Children[0].OpenRaw()).ShouldBe("X-A: 1\r\n\r\none\r\n");
        Text(root.Children[0].OpenBody()).ShouldBe("one\r\n");
        Text(root.Children[1].OpenRaw()).ShouldBe("\r\ntwo");
        mail.Substring((int)root.Children[1].BodyOffset, (int)root.Children[1].BodyLength).ShouldBe("two");
        root.Length.ShouldBe(mail.Length);
        mail[(int)root.Headers[1].Offset..].ShouldStartWith("Content-Type:");
    }

    [Fact]
    public void A_part_without_an_empty_line_is_all_header()
    {
        var part = Read("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nX-A: 1\r\n\r\n--x--\r\n")
            .Root.Children.Single();
        Text(part.OpenRaw()).ShouldBe("X-A: 1\r\n");
        part.BodyLength.ShouldBe(0);
    }

    [Fact]
    public void A_delimiter_with_more_behind_it_is_text()
    {
        var root = Read("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n--xy\r\n --x\r\n--x--\r\n").Root;
        Text(root.Children.Single().OpenBody()).ShouldBe("--xy\r\n --x");
    }

    [Fact]
    public void An_embedded_message_is_a_child()
    {
        var root = Read("Content-Type: message/rfc822\r\n\r\n" + Simple).Root;
        root.Children.Single().Header("Subject")!.Value.ShouldBe("x");
    }

    [Fact]
    public void A_folded_header_is_unfolded_and_kept_raw()
    {
        var header = Read("Subject: one\r\n two\r\n\r\n").Headers[0];
        header.Value.ShouldBe("one two");
        Encoding.ASCII.GetString(header.Raw.Span).ShouldBe("Subject: one\r\n two\r\n");
    }

    [Fact]
    public void A_body_larger_than_the_buffer_keeps_its_offsets()
    {
        var line = new string('a', 70) + "\r\n";
        var body = string.Concat(Enumerable.Repeat(line, 3000)) + new string('b', 200_000);
        var root = Read(
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n" + body + "\r\n--x\r\n\r\nlast\r\n--x--\r\n"
        ).Root;
        root.Children[0].BodyLength.ShouldBe(body.Length);
        Text(root.Children[0].OpenBody()).ShouldBe(body);
        Text(root.Children[1].OpenBody()).ShouldBe("last");
    }

    [Theory]
    [InlineData("", MimeReason.Truncated)]
    [InlineData("no header here\r\n\r\n", MimeReason.Malformed)]
    [InlineData("\r\nbody", MimeReason.Malformed)]
    [InlineData(" folded: first\r\n\r\n", MimeReason.Malformed)]
    [InlineData("Subject: x\r\nTo: cut", MimeReason.Truncated)]
    [InlineData("Subject: x\nTo: y\n\n", MimeReason.BareLineEnd)]
    [InlineData("Subject: x\ry\r\n\r\n", MimeReason.BareLineEnd)]
    [InlineData("Subject: x\r\n\r\nbody\nmore\r\n", MimeReason.BareLineEnd)]
    [InlineData("Subject: x\0\r\n\r\n", MimeReason.BareLineEnd)]
    [InlineData("Content-Type: multipart/mixed\r\n\r\n", MimeReason.Malformed)]
    [InlineData(
        "Content-Type: multipart/mixed; boundary=x; boundary=y\r\n\r\n--x\r\n\r\n--x--\r\n", MimeReason.Malformed)]
    [InlineData("Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n", MimeReason.Malformed)]
    [InlineData(
        "Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: base64\r\n\r\n--x\r\n\r\n--x--\r\n",
        MimeReason.Malformed)]
    [InlineData("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\ncut", MimeReason.Truncated)]
    [InlineData("Content-Type: multipart/mixed; boundary=x\r\n\r\nno parts\r\n", MimeReason.Truncated)]
    [InlineData("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x--\r\n", MimeReason.Malformed)]
    public void What_two_readers_could_read_differently_is_refused(string mail, MimeReason reason) =>
        Refusal(Octets(mail)).ShouldBe(reason);

    [Fact]
    public void An_outer_delimiter_inside_an_open_inner_part_is_refused()
    {
        const string mail =
            "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n"
            + "--i\r\n\r\nx\r\n--o--\r\n";
        Refusal(Octets(mail)).ShouldBe(MimeReason.Truncated);
        Read(mail, new MimeReaderOptions { Leniency = MimeLeniency.MissingFinalDelimiter })
            .Root.Children.Single()
            .Children.Count.ShouldBe(1);
    }

    [Fact]
    public void Local_line_ends_are_read_only_where_they_are_named()
    {
        var root = Read(
            "Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x--\n", MimeReaderOptions.Stored).Root;
        Text(root.Children.Single().OpenBody()).ShouldBe("one");
    }

    [Fact]
    public void Binary_bodies_are_read_only_where_they_are_named()
    {
        var octets = Octets("Content-Type: a/b\r\n\r\n\0\r\r\0\n\r\n");
        Refusal(octets).ShouldBe(MimeReason.BareLineEnd);
        MailMessage.Parse(octets, MimeReaderOptions.Stored).Root.BodyLength.ShouldBe(7);
    }

    [Fact]
    public void Nesting_a_hundred_deep_is_refused()
    {
        var mail = new StringBuilder();
        for (var i = 0; i < 100; i++)
        {
            mail.Append($"Content-Type: multipart/mixed; boundary=b{i}\r\n\r\n--b{i}\r\n");
        }

        Refusal(Octets(mail.ToString())).ShouldBe(MimeReason.TooDeep);
    }

    [Fact]
    public void A_header_of_ten_megabytes_is_refused()
    {
        using var limit = new TimeLimit("A header of 10 MB");
        Refusal(Octets("Subject: " + new string('x', 10_000_000) + "\r\n\r\n")).ShouldBe(MimeReason.LineTooLong);
        var folded = string.Concat(Enumerable.Repeat(" " + new string('x', 1000) + "\r\n", 10_000));
        Refusal(Octets("Subject: x\r\n" + folded + "\r\n")).ShouldBe(MimeReason.HeaderTooLarge);
        Refusal(Octets(string.Concat(Enumerable.Repeat("A: b\r\n", 100_000)) + "\r\n"))
            .ShouldBe(MimeReason.TooManyHeaders);
    }

    [Fact]
    public void More_parts_than_allowed_are_refused() =>
        Refusal(
                Octets(
                    "Content-Type: multipart/mixed; boundary=x\r\n\r\n"
                        + string.Concat(Enumerable.Repeat("--x\r\n\r\n", 2000))
                        + "--x--\r\n"))
            .ShouldBe(MimeReason.TooManyParts);

    [Fact]
    public void Every_truncation_of_a_message_is_read_or_refused_by_type()
    {
        var whole = Octets(
            "From: a@b.vn\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\n"
                + "one\r\n--x--\r\n");
        for (var length = 0; length < whole.Length - 2; length++)
        {
            if (length is 14 or 57) // a header and nothing more: no promise is broken yet... unless it promised parts
            {
                continue;
            }

            Refusal(whole[..length]).ShouldBeOneOf(MimeReason.Truncated, MimeReason.Malformed, MimeReason.BareLineEnd);
        }
    }

    [Fact]
    public void A_malformed_type_makes_the_part_opaque_but_never_hides_a_multipart()
    {
        Read("Content-Type: pdf\r\n\r\n").Root.ContentType.MediaType.ShouldBe("application/octet-stream");
        Refusal(Octets("Content-Type: multipart/mixed boundary=x\r\n\r\n")).ShouldBe(MimeReason.Malformed);
        Refusal(Octets("Content-Type: application/pkcs7-mime; a=1; a=2\r\n\r\n")).ShouldBe(MimeReason.Malformed);
        Refusal(Octets("Content-Type: application/x y; name=a.p7m\r\n\r\n")).ShouldBe(MimeReason.Malformed);
    }

    [Theory]
    [InlineData("base64 (as always)", "base64")]
    [InlineData("(c) BASE64;", "base64")]
    [InlineData("\"quoted-printable\"; x=y", "quoted-printable")]
    [InlineData("", "7bit")]
    [InlineData("base64 8bit", "base64 8bit")]
    [InlineData("\"base64", "\"base64")]
    public void A_transfer_encoding_is_one_word_whatever_stands_beside_it(string value, string expected) =>
        Read($"Content-Transfer-Encoding: {value}\r\n\r\nQQ==").Root.TransferEncoding.ShouldBe(expected);

    [Fact]
    public void A_field_twice_is_read_when_both_say_the_same()
    {
        Read("Content-Type: text/html\r\nContent-Type: text/html\r\n\r\n").Root.ContentType.MediaType.ShouldBe(
            "text/html");
        Refusal(Octets("Content-Type: text/html\r\nContent-Type: text/plain\r\n\r\n")).ShouldBe(
            MimeReason.Malformed);
    }

    [Theory]
    [InlineData("")]
    [InlineData("\uFEFF")]
    [InlineData("From lan@xa.vn Mon Jun  1 10:00:00 2026\n")]
    [InlineData("\uFEFFFrom - Mon Jun  1 10:00:00 2026\r\n")]
    public void A_stored_message_may_begin_with_what_editors_and_mail_clients_add(string before)
    {
        var stored = Encoding.UTF8.GetBytes(before + "From : lan@xa.vn\nSubject\t: x\n\nbody\n");
        var message = MailMessage.Parse(stored, MimeReaderOptions.Stored);
        message.Mailboxes("From").ShouldHaveSingleItem().Address.ShouldBe("lan@xa.vn");
        message.Subject.ShouldBe("x");
        Text(message.Root.OpenBody()).ShouldBe("body\n");
        if (before.Length > 0)
        {
            Should.Throw<MimeException>(() => MailMessage.Parse(stored, MimeReaderOptions.Received));
        }
    }

    [Theory]
    [InlineData("QQ==", "A")]
    [InlineData("QR==", "A")]
    [InlineData("QQ", "A")]
    [InlineData("QQ=", "A")]
    [InlineData("QQ====", "A")]
    [InlineData("QUI=", "AB")]
    [InlineData("QUJ", "AB")]
    [InlineData("QUI==\r\n=\r\n", "AB")]
    [InlineData("QUJD=", "ABC")]
    [InlineData("QUJDQUJ", "ABCAB")]
    public void Padding_does_not_matter_where_the_octets_are_the_same(string body, string text)
    {
        foreach (var before in new[] { 0, 1, 400 })
        {
            var lines = string.Concat(Enumerable.Repeat("QUJD\r\n", before));
            Text(Read($"Content-Transfer-Encoding: base64\r\n\r\n{lines}{body}").Root.OpenDecoded()).ShouldBe(
                string.Concat(Enumerable.Repeat("ABC", before)) + text);
        }
    }

    [Theory]
    [InlineData("Content-Type: application/octet-stream; name=a.p7m", true)]
    [InlineData("Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"A.P7M\"", true)]
    [InlineData("Content-Type: application/octet-stream; name*=UTF-8''a%2Ep7m", true)]
    [InlineData("Content-Disposition: attachment; filename=a.p7m; filename=b.pdf", true)]
    [InlineData("Content-Type: application/octet-stream; name=a.p7m.pdf", false)]
    public void No_damage_hides_the_name_of_a_file(string fields, bool expected) =>
        Read($"{fields}\r\n\r\nbody").Root.HasExtension(".p7c", ".p7m").ShouldBe(expected);

    [Theory]
    [InlineData("base64", "Q8O0bmcg\r\ndsSDbg==", "Công văn")]
    [InlineData("quoted-printable", "C=C3=B4ng =\r\nv=C4=83n  \r\nx=3D", "Công văn\r\nx=")]
    [InlineData("8bit", "Công văn", "Công văn")]
    public void Bodies_are_decoded(string encoding, string body, string text) =>
        Text(Read($"Content-Transfer-Encoding: {encoding}\r\n\r\n{body}").Root.OpenDecoded()).ShouldBe(text);

    [Theory]
    [InlineData("base64", "Q8O0bmcgd")]
    [InlineData("base64", "Q8O0bmcgd===")]
    [InlineData("base64", "Q8O0bmcg\r\n-- \r\nfooter of a list")]
    [InlineData("base64", "dsSDbg==Q8O0")]
    [InlineData("quoted-printable", "=C")]
    [InlineData("quoted-printable", "=ZZ")]
    [InlineData("quoted-printable", "= x")]
    [InlineData("x-own", "anything")]
    public void What_does_not_decode_is_refused_when_read(string encoding, string body)
    {
        var part = Read($"Content-Transfer-Encoding: {encoding}\r\n\r\n{body}").Root;
        Should
            .Throw<MimeException>(() => Text(part.OpenDecoded()))
            .Reason.ShouldBeOneOf(MimeReason.BadEncoding, MimeReason.UnknownEncoding);
    }

    [Fact]
    public async Task Decoding_gives_the_same_blocking_and_not_and_from_small_pieces()
    {
        var random = new Random(1);
        var data = new byte[300_000];
        random.NextBytes(data);
        var mail =
            "Content-Transfer-Encoding: base64\r\n\r\n"
            + Convert.ToBase64String(data, Base64FormattingOptions.InsertLineBreaks);
        var part = Read(mail).Root;
        var memory = new MemoryStream();
        await part.OpenDecoded().CopyToAsync(memory);
        memory.ToArray().ShouldBe(data);
        var again = new MemoryStream();
        part.OpenDecoded().CopyTo(again, 7);
        again.ToArray().ShouldBe(data);
    }
}
